"""The command: rounds from a seed, a table, and how to replay what broke."""

import argparse
import asyncio
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from tests.chaos.embedded import Embedded
from tests.chaos.faults import known
from tests.chaos.plants import KNOWN, Known
from tests.chaos.rounds import NotActed, Round
from tests.chaos.scaled import Scaled
from tests.chaos.window import Chromium
from tests.chaos.world import World
from tests.server import ROOT

PROMISES = {
    "D1": "crash",
    "D2": "restart",
    "D3": "views",
    "D4": "send once",
    "D5": "stop",
    "D6": "usage",
    "D7": "gateway misbehaviour",
    "D8": "Redis or a peer dies",
    "D9": "database away",
    "D10": "rights end at once",
    "D11": "clocks",
    "D12": "a draft over a restart",
}
WORLDS: dict[str, type[World]] = {"embedded": Embedded, "scaled": Scaled}
ROUNDS_A_WORLD = 40
TRIES = 4


@dataclass
class Tally:
    """What the rounds came to."""

    rounds: int = 0
    uncounted: int = 0
    faults: dict[str, set[str]] = field(default_factory=dict)
    touched: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)

    def add(self, r: Round) -> None:
        self.rounds += 1
        self.struck.update(r.names)
        for promise, names in r.touched.items():
            self.touched[promise] += 1
            self.faults.setdefault(promise, set()).update(names)
        self.broken.update({promise for promise, _ in r.violations})

    def table(self) -> str:
        lines = ["| Promise | Faults | Rounds | Violations |", "|---|---|--:|--:|"]
        for promise, words in PROMISES.items():
            names = sorted(self.faults.get(promise, ()))
            every = len(names) == len(self.struck)
            said = "every fault" if every and len(names) > 5 else ", ".join(names)
            counts = f"{self.touched[promise]} | {self.broken[promise]}"
            lines.append(f"| {promise} {words} | {said or '-'} | {counts} |")
        struck = ", ".join(f"{name} {n}" for name, n in sorted(self.struck.items()))
        return "\n".join([*lines, "", f"Rounds by fault: {struck}."])


async def main(options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task
    # Ended from outside, it still ends the servers that it started.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    chromium = Chromium()
    await chromium.start()
    if chromium.browser is None:
        say("No Chromium (make browser): no round has a real page.")
    try:
        if options.planted is not None:
            return await find_planted(options, chromium)
        return await play(options, chromium)
    finally:
        await chromium.close()


async def play(options: argparse.Namespace, chromium: Chromium) -> int:
    tally = Tally()
    end = time.monotonic() + 60 * options.minutes
    # A round that doesn't count has another in its place.
    most = range(options.start, options.start + 2 * options.rounds + 3)
    numbers = list(reversed(options.round or most))
    wanted = len(options.round or range(options.rounds))

    def is_over() -> bool:
        return not numbers or tally.rounds == wanted or time.monotonic() > end

    while not is_over():
        async with WORLDS[options.form](chromium.browser) as world:
            for _ in range(ROUNDS_A_WORLD):
                await run(Round(world, options.seed, numbers.pop(), tuple(options.fault)), tally)
                if is_over():
                    break
    violations = tally.broken.total()
    say(f"\n{tally.table()}\n")
    say(
        f"{tally.rounds} rounds counted, {tally.uncounted} did not (the fault was not seen to act),"
        f" {violations} violations. Seed {options.seed}, form {options.form}, commit {commit()}."
    )
    return 1 if violations or not tally.rounds else 0


async def find_planted(options: argparse.Namespace, chromium: Chromium) -> int:
    """A round for each known bug; 0 where chaos found them all."""
    missed = 0
    lines = ["| Promise | Planted | Fault | Found |", "|---|---|---|---|"]
    faults = known(options.form)
    chosen = [each for each in KNOWN if each.promise in (options.planted or PROMISES)]
    chosen = [each for each in chosen if each.fault in faults]
    async with WORLDS[options.form](chromium.browser) as world:
        for first, bug in enumerate(chosen):
            found = sorted(await broken_by(bug, world, options.seed, first))
            missed += bug.promise not in found
            said = ", ".join(found) or "not found"
            lines.append(f"| {bug.promise} | {bug.bug} | {bug.fault} | {said} |")
            say(lines[-1])
    say("\n".join(["", *lines]))
    return 1 if missed else 0


async def broken_by(bug: Known, world: World, seed: int, first: int) -> set[str]:
    """The promises that break in the first round in which the bug makes a difference.

    In some it can't: a Stop that stops nothing, of a reply that ends in the same moment.
    """
    broken: set[str] | None = None
    for number in range(first, first + TRIES * len(KNOWN), len(KNOWN)):
        r = Round(world, seed, number, (bug.fault,), bug.plant())
        with suppress(NotActed):
            await r.run()
            broken = {promise for promise, _ in r.violations}
            if bug.promise in broken:
                return broken
    if broken is None:
        raise NotActed(f"{bug.fault} did not act in {TRIES} rounds")
    return broken


async def run(r: Round, tally: Tally) -> None:
    began = time.monotonic()
    try:
        await r.run()
    except NotActed as reason:
        tally.uncounted += 1
        say(f"round {r.number}: {', '.join(r.names)}: did not count: {reason}")
        return
    except Exception:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise  # ended from outside, and what was being ended then failed
        r.breaks("D3", "the round itself broke down: " + traceback.format_exc(limit=-3))
    tally.add(r)
    result = "ok" if not r.violations else "VIOLATED"
    took = f"{time.monotonic() - began:.1f} s"
    say(f"round {r.number}: {', '.join(r.names)}: {result} ({took})")
    for promise, what in r.violations:
        say(f"  {promise}: {what}")
    if r.violations:
        faults = "".join(f" --fault '{name}'" for name in r.names if r.only)
        which = f"--form {r.world.form} --seed {r.seed} --round {r.number}"
        say(f"  replay: python -m tests.chaos {which}{faults}")
        say("\n    ".join(["  server log:", *r.world.log.splitlines()]))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="printed; random without")
    parser.add_argument("--start", type=int, default=0, help="the number of the first round")
    parser.add_argument("--round", type=int, action="append", help="just this one: a replay")
    parser.add_argument("--minutes", type=float, default=600, help="begin no round after that")
    parser.add_argument("--fault", action="append", default=[], help="only this, may be repeated")
    parser.add_argument(
        "--planted", nargs="*", metavar="D1", help="find the known bugs, all or those of a promise"
    )
    parser.add_argument("--form", choices=sorted(WORLDS), default="embedded")
    options = parser.parse_args(arguments)
    if options.seed is None:
        options.seed = secrets.randbelow(10**6)
    say(f"seed {options.seed}")
    return options


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse(sys.argv[1:]))))
