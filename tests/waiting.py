"""Waiting for what another process will do, always with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(probe: Callable[[], T], what: str, deadline_s: float = 10) -> T:
    """The first truthy answer of `probe`; AssertionError with `what` after the deadline.

    The place for a state that only polling can see; where there is an event, wait for that.
    """
    end = time.monotonic() + deadline_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"After {deadline_s:g} s still not so: {what} (last: {answer!r})")
        time.sleep(0.02)
