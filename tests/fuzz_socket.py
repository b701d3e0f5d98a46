"""Hostile and mutated frames to the socket, several on each.

    python tests/fuzz_socket.py --seconds 60 --seed 1

Claims that nothing is raised, that each frame has an answer or closes with a code of ours, that
nothing is told of what is another's, that the socket does what it is for afterwards, and that memory
does not grow.
"""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import fuzzing
from tests.fuzz_setup import world  # before whatever else imports Django

from tests.corpus import FRAMES, WORDS  # isort: skip
from tests.line import Line, session_of  # isort: skip

SESSION = session_of(world.people["other"])
OWN = world.others
# Not logged in, gone, too fast, too big.
CODES = {None, 4401, 4404, 4429, 1009}
KEYS = "watch ack conversation version sidebar cursors first last language zone protocol x".split()
IDS = [*OWN.values(), *map(str, world.ids.values())]
TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    '"',
    "\\",
    "\\u0000",
    "\\ud800",
    "1e9",
    "null",
    "watch",
    "ack",
]
LOOP = asyncio.new_event_loop()


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON, often of the shape that a frame has."""
    kind = chance.randrange(8 if depth < 4 else 5)
    if kind < 2:
        return chance.choice([*IDS, *WORDS])
    if kind < 4:
        return chance.choice([0, 1, -1, 2, 2**31, 2**63 - 1, 2**63, 10**40, 0.5])
    if kind == 4:
        return chance.choice([None, True, False])
    if kind == 5:
        return [value(chance, depth + 1) for _ in range(chance.randrange(5))]
    names = [*KEYS * 3, *IDS]
    return {chance.choice(names): value(chance, depth + 1) for _ in range(chance.randrange(6))}


def frame(chance: random.Random) -> tuple[str, str | bytes]:
    """A kind, and a frame of that kind."""
    kind = chance.choice(["shaped", "shaped", "mutated", "known"])
    if kind == "shaped":
        return kind, json.dumps({chance.choice(KEYS[:2]): value(chance)})
    whole = chance.choice(FRAMES)
    if kind == "known" or isinstance(whole, bytes):
        return kind, whole
    told = list(whole[:2000] or "{}")
    for _ in range(chance.choice([1, 3, 20])):
        told[chance.randrange(len(told))] = chance.choice(TOKENS)
    return kind, "".join(told)


async def check(chance: random.Random) -> str:
    line = await Line(SESSION).open()
    kind = ""
    for _ in range(chance.choice([1, 5, 15])):
        kind, told = frame(chance)
        await line.say(told)
        await line.settle()
        if line.closed is not None:
            break
    assert line.closed in CODES, line.closed
    assert [each["n"] for each in line.frames] == sorted({each["n"] for each in line.frames})
    assert not any(
        str(each) in line.words for each in (world.ids["message"], world.ids["conversation"])
    )
    if line.closed is None:
        before = len(line.frames)
        own = {"conversation": OWN["conversation"], "version": 0}
        await line.say({"watch": own})
        await line.listen(lambda: "Because." in json.dumps(line.frames[before:]))
        assert line.closed in CODES
    await line.close()
    return kind if line.closed is None else f"{kind} closed {line.closed}"


def play(chance: random.Random) -> str:
    return LOOP.run_until_complete(check(chance))


if __name__ == "__main__":
    fuzzing.run("Frames", play)
