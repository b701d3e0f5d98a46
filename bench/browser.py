"""Speed as a reader has it, in Chromium: how old words are when they can be seen, and at what cost.

python -m bench.browser

A word can be seen with the frame after the change that brought it; the page notes when that frame
has been made. Gateway, bench and browser share the machine's clock. The floor is a bare page
(bench/_bare.py) that is measured in the same way: half a frame of it is the wait for the next one.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from playwright.async_api import CDPSession, Page, async_playwright

from bench._bare import Bare, BareStream
from bench._gateway import Stream
from bench._measure import line, percentile, title
from bench._site import Site, open_site
from tests import browser as chromium

SECONDS = 20
ROUNDS = 15
ALL_AT_ONCE = 2_000
# Words a second: (p50, p99) of the age in ms.
AGES_MS = {50: (8, 33), 100: (12, 40)}
BUSY_PERCENT, ALL_S, FIRST_MS = 15, 1, 40

# Of each numbered word the time of the frame that shows it, and when Enter was pressed.
WATCHER = r"""
window.seen = []
window.entered = 0
const now = () => (performance.timeOrigin + performance.now()) / 1000
addEventListener("keydown", (event) => { if (event.key === "Enter") window.entered = now() }, true)
const after = new MessageChannel()
const frames = []
after.port1.onmessage = () => {
  const newest = frames.shift()
  while (window.seen.length <= newest) window.seen.push(now())
}
let isDue = false
new MutationObserver(() => {
  if (isDue) return
  isDue = true
  requestAnimationFrame(() => {
    isDue = false
    const body = document.querySelector("#messages > article:last-of-type [data-part=body]")
    const text = body?.textContent ?? ""
    const newest = Number.parseInt(text.slice(text.lastIndexOf("W") + 1))
    if (Number.isNaN(newest)) return
    // Handled once the frame has been made.
    frames.push(newest)
    after.port2.postMessage(0)
  })
}).observe(document, { childList: true, subtree: true, characterData: true })
"""


@asynccontextmanager
async def open_browser(site: Site) -> AsyncIterator[Page]:
    executable = next(path for path in chromium.INSTALLED if path.exists())
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable,
            args=[*chromium.ARGUMENTS, *chromium.ROOT_ARGUMENTS],
        )
        context = await browser.new_context(base_url=site.server.url)
        await context.add_cookies(
            [
                {"name": name, "value": value, "url": site.server.url}
                for name, value in site.owner.cookies.items()
            ]
        )
        await context.add_init_script(WATCHER)
        yield await context.new_page()
        await browser.close()


async def ask(site: Site, page: Page, path: str = "/?model=bench") -> Stream:
    """The stream of a reply to a question."""
    await press_enter(page, path)
    return (await site.gateway.opened(1))[0]


async def ask_bare(bare: Bare, page: Page, url: str) -> BareStream:
    await press_enter(page, url)
    return await bare.opened()


async def press_enter(page: Page, url: str) -> None:
    await page.goto(url)
    await page.wait_for_selector("body[data-connection=live]")
    await page.fill("#text", "Question 0")
    await page.evaluate("window.seen = []")
    await page.press("#text", "Enter")


async def seen(page: Page, words: int) -> list[float]:
    """When each of so many words could be seen, by the day's clock."""
    async with asyncio.timeout(120):
        # Playwright's own way of waiting evaluates a string, which the page's policy forbids.
        while await page.evaluate("window.seen.length") < words:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return await page.evaluate("window.seen")


async def end(page: Page, stream: Stream) -> None:
    stream.end()
    await page.wait_for_selector("[data-role=assistant][data-status=complete]")


async def busy_s(devtools: CDPSession) -> float:
    """Processor time of the page's main thread."""
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    return next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


async def streamed(page: Page, stream: Stream | BareStream, rate: int) -> tuple[list[float], float]:
    """(ages in ms, share of the main thread in percent) of what is said at this rate."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    loop = asyncio.get_running_loop()
    began, busy = loop.time(), await busy_s(devtools)
    for number in range(rate * SECONDS):
        await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
        await say_next(stream)
    at = await seen(page, rate * SECONDS)
    busy = await busy_s(devtools) - busy
    offset = time.time() - time.monotonic()
    ages = [(shown - sent - offset) * 1000 for shown, sent in zip(at, stream.sent_at, strict=True)]
    return ages, 100 * busy / SECONDS


async def say_next(stream: Stream | BareStream) -> None:
    if isinstance(stream, BareStream):
        await stream.say_next()
    else:
        stream.say_next()


async def all_at_once_s(site: Site, page: Page) -> float:
    """From Enter until the last of 2,000 words can be seen, sent as fast as they go."""
    stream = await ask(site, page)
    for _ in range(ALL_AT_ONCE):
        stream.say_next()
    at = await seen(page, ALL_AT_ONCE)
    took = at[-1] - await page.evaluate("window.entered")
    await end(page, stream)
    return took


async def first_ms(site: Site, page: Page, path: str) -> float:
    """From Enter until the first word can be seen, of a gateway that answers at once."""
    stream = await ask(site, page, path)
    took = await first_of(page, stream)
    await end(page, stream)
    return took


async def first_of(page: Page, stream: Stream | BareStream) -> float:
    await say_next(stream)
    said_after_ms = (stream.sent_at[0] - stream.asked_at) * 1000
    at = await seen(page, 1)
    return (at[0] - await page.evaluate("window.entered")) * 1000 - said_after_ms


async def floors(page: Page) -> None:
    """The same of the bare page."""
    bare = Bare()
    url = await bare.listen()
    title("A bare page, which appends what its socket says")
    for rate in AGES_MS:
        stream = await ask_bare(bare, page, url)
        ages, busy = await streamed(page, stream, rate)
        await stream.end()
        told(rate, ages, busy)
    first = []
    for _ in range(ROUNDS):
        stream = await ask_bare(bare, page, url)
        first.append(await first_of(page, stream))
        await stream.end()
    line("Enter until the first word, median", percentile(first, 0.5), "ms")


def told(
    rate: int, ages: list[float], busy: float, p50: float | None = None, p99: float | None = None
) -> None:
    line(f"age when it can be seen, p50, {rate} words/s", percentile(ages, 0.5), "ms", p50)
    line(f"age when it can be seen, p99, {rate} words/s", percentile(ages, 0.99), "ms", p99)
    line(
        f"the page's main thread, {rate} words/s",
        busy,
        "%",
        BUSY_PERCENT if p50 and rate == 50 else None,
    )


async def measure() -> None:
    async with open_site() as site, open_browser(site) as page:
        title(f"In Chromium, one reply, {os.cpu_count()} cores for browser, server and gateway")
        await first_ms(site, page, "/?model=bench")  # what only the first page costs
        for rate, (p50, p99) in AGES_MS.items():
            stream = await ask(site, page)
            ages, busy = await streamed(page, stream, rate)
            await end(page, stream)
            told(rate, ages, busy, p50, p99)
        took = await all_at_once_s(site, page)
        line(f"Enter until the last of {ALL_AT_ONCE:,} words", took, "s", ALL_S)
        new = [await first_ms(site, page, "/?model=bench") for _ in range(ROUNDS)]
        line("Enter until the first word, a new chat, median", percentile(new, 0.5), "ms", FIRST_MS)
        here = page.url.removeprefix(site.server.url)
        old = [await first_ms(site, page, here) for _ in range(ROUNDS)]
        line("Enter until the first word, a further one", percentile(old, 0.5), "ms", FIRST_MS)
        await floors(page)


if __name__ == "__main__":
    uvloop.run(measure())
