"""What every fuzzer of `make fuzz` does: rounds, each from a seed of its own, and a look at memory.

A failure prints its seed. What stops the process or hangs ends it after five minutes, with its seed in
build/fuzz-NAME.
"""

import argparse
import faulthandler
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

BUILD = Path(__file__).parents[1] / "build"
GROWTH_MAX_MB = 64


def run(name: str, check: Callable[[random.Random], str]) -> None:
    """Play rounds for `--seconds` from `--seed` on; `check` plays one and says what kind it was."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**9))
    options = parser.parse_args()
    sys.stdout.write(f"{name} for {options.seconds:g} s from --seed {options.seed} on.\n")
    sys.stdout.flush()
    BUILD.mkdir(exist_ok=True)
    note = BUILD / f"fuzz-{name.lower()}"
    counts: Counter[str] = Counter()
    began = time.monotonic()
    warm_kb = 0
    seed = options.seed
    while time.monotonic() < began + options.seconds:
        note.write_text(str(seed))
        faulthandler.dump_traceback_later(300, exit=True)
        try:
            counts[check(random.Random(seed))] += 1
        except BaseException:
            sys.stderr.write(f"failed at --seed {seed}\n")
            raise
        seed += 1
        if not warm_kb and time.monotonic() > began + options.seconds / 2:
            warm_kb = _peak_kb()
    grown_mb = (_peak_kb() - warm_kb) / 1024
    for kind, count in sorted(counts.items()):
        sys.stdout.write(f"{kind:24}{count:9}\n")
    sys.stdout.write(f"{'all':24}{counts.total():9}   seeds {options.seed}..{seed - 1}\n")
    sys.stdout.write(f"{'memory, second half':24}{grown_mb:8.0f} MB\n")
    assert grown_mb < GROWTH_MAX_MB, "memory grows"


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
