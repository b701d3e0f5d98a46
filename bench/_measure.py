"""What each bench prints, and what it reads of another process; on Linux only."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

WIDTH = 58


def line(name: str, figure: float, unit: str, target: float | None = None) -> None:
    """A figure, and whether it holds: it is to be at most `target`."""
    verdict = ""
    if target is not None:
        verdict = f"at most {target:g}: {'holds' if figure <= target else 'MISSED'}"
    print(f"{name:{WIDTH}}{figure:11,.1f} {unit:6}{verdict}", flush=True)


def title(text: str) -> None:
    load = ", ".join(f"{part:.1f}" for part in os.getloadavg())
    print(f"\n{text} (load {load})", flush=True)


def cpu_s(pid: int) -> float:
    """Processor time of a process, all its threads, to the microsecond."""
    return time.clock_gettime((~pid << 3) | 2)  # CPUCLOCK_SCHED, see clock_getcpuclockid(3)


def loop_cpu_s(pid: int) -> float:
    """Processor time of a process's first thread, where its event loop is."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def percentile(figures: Iterable[float], part: float) -> float:
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


def keep_to(pid: int, core: int) -> None:
    """Have a process and all its threads run on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
