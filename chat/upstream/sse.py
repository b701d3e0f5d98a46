"""Bytes of an event stream -> events, by the WHATWG rules, in bounded memory. No I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
with one difference: an event that the end of the body cuts short is not thrown away but given
by `flush` with `is_whole` false, since gateways leave out the last blank line.
"""

import msgspec

MAX_EVENT_BYTES = 8 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event; `data` is its data lines joined by LF, name and id are "" if absent."""

    data: bytes
    name: str = ""
    id: str = ""
    is_whole: bool = True


class Parser:
    """Feed it the body in any pieces; the events are the same however it is cut.

    A line or an event above `max_event_bytes` sets `overflowed` and ends the stream: what came
    before it is returned, what comes after it is ignored.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.overflowed = False
        self.comments = 0
        self._max_event_bytes = max_event_bytes
        self._partial = bytearray()  # the line that has not ended
        self._after_cr = False
        self._at_start = True
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name = ""
        self._id = ""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        # A line ends at LF, CR and CRLF; bytes.splitlines() would know only these, but
        # str.splitlines() would also cut at U+2028 and U+0085, which JSON may hold.
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if not end:
            return self._keep(chunk)
        lines = chunk[:end]
        if self._partial:
            lines = bytes(self._partial) + lines
            self._partial.clear()
        if b"\r" in lines:
            self._after_cr = end == len(chunk) and lines.endswith(b"\r")
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events = self._read(lines[:-1].split(b"\n"))
        self._keep(chunk[end:])
        return events

    def flush(self) -> list[Event]:
        """At the end of the body: the event that was not completed, if there is one."""
        line = bytes(self._partial)
        self._partial.clear()
        events = self._read([line]) if line else []
        if self._data and not self.overflowed:
            events.append(self._event(is_whole=False))
        return events

    def _keep(self, rest: bytes) -> list[Event]:
        if not self.overflowed:
            self._partial += rest
            if len(self._partial) > self._max_event_bytes:
                self._overflow()
        return []

    def _read(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        if self.overflowed:
            return events
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        for line in lines:
            if line.startswith(b"data: "):
                self._data.append(line[6:])
                self._data_bytes += len(line)
                if self._data_bytes > self._max_event_bytes:
                    self._overflow()
                    break
            elif not line:
                if self._data:
                    events.append(self._event())
                self._name = ""
            else:
                self._read_field(line)
                if self.overflowed:
                    break
        return events

    def _read_field(self, line: bytes) -> None:
        if len(line) > self._max_event_bytes:
            self._overflow()
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            self.comments += 1
        elif name == b"data":
            self._data.append(value)
            self._data_bytes += len(line)
            if self._data_bytes > self._max_event_bytes:
                self._overflow()
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

    def _overflow(self) -> None:
        self.overflowed = True
        self._partial.clear()
        self._data = []
