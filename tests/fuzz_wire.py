"""Hostile and mutated bodies against the whole of chat/upstream but the socket.

    python tests/fuzz_wire.py --seconds 60 --seed 1

Each round mutates a stream or an error body and reads it twice, cut at other places. It claims that
nothing but GatewayError is ever raised, that both readings agree, that text is clean and bounded,
and that no reply is complete without a finish sign.
"""

import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat.rendering.clean import clean
from chat.upstream import listing, refusal
from chat.upstream.dialect import Delta, End, Item, Reader
from chat.upstream.errors import GatewayError
from chat.upstream.sse import Parser
from tests import fuzzing, recordings

MAX_REPLY_BYTES = 20_000
MAX_EVENT_BYTES = 50_000
TOKENS = [
    b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"data: ", b"data:", b"event: error\n", b": x\n", b"\0",
    b"\xef\xbb\xbf", b"\xff", b"\xf0\x9f", b"\\ud83d", b"\\ude00", b"\\u0000", b"[DONE]",
    b"data: [DONE]\n\n", b'{"error":"x"}', b'"error":{"message":"m","code":402},',
    b"<think>", b"</think>", b"`", b"```\\n", b"null", b"-1", b"1e999", b"NaN", b"[" * 2000,
    b'{"a":' * 2000, b'"usage":{"prompt_tokens":-5,"cost":1e-9},', b'"finish_reason":"stop"',
    b'"choices":[],', b"9" * 5000, b"\xe2\x80\xa8", b'"content":["a",{"type":"text","text":"b"}]',
]  # fmt: skip


def read(pieces: list[bytes]) -> tuple[str, str, list[Item], End]:
    parser, reader = Parser(MAX_EVENT_BYTES), Reader(max_reply_bytes=MAX_REPLY_BYTES)
    items: list[Item] = []
    for piece in pieces:
        items += reader.feed_all(parser.feed(piece))
        if parser.overflowed:
            reader.fail(GatewayError("protocol", reason="too_long"))
    items += reader.feed_all(parser.flush()) + reader.end()
    deltas = [item for item in items if isinstance(item, Delta)]
    text, reasoning = "".join(d.text for d in deltas), "".join(d.reasoning for d in deltas)
    return text, reasoning, items, reader.outcome()


def mutated(body: bytes, chance: random.Random) -> bytes:
    found = bytearray(body)
    for _ in range(chance.choice([0, 1, 1, 2, 5, 20])):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0:
                found[at:at] = chance.choice(TOKENS)
            case 1:
                del found[at : at + chance.choice([1, 3, 50, 1000])]
            case 2:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                found[at:at] = found[at : at + chance.choice([10, 300])]
            case 4:
                found[at : at + 4] = chance.choice(TOKENS)
            case 5:
                del found[at:]
    return bytes(found)


def cut(body: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.choices(range(len(body) + 1), k=chance.choice([0, 1, 5, 50])))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def check_stream(body: bytes, chance: random.Random) -> str:
    text, reasoning, items, end = read(cut(body, chance))
    text_2, reasoning_2, items_2, end_2 = read(cut(body, chance))
    others = [repr(item) for item in items if not isinstance(item, Delta)]
    assert (text, reasoning, repr(end)) == (text_2, reasoning_2, repr(end_2)), "cuts matter"
    assert others == [repr(item) for item in items_2 if not isinstance(item, Delta)], "cuts matter"
    assert clean(text + reasoning) == text + reasoning, "unclean"
    assert len((text + reasoning).encode()) <= MAX_REPLY_BYTES + 1000, "unbounded"
    assert end.error or end.done or end.finish_reason, "complete without a sign"
    json.dumps([getattr(item, "raw", None) for item in items], allow_nan=False)
    return end.error.kind if end.error else end.eof


def check_answer(body: bytes, chance: random.Random) -> str:
    error = refusal.from_response(chance.randrange(300, 600), {}, body, "sk-fake")
    assert len(error.message or "") <= refusal.MESSAGE_CHARS
    assert clean(error.message or "") == (error.message or "")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return error.kind
    listing.models(document)
    listing.balance(document)
    reader = Reader()
    reader.feed_document(document)
    reader.end()
    return error.kind


STREAMS = [stream.body for stream in recordings.streams()]
ANSWERS = [answer.body for answer in recordings.answers()]


def play(chance: random.Random) -> str:
    is_stream = chance.random() < 0.8
    body = mutated(chance.choice(STREAMS if is_stream else ANSWERS), chance)
    check = check_stream if is_stream else check_answer
    return f"{'stream' if is_stream else 'answer'} {check(body, chance)}"


if __name__ == "__main__":
    fuzzing.run("Bodies", play)
