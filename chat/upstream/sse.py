"""Bytes of an event stream -> events, by the WHATWG rules, in bounded memory. No I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
with one difference: an event that the end of the body cuts short is not thrown away but given
by `flush` with `is_whole` false, since gateways leave out the last blank line.
"""

import msgspec

MAX_EVENT_BYTES = 8 * 1024 * 1024
MAX_IDLE_LINES = 200_000
_BOM = b"\xef\xbb\xbf"
_LF, _CR = b"\n\r"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event; `data` is its data lines joined by LF, name and id are "" if absent."""

    data: bytes
    name: str = ""
    id: str = ""
    is_whole: bool = True


class Parser:
    """Feed it the body in any pieces; the events are the same however it is cut.

    A line or an event above `max_event_bytes`, or MAX_IDLE_LINES lines without an event, set
    `overflowed` and end the stream: what came before is returned, what comes after is ignored.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.overflowed = False
        self.comments = 0
        self._max_event_bytes = max_event_bytes
        self._is_between = False  # whether the next byte begins an event
        self._partial = bytearray()  # the line that has not ended
        self._after_cr = False
        self._at_start = True
        self._is_begun = False  # whether lines of an event that has not ended are in the fields
        self._idle_lines = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        # A live stream comes an event a read, each of one data line and an empty one.
        if self._is_between and chunk[:6] == b"data: " and chunk[-1] == _LF:
            end = len(chunk) - 2
            if chunk.find(_LF) == end <= self._max_event_bytes and _CR not in chunk:
                return [Event(chunk[6:end], "", self._id)]
        events = self._read_lines(chunk)
        self._is_between = not (
            self._partial
            or self._is_begun
            or self._after_cr
            or self._at_start
            or self._idle_lines
            or self.overflowed
        )
        return events

    def _read_lines(self, chunk: bytes) -> list[Event]:
        events: list[Event] = []
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        if self._partial:
            self._partial += chunk
            if b"\n" not in chunk:
                self._check(len(self._partial))
                return events
            chunk = bytes(self._partial)
            self._partial.clear()
        at = 0
        if self._at_start and b"\n" in chunk:
            self._at_start = False
            at = len(_BOM) if chunk.startswith(_BOM) else 0
        while (end := chunk.find(b"\n", at)) >= 0 and not self.overflowed:
            # Nearly every event is one data line and an empty one.
            if (
                chunk.startswith(b"data: ", at)
                and chunk.startswith(b"\n", end + 1)
                and not self._is_begun
                and end - at <= self._max_event_bytes
            ):
                events.append(Event(chunk[at + 6 : end], "", self._id))
                self._idle_lines = 0
                at = end + 2
            else:
                self._read_line(chunk[at:end], events)
                at = end + 1
        if at < len(chunk) and self._check(len(chunk) - at):
            self._partial += chunk[at:]
        return events

    def flush(self) -> list[Event]:
        """At the end of the body: the event that was not completed, if there is one."""
        events = self.feed(b"\n") if self._partial else []
        if self._data:
            events.append(self._event(is_whole=False))
        return events

    def _with_lf(self, chunk: bytes) -> bytes:
        """Every line end as LF: a CR ends its line at once, the LF that may follow is dropped.

        str.splitlines() would also cut at U+2028 and U+0085, which JSON may hold raw.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if chunk.endswith(b"\r"):
            self._after_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_line(self, line: bytes, events: list[Event]) -> None:
        self._idle_lines += 1
        if not line:
            self._dispatch(events)
        elif self._check(len(line)):
            self._read_field(line)
        if self._idle_lines > MAX_IDLE_LINES:
            self._overflow()

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(self._event())
            self._idle_lines = 0
        self._name = ""
        self._is_begun = False

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            self.comments += 1
            return
        self._is_begun = True
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(line)
            self._check(self._data_bytes)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _event(self, *, is_whole: bool = True) -> Event:
        event = Event(b"\n".join(self._data), self._name, self._id, is_whole)
        self._data = []
        self._data_bytes = 0
        self._name = ""
        return event

    def _check(self, size: int) -> bool:
        """Whether a line or an event of this size is within bounds; else the stream is over."""
        if size > self._max_event_bytes:
            self._overflow()
        return not self.overflowed

    def _overflow(self) -> None:
        self.overflowed = True
        self._partial.clear()
        self._data.clear()
