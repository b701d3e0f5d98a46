"""A round: replies under way and watched, a fault or two, then every promise that they touch."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from playwright.async_api import Error as PlaywrightError

from tests.chaos import checks, faults, replies
from tests.chaos.page import Page
from tests.chaos.replies import Reply
from tests.chaos.shown import Op
from tests.chaos.window import Window
from tests.chaos.world import IDLE_S, Person, World
from tests.server import ENDED

AT_LEAST = 3
WINDOWS = 0.2  # of the rounds have a page in Chromium
SEEN_WITHIN_S = 10.0
SETTLE_S = 45.0
CATCH_UP_S = 2.0
CATCH_UP_WITHIN_S = {"D8": 3.0}


class NotActed(Exception):
    """The fault did not strike as meant: the round counts for nothing."""


@dataclass
class Watched:
    """A tab on the conversation of a reply."""

    page: Page
    reply: Reply
    person: Person


@dataclass
class Plant:
    """A known bug, planted outside of the product: chaos has to find it."""

    loses: Callable[[Op], bool] = lambda op: False
    hears_close: Callable[[int], int] = lambda code: code
    swallows: Callable[[str], bool] = lambda path: False
    before_checks: Callable[["Round"], Awaitable[None] | None] = lambda r: None
    has_window: bool = False


@dataclass
class Round:
    """Everything random in it comes from the seed and the number alone."""

    world: World
    seed: int
    number: int
    only: tuple[str, ...] = ()  # these faults instead of random ones
    plant: Plant = field(default_factory=Plant)
    replies: list[Reply] = field(default_factory=list)
    tabs: list[Watched] = field(default_factory=list)
    violations: list[tuple[str, str]] = field(default_factory=list)  # promise, what
    touched: dict[str, set[str]] = field(default_factory=dict)  # promise, by which faults
    orders: list[tuple[Reply, Reply]] = field(default_factory=list)  # asked first, asked later

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.number}")
        named = [faults.FAULTS[name] for name in self.only]
        self.faults = named or faults.choose(self.world.form, self.seed, self.number, self.rng)
        self._has_window = self.rng.random() < WINDOWS or self.plant.has_window
        self.window: tuple[Window, Reply] | None = None
        self._tokens = (f"t{self.seed}x{self.number}x{n}" for n in count())

    @property
    def names(self) -> list[str]:
        return [fault.name for fault in self.faults]

    def has(self, *groups: str) -> bool:
        """Whether a fault of these groups is among this round's."""
        return any(fault.group in groups for fault in self.faults)

    @property
    def only_clocks(self) -> bool:
        return {fault.group for fault in self.faults} == {"clock"}

    @property
    def there(self) -> list[Reply]:
        """What may be opened: the replies that are in a conversation by now, and not deleted."""
        return [reply for reply in self.replies if reply.conversation and not reply.is_gone]

    def breaks(self, promise: str, what: str) -> None:
        self.violations.append((promise, what))

    # --- the round ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Raises NotActed where it doesn't count."""
        self.world.gateway.reset()
        self.go = self.world.gateway.gate()
        self.world.swallows = self.plant.swallows
        await self.world.let_clocks_jump(self.has("clock"))
        try:
            await self._begin()
            await self._wait_for_deltas()
            strikes = [self._strike(fault) for fault in self.faults]
            # All of them come to their end: what one took away must not stay away.
            for failure in await asyncio.gather(*strikes, return_exceptions=True):
                if failure is not None:
                    raise failure
            if len({fault.group for fault in self.faults} & faults.AWAY) == 2:
                await self.caught_up("D3")
            await self._settle()
            if planting := self.plant.before_checks(self):
                await planting
            await checks.check(self)
        finally:
            await self._end()

    async def _begin(self) -> None:
        people = list(self.world.people.values())
        self.rng.shuffle(people)
        ends = [end for fault in self.faults for end in fault.ends(self.rng)]
        asked = []
        for n in range(self.rng.randint(AT_LEAST, AT_LEAST + 2)):
            fixed: dict[str, Any] = {"end": ends.pop()} if ends else {}
            if any(fault.outlasts for fault in self.faults):
                fixed["seconds"] = 11
            asked.append(self.ask(people[n % len(people)], **fixed))
        await asyncio.gather(*asked)
        tabs = [reply for reply in self.replies for _ in range(self.rng.choice([1, 1, 2]))]
        await asyncio.gather(*map(self.watch, tabs), self._open_window())

    async def _open_window(self) -> None:
        reply = self.rng.choice(self.replies)
        browser = self.world.browser
        if self._has_window and browser:
            window = Window(browser, reply.person, f"/c/{reply.conversation}/")
            try:
                self.window = await window.open(), reply
            except PlaywrightError as error:
                raise NotActed("Chromium's page did not come up: " + error.message) from error

    def ask(self, person: Person, **fixed: Any) -> Awaitable[Reply]:
        """A question in a new conversation, and the gateway ready for it."""
        reply = self.prepare(person, **fixed)  # now: what is random must not wait for its turn

        async def send() -> Reply:
            answer = await person.post("/messages/", text=reply.question)
            assert answer.status_code == 303, f"a send was answered {answer.status_code}"
            reply.conversation = answer.headers["Location"].split("/")[2]
            await self.identify(reply)
            return reply

        return send()

    def prepare(self, person: Person, **fixed: Any) -> Reply:
        reply = replies.make(self.rng, next(self._tokens), **fixed)
        reply.person = person
        reply.script(self.world.gateway, self.go, lambda: self.world.clock.now)
        self.replies.append(reply)
        return reply

    async def watch(self, reply: Reply, person: Person | None = None, **how: Any) -> Page:
        """One more tab on its conversation, which is to live through the rest of the round."""
        person = person or reply.person
        page = await self.open_page(reply, person, **how)
        self.tabs.append(Watched(page, reply, person))
        return page

    async def open_page(self, reply: Reply, person: Person, **how: Any) -> Page:
        page = Page(
            person.far,
            f"/c/{reply.conversation}/",
            self.rng.randrange(2**32),
            lambda: self.world.clock.now,
            loses=self.plant.loses,
            hears_close=self.plant.hears_close,
            **how,
        )
        return await page.open()

    async def _wait_for_deltas(self) -> None:
        """Every reply is seen to grow before anything is broken, and a random moment passes."""

        def all_seen() -> bool:
            return all(tab.page.seen.get(tab.reply.message) for tab in self.tabs)

        if not await self.world.clock.until(all_seen, SEEN_WITHIN_S):
            self._say_unseen()
        begun = [len(tab.page.seen.get(tab.reply.message, ())) for tab in self.tabs]
        self.go.open()

        def all_grow() -> bool:
            had = [len(tab.page.seen.get(tab.reply.message, ())) for tab in self.tabs]
            return all(now > before for now, before in zip(had, begun, strict=True))

        await self.world.clock.until(all_grow, SEEN_WITHIN_S, 0.02)
        running = [reply for reply in self.replies if self.is_running(reply)]
        if len(running) < AT_LEAST:
            raise NotActed(f"only {len(running)} replies were running")
        await asyncio.sleep(self.rng.uniform(0, 0.5))

    def _say_unseen(self) -> None:
        for tab in self.tabs:
            if not tab.page.seen.get(tab.reply.message):
                page = tab.page
                self.breaks(
                    "D3",
                    f"no delta of {tab.reply.token} reached a page in time ({page.connection},"
                    f" {page.shown.status_of(tab.reply.message)}, calls {len(tab.reply.calls)})",
                )

    def is_running(self, reply: Reply) -> bool:
        return any(
            tab.page.shown.status_of(reply.message) == "streaming"
            for tab in self.tabs
            if tab.reply is reply
        )

    async def identify(self, reply: Reply) -> None:
        """Find out the id of the message that answers it."""
        exported = await reply.person.export(reply.conversation)
        for message in (exported or {}).get("messages", []):
            if reply.token in message["text"] and message["role"] == "user":
                answers = [m for m in exported["messages"] if m["parent"] == message["id"]]
                reply.message = answers[-1]["id"] if answers else ""

    async def _strike(self, fault: faults.Fault) -> None:
        if len(self.faults) > 1:
            await asyncio.sleep(self.rng.uniform(0, 1.0))
        evidence = await fault.strike(self)
        if not evidence:
            raise NotActed(f"{fault.name} was not seen to act")
        for promise in fault.promises:
            self.touched.setdefault(promise, set()).add(fault.name)

    # --- coming back --------------------------------------------------------------------------

    async def caught_up(self, promise: str, tabs: list[Watched] | None = None) -> None:
        """Soon after its return a page has at least what the rows had at that moment."""
        due: list[tuple[Watched, int, int]] = []
        for tab in tabs or self.tabs:
            if tab.reply.is_gone or tab.page.connection in ("over", "gone"):
                continue
            if row := await self.row(tab.reply):
                due.append((tab, len(row["reasoning"]), len(row["text"])))

        def late() -> list[Watched]:
            return [
                tab
                for tab, reasoning, text in due
                if not tab.reply.is_gone
                and tab.page.connection not in ("over", "gone")
                and not tab.page.has(tab.reply.message, reasoning, text)
            ]

        within_s = CATCH_UP_WITHIN_S.get(promise, CATCH_UP_S)
        if await self.world.clock.until(lambda: not late(), within_s) is None:
            for tab in late():
                self.breaks(
                    promise,
                    f"{within_s:g} s after the return a page of {tab.reply.token} lacks what the row"
                    f" has: {tab.page.connection}, {tab.page.shown.status_of(tab.reply.message)},"
                    f" opened {tab.page.opens} times, closed {tab.page.closes[-3:]}",
                )

    async def row(self, reply: Reply) -> dict[str, Any] | None:
        """The reply as export.json gives it."""
        exported = await reply.person.export(reply.conversation)
        found = (m for m in (exported or {}).get("messages", []) if m["id"] == reply.message)
        return next(found, None)

    async def _is_held(self, reply: Reply) -> bool:
        """Whether it waits for a person's word, the reply ahead of it having come to a bad end."""
        exported = await reply.person.export(reply.conversation)
        messages = {m["id"]: m for m in (exported or {}).get("messages", [])}
        question = messages.get(messages.get(reply.message, {}).get("parent"), {})
        ahead = messages.get(question.get("parent"), {})
        return ahead.get("status") in set(ENDED) - {"complete"}

    async def _settle(self) -> None:
        """Until every reply has ended; what is held behind a reply that didn't complete is let go."""
        for reply in self.replies:
            if not reply.is_gone and not reply.message:
                await self.identify(reply)
        released: set[str] = set()

        async def all_ended() -> bool:
            is_ended = True
            for reply in self.replies:
                if reply.is_gone:
                    continue
                if not reply.message:
                    await self.identify(reply)
                row = await self.row(reply)
                if row is None or row["status"] not in ENDED:
                    is_ended = False
                is_new = row and row["status"] == "queued" and reply.message not in released
                if is_new and await self._is_held(reply):
                    released.add(reply.message)
                    await reply.person.post(f"/m/{reply.message}/retry/")
            return is_ended

        if not await self.world.clock.until(all_ended, SETTLE_S + IDLE_S, 0.2):
            for reply in self.replies:
                row = None if reply.is_gone else await self.row(reply)
                if not reply.is_gone and (row is None or row["status"] not in ENDED):
                    status = row["status"] if row else "not to be had"
                    self.breaks("D1", f"{reply.token} has not ended: {status}")

    async def _end(self) -> None:
        self.world.swallows = lambda path: False
        self.world.proxy.heal()
        if self.window:
            await self.window[0].close()
        for tab in self.tabs:
            await tab.page.close()
        await self.world.bring_up()
        for reply in self.replies:
            if reply.conversation and not reply.is_gone:
                await reply.person.post(f"/c/{reply.conversation}/delete/")
