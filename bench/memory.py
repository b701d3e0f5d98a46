"""What the embedded form holds: after its start, for each idle page, running reply, deaf reader.

python -m bench.memory
"""

import asyncio

import uvloop

from bench._measure import line, title
from bench._pages import Page
from bench._site import Site, open_site
from bench._speech import end

IDLE, REPLIES, DEAF = 1_000, 100, 20
START_MB, IDLE_KB, REPLY_KB, DEAF_MB = 110, 20, 150, 1
SETTLED_S = 3
# As much as a reply may be: none of it goes out to a reader that takes nothing.
PIECE = "word " * 400 + "\n\n"
PIECES = 900


async def gained_mb(site: Site, before_mb: float) -> float:
    await asyncio.sleep(SETTLED_S)
    return site.server.resident_mb - before_mb


async def warm_up(site: Site) -> None:
    """What the first reply and the first page bring is no other's."""
    pages, streams = await site.ask(5)
    for stream in streams:
        stream.say_next()
    await end(pages, streams)


async def idle_kb(site: Site) -> float:
    before_mb = site.server.resident_mb
    pages = [await Page(site.owner).open() for _ in range(IDLE)]
    gained = await gained_mb(site, before_mb)
    for page in pages:
        page.close()
    return gained / IDLE * 1024


async def reply_kb(site: Site) -> float:
    """One of a hundred with a page each, 100 words into it."""
    before_mb = site.server.resident_mb
    pages, streams = await site.ask(REPLIES)
    for _ in range(100):
        for stream in streams:
            stream.say_next()
        await asyncio.sleep(0.05)
    for page in pages:
        await page.has_seen(100)
    gained = await gained_mb(site, before_mb)
    await end(pages, streams)
    return gained / REPLIES * 1024


async def long_reply_mb(site: Site, deaf_readers: int) -> float:
    """What a reply of 1.8 MB takes, with one page that reads and so many that take nothing."""
    pages, (stream,) = await site.ask(1)
    conversation = pages[0].watch["conversation"]
    pages += [await Page(site.owner, conversation, reads=False).open() for _ in range(deaf_readers)]
    before_mb = site.server.resident_mb
    for _ in range(PIECES):
        stream.say(PIECE)
        await asyncio.sleep(0.01)
    stream.say_next()
    await pages[0].has_seen(1)
    gained = await gained_mb(site, before_mb)
    for page in pages:
        page.close()
    stream.end()
    return gained


async def deaf_mb(site: Site) -> float:
    """One of twenty, beside what the same reply takes without them."""
    alone = await long_reply_mb(site, 0)
    return (await long_reply_mb(site, DEAF) - alone) / DEAF


async def measure() -> None:
    title("Memory of the embedded form")
    async with open_site() as site:
        line("resident after the start", site.server.resident_mb, "MB", START_MB)
        await warm_up(site)
        line("resident after a few replies", site.server.resident_mb, "MB")
        line(f"an idle page, of {IDLE:,}", await idle_kb(site), "KB", IDLE_KB)
        line(f"a running reply, of {REPLIES}", await reply_kb(site), "KB", REPLY_KB)
        line(f"a reader that never reads, of {DEAF}", await deaf_mb(site), "MB", DEAF_MB)


if __name__ == "__main__":
    uvloop.run(measure())
