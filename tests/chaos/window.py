"""A real page in Chromium that lives through a round, its draft included."""

from playwright.async_api import Browser, Page, Playwright, async_playwright

from tests import browser as chromium
from tests.chaos.checks import difference
from tests.chaos.clock import Clock
from tests.chaos.world import Person

DRAFT = "A draft that nobody has sent, \U0001f9f5 and nobody may lose."
LIVED = "() => window.hasLived === true"
MESSAGES = "() => document.getElementById('messages').outerHTML"


class Chromium:
    """The machine's Chromium; `browser` is None where there is none."""

    browser: Browser | None = None

    async def start(self) -> None:
        self._playwright: Playwright = await async_playwright().start()
        executable = chromium.chromium(self._playwright)
        if executable is not None:
            self.browser = await self._playwright.chromium.launch(
                executable_path=executable,
                args=[*chromium.ARGUMENTS, *chromium.ROOT_ARGUMENTS],
            )

    async def close(self) -> None:
        if self.browser is not None:
            await self.browser.close()
        await self._playwright.stop()


class Window:
    """Somebody's window on a conversation, with a draft begun in it."""

    def __init__(self, browser: Browser, person: Person, path: str) -> None:
        self._browser, self._person, self.path = browser, person, path
        self.errors: list[str] = []

    async def open(self) -> "Window":
        world = self._person.world
        self._context = await self._browser.new_context(locale="en")
        self._context.set_default_timeout(60_000)
        cookies = self._person.client.cookies.items()
        url = world.proxy.url
        await self._context.add_cookies([{"name": n, "value": v, "url": url} for n, v in cookies])
        self._far, self._near = world.proxy.url, world.url
        self.page = await self._load(self._far)
        await self.page.locator("body[data-connection=live]").wait_for()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        await self.page.evaluate("() => { window.hasLived = true }")
        await self.type(DRAFT)
        return self

    async def _load(self, origin: str) -> Page:
        page = await self._context.new_page()
        await page.goto(origin + self.path)
        return page

    async def type(self, text: str) -> None:
        await self.page.locator("#composer [name=text]").fill(text)

    async def flaws(self, clock: Clock, within_s: float) -> list[str]:
        """What is not as it must be, once everything has ended."""
        if not await self.page.evaluate(LIVED):
            return ["the page was loaded anew"]
        found = [f"a script failed: {error}" for error in self.errors]
        if await self.page.locator("#composer [name=text]").input_value() != DRAFT:
            found.append("the draft is gone")

        async def is_live() -> bool:
            return await self.page.locator("body[data-connection=live]").count() == 1

        if not await clock.until(is_live, within_s):
            found.append("the page is not live")
        fresh = await self._load(self._near)
        wanted = await fresh.evaluate(MESSAGES)

        async def is_same() -> bool:
            return bool(await self.page.evaluate(MESSAGES) == wanted)

        if not await clock.until(is_same, within_s):
            found.append(f"it shows what a fresh load doesn't: {await self._difference(wanted)}")
        return found

    async def _difference(self, wanted: str) -> str:
        return difference(wanted, await self.page.evaluate(MESSAGES))

    async def close(self) -> None:
        await self._context.close()
