"""CPU per delta from bytes to text: this project's parser and dialect beside httpx-sse + json.loads.

    python bench/wire.py

Both read the same bodies through httpx. The other side does the least that a chat could do: decode
each event's JSON and take choices[0].delta.content; ours does all of docs/decisions/*-sse.md.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
from httpx_sse import EventSource

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat.upstream.dialect import Delta, Reader
from chat.upstream.sse import Parser

DELTAS = 4_000
DISTINCT = 200
ROUNDS = 40
TARGET = 3.0


class Pieces(httpx.SyncByteStream):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def response(pieces: list[bytes]) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(pieces))


def events(ascii_only: bool) -> list[bytes]:
    words = ["Hello", " wor", "ld", ", and", " so", " on", ".\n"]
    if not ascii_only:
        words = ["При", "вет", ", ми", "р", " и", " так", " далее", ".\n"]
    found = []
    for number in range(DISTINCT):
        choice = {"index": 0, "delta": {"content": words[number % len(words)]}}
        chunk = {
            "id": "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012",
            "object": "chat.completion.chunk",
            "created": 1750000000,
            "model": "gpt-4o-mini-2024-07-18",
            "service_tier": "default",
            "system_fingerprint": "fp_0123456789",
            "choices": [{**choice, "logprobs": None, "finish_reason": None}],
            "usage": None,
        }
        found.append(b"data: " + json.dumps(chunk, ensure_ascii=ascii_only).encode() + b"\n\n")
    # The same few objects again and again stay in the processor's cache, as bytes just received do.
    return [*found * (DELTAS // DISTINCT), b"data: [DONE]\n\n"]


def ours(pieces: list[bytes]) -> str:
    parser, reader, text = Parser(), Reader(), []
    for piece in response(pieces).iter_raw():
        for item in reader.feed_all(parser.feed(piece)):
            match item:
                case Delta():
                    text.append(item.text)
    return "".join(text)


def theirs(pieces: list[bytes]) -> str:
    text = []
    for event in EventSource(response(pieces)).iter_sse():
        if event.data == "[DONE]":
            break
        choices = json.loads(event.data)["choices"]
        if choices and (content := choices[0]["delta"].get("content")):
            text.append(content)
    return "".join(text)


def us_per_delta(reads: Sequence[Callable[[list[bytes]], str]], pieces: list[bytes]) -> list[float]:
    """Each way's best round; in turn, so that a busy neighbour slows all of them."""
    best = [float("inf")] * len(reads)
    for _ in range(ROUNDS):
        for at, read in enumerate(reads):
            started = time.process_time()
            read(pieces)
            best[at] = min(best[at], time.process_time() - started)
    return [seconds / DELTAS * 1e6 for seconds in best]


def main() -> None:
    print(f"{'body':34}{'ours':>9}{'httpx-sse':>12}{'ratio':>8}   us a delta, best of {ROUNDS}")
    worst = float("inf")
    for language, ascii_only in (("English", True), ("Russian", False)):
        single = events(ascii_only)
        body = b"".join(single)
        packets = [body[at : at + 4096] for at in range(0, len(body), 4096)]
        for name, pieces in (("an event a read", single), ("4 KB a read", packets)):
            assert ours(pieces) == theirs(pieces)
            mine, other = us_per_delta((ours, theirs), pieces)
            worst = min(worst, other / mine)
            print(f"{language + ', ' + name:34}{mine:9.2f}{other:12.2f}{other / mine:8.1f}")
    print(f"worst ratio {worst:.1f}, target {TARGET:g}: {'holds' if worst >= TARGET else 'MISSED'}")


if __name__ == "__main__":
    main()
