"""How streams speak: at a rate, or each word once the one before has been seen by all."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from bench._gateway import Stream
from bench._pages import Page

PAUSE_S = 0.02


class Reader(Protocol):
    async def has_seen(self, words: int) -> None: ...


async def at_a_rate(streams: list[Stream], rate: float, seconds: float) -> None:
    """Each stream says its next word `rate` times a second, one stream after the other."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    step = 1 / rate / len(streams)
    for number in range(int(rate * seconds)):
        for place, stream in enumerate(streams):
            wait = began + number / rate + place * step - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            stream.say_next()


async def one_by_one(streams: list[Stream], readers: Sequence[Reader], words: int) -> None:
    """Every stream says a word, and the next one once all have been seen, and 20 ms later."""
    loop = asyncio.get_running_loop()
    for number in range(1, words + 1):
        next_at = loop.time() + PAUSE_S
        for stream in streams:
            stream.say_next()
        for reader in readers:
            await reader.has_seen(number)
        await asyncio.sleep(max(0.0, next_at - loop.time()))


async def end(pages: list[Page], streams: list[Stream]) -> None:
    for stream in streams:
        stream.end()
    await asyncio.wait_for(asyncio.gather(*(page.ended for page in pages)), 120)
    for page in pages:
        page.close()
