"""Images from strangers, drawn anew: what is served are pixels, without what else came in the file.

Whatever reads a hostile file may be taken over by it. So a process of its own does, without our
settings, our keys and our memory, and with limits to what it takes (`redrawing`).
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from threading import BoundedSemaphore
from typing import NamedTuple

PROGRAM = Path(__file__).with_name("redrawing.py")
WITHIN_S = 60
# Each takes up to half a gigabyte for as long as it draws.
_turns = BoundedSemaphore(1)


class NotNow(Exception):
    """Whether it can be drawn was not found out: the machine is busy."""


class Drawn(NamedTuple):
    media_type: str
    content: bytes


def redraw(content: bytes) -> Drawn | None:
    """The image drawn anew in its own format; None of what is no image that could be. Raises NotNow."""
    if not _turns.acquire(timeout=WITHIN_S):
        raise NotNow
    try:
        return _run(content)
    finally:
        _turns.release()


def _run(content: bytes) -> Drawn | None:
    # To a file, as its limit of size holds for the one who writes it, whatever he has become.
    with tempfile.TemporaryFile() as found:
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(PROGRAM)],
                input=content,
                stdout=found,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                timeout=WITHIN_S,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise NotNow from error
        if done.returncode != 0:
            return None
        found.seek(0)
        media_type, _, drawn = found.read().partition(b"\n")
    return Drawn(media_type.decode("ascii"), drawn) if drawn else None
