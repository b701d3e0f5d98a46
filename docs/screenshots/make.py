"""Photograph the pages of a real server in a real Chromium; the figures of the docs are these.

python -m docs.screenshots.make [name ...]

Where pngquant is installed, a photograph has 256 colours and a third of the bytes.
"""

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests import browser as chromium
from tests import screens
from tests.screens import Screen
from tests.server import PASSWORD, Client, Server
from tests.waiting import until

HERE = Path(__file__).resolve().parent
SIZES = {"phone": (360, 740), "tablet": (768, 1024), "desktop": (1440, 900)}
QUESTIONS = {
    "en": {
        "code": "Code for one task in three languages",
        "table": "A table of the planets, please",
        "maths": "Show me some maths",
    },
    "ru": {
        "code": "Код одной задачи на трёх языках",
        "table": "Таблицу планет, пожалуйста",
        "maths": "Покажи формулы",
    },
}
RIGHT_TO_LEFT = "ما هو الماء ولماذا هو مهم؟"
ANSWER = """## الماء

الماء مركب من **الهيدروجين** والأكسجين، وصيغته H₂O.

- ضروري للحياة
- يغطي معظم سطح الأرض

> الماء أصل كل شيء
"""
NAMES = {"en": "anna", "ru": "анна"}
EARLIER = {
    "en": [
        "Why does ice float?",
        "A short letter to the landlord",
        "Lists: what to pack for two days in the mountains",
        "Maths behind the tides",
    ],
    "ru": [
        "Почему лёд не тонет?",
        "Короткое письмо арендодателю",
        "Список вещей на два дня в горы",
        "Формулы приливов",
    ],
}


def put(page: Page, question: str) -> None:
    """A question of one's own, and its answer."""
    screens.live(page)
    page.fill("#model", "demo-fast")
    page.fill("#text", question)
    page.click("#composer [name=send]")
    page.wait_for_selector(screens.ENDED)


def questions(page: Page) -> dict[str, str]:
    return QUESTIONS[page.locator("html").get_attribute("lang") or "en"]


# --- what no other use has: things to look at ----------------------------------------------------


def code(page: Page) -> None:
    screens.live(page)
    put(page, questions(page)["code"])


def showcase(page: Page) -> None:
    code(page)
    page.focus("#scroll")
    page.keyboard.press("Home")
    page.wait_for_selector("#latest:not([hidden])")
    page.focus("#text")


def table(page: Page) -> None:
    screens.live(page)
    put(page, questions(page)["table"])


def maths(page: Page) -> None:
    screens.live(page)
    put(page, questions(page)["maths"])


def from_the_right(page: Page) -> None:
    """The demo gateway knows no Arabic, so that the reply is given other words."""
    put(page, RIGHT_TO_LEFT)
    page.click("[data-role=assistant] [name=edit]")
    page.fill(".edit textarea", ANSWER)
    page.click(".edit [name=save]")
    page.wait_for_selector(".edited")


# Everywhere: three sizes, light and dark, both languages. Twice: each by turns, wide and narrow.
# At each turn: how one comes in, which is what a newcomer sees first.
EVERYWHERE: list[Screen] = [screens.home, code]
TWICE: list[Screen] = [table, maths, from_the_right] + [
    each for each in screens.SCREENS if each not in (screens.home, screens.drawer)
]
EACH_TURN = set("login login_code invitation settings settings_passkeys settings_sessions".split())
TURNS = [
    ("desktop", "light", "en"),
    ("phone", "dark", "ru"),
    ("phone", "light", "en"),
    ("desktop", "dark", "ru"),
    ("tablet", "light", "ru"),
    ("phone", "light", "ru"),
]
Shot = tuple[str, Screen, str, str, str]


def shots() -> Iterator[Shot]:
    """(file's name, screen, size, scheme, language) of each photograph."""
    yield "readme", showcase, "desktop", "light", "en"
    for screen in EVERYWHERE:
        for size in SIZES:
            for scheme in ("light", "dark"):
                for language in QUESTIONS:
                    yield _shot(screen, size, scheme, language)
    for turn, screen in enumerate(TWICE):
        count = len(TURNS) if screen.__name__ in EACH_TURN else 2
        for size, scheme, language in (TURNS * 2)[turn * 2 % len(TURNS) :][:count]:
            yield _shot(screen, size, scheme, language)


def _shot(screen: Screen, size: str, scheme: str, language: str) -> Shot:
    name = screen.__name__.replace("_", "-")
    return f"{name}-{size}-{scheme}-{language}", screen, size, scheme, language


@contextmanager
def new_page(
    browser: Browser,
    server: Server,
    size: str,
    scheme: str,
    language: str,
    person: Client | None = None,
) -> Iterator[Page]:
    """Of somebody who is logged in; of a visitor's without a person."""
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=server.url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
        locale=language,
        has_touch=size != "desktop",
        is_mobile=size != "desktop",
        reduced_motion="reduce",
    )
    for name, value in (person.cookies if person else {}).items():
        context.add_cookies([{"name": name, "value": value, "url": server.url}])
    yield context.new_page()
    context.close()


def enter(page: Page, path: str, username: str) -> None:
    page.goto(path)
    page.fill("[name=username]", username)
    for field in page.locator("[type=password]").all():
        field.fill(PASSWORD)
    page.click("main button")
    page.wait_for_url("/")
    page.wait_for_selector("body[data-connection=live]")


def photograph(page: Page, name: str) -> None:
    path = HERE / f"{name}.png"
    page.evaluate("document.fonts.ready")
    page.screenshot(path=path)
    if shutil.which("pngquant"):
        command = ["pngquant", "--force", "--strip", "--speed", "1", "--output", path, path]
        subprocess.run(command, check=True)
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()


def first_visit(browser: Browser, server: Server) -> None:
    with new_page(browser, server, "phone", "light", "en") as page:
        page.goto("/")
        photograph(page, "setup-phone-light-en")
        enter(page, "/setup/", "owner")
    with new_page(browser, server, "desktop", "dark", "ru") as page:
        page.goto("/login/")
        photograph(page, "login-desktop-dark-ru")
        enter(page, "/login/", "owner")
        photograph(page, "empty-desktop-dark-ru")


def without_gateway(browser: Browser) -> None:
    with tempfile.TemporaryDirectory() as data_dir:
        server = Server(Path(data_dir), {"POTOK_DEMO": "0"}).start(deadline_s=600)
        try:
            server.visitor().set_up()
            for size, scheme, language in TURNS[:2]:
                with new_page(browser, server, size, scheme, language) as page:
                    enter(page, "/login/", "owner")
                    photograph(page, f"no-gateway-{size}-{scheme}-{language}")
        finally:
            server.close()


def broken(browser: Browser, server: Server, person: Client) -> None:
    """What is seen where a view fails: here for want of a table."""
    path = server.data_dir / "db.sqlite3"
    with (
        new_page(browser, server, "phone", "dark", "ru", person) as page,
        closing(sqlite3.connect(path, timeout=30)) as database,
    ):
        database.execute("ALTER TABLE chat_languagemodel RENAME TO away")
        page.goto("/")
        photograph(page, "error-phone-dark-ru")
        database.execute("ALTER TABLE away RENAME TO chat_languagemodel")


def settle(server: Server, language: str) -> Client:
    """Somebody who reads this language and has asked before."""
    person = server.add_user(NAMES[language])
    for place, words in enumerate(EARLIER[language]):
        model = "demo-fast" if place else "demo-reasoning"
        conversation = person.send(words, model=model)
        person.wait_for_reply(conversation, deadline_s=120)
        person.get(f"/c/{conversation}/")  # or else it is one that wasn't read yet
    return person


# --- what staff see -------------------------------------------------------------------------------

ROW = "#result_list tbody tr:first-child a[href*='/change/']"
YEAR_AGO = datetime.now(UTC).date() - timedelta(days=365)
# Where each begins, and what is followed or clicked from there on.
REVIEW = {
    "spending": ("/admin/spend/", []),
    "weeks": (f"/admin/spend/?from={YEAR_AGO}", ["summary", ".sums tr:nth-child(4) td"]),
    "running": ("/admin/chat/generation/", []),
    "people": ("/admin/chat/user/?o=-4", []),
    "budgets": ("/admin/chat/budget/", []),
    "budget": ("/admin/chat/budget/", [ROW]),
    "gateways": ("/admin/chat/gateway/", []),
    "gateway": ("/admin/chat/gateway/", [ROW]),
    "list": ("/admin/chat/conversation/", []),
    "found": ("/admin/chat/conversation/?q=ёжик", []),
    "transcript": ("/admin/chat/conversation/?owner=anna", [ROW]),
    "replay": ("/admin/chat/conversation/?owner=anna&rating=down", [ROW, "a[href*='/replay/']"]),
    "queue": ("/admin/chat/feedback/", []),
    "verdict": ("/admin/chat/feedback/", [ROW]),
    "readings": ("/admin/chat/readlog/", []),
    "retention": ("/admin/chat/retention/due/", []),
    "erasing": ("/admin/chat/user/?q=demo-2", [ROW, "a[href$='/erase/']"]),
    "erasure": ("/admin/chat/erasure/", [ROW]),
    "menu": ("/admin/chat/readlog/", ["#rooms > button"]),
}


def review(browser: Browser, server: Server, anna: Client, wanted: list[str]) -> None:
    """The owner's review of what is there, and of a thousand conversations more."""
    if wanted and not any(each.startswith("review") for each in wanted):
        return
    prepare_review(server, anna)
    for name, (path, links) in REVIEW.items():
        for size, scheme, language in TURNS:
            shot = f"review-{name}-{size}-{scheme}-{language}"
            if wanted and not any(shot.startswith(each) for each in wanted):
                continue
            with new_page(browser, server, size, scheme, language) as page:
                enter(page, "/login/", "owner")
                if name == "running":
                    anna.send(EARLIER["en"][1], model="demo-error-hang")
                page.goto(path)
                for link in links:
                    found = page.locator(link).first
                    if address := found.get_attribute("href"):
                        page.goto(address)
                    else:
                        found.click()
                        page.mouse.move(0, 0)  # what it is over looks different
                photograph(page, shot)


def prepare_review(server: Server, anna: Client) -> None:
    """Something for each screen to show: a rating, budgets, rules, a hold, somebody who was erased."""
    reply = anna.last(anna.send(EARLIER["en"][0], model="demo-error-drop"))["id"]
    until(lambda: anna.get(f"/m/{reply}/feedback/").status_code == 200, "the reply has ended")
    anna.post(f"/m/{reply}/feedback/", {"rating": "-1", "comment": "It stops in the middle."})
    owner = server.visitor().log_in()
    everybody = {"period": "month", "money": "500", "currency": "USD", "is_hard": "on"}
    for budget in (everybody, {"period": "day", "tokens": "200000", "is_each": "on"}):
        assert owner.post("/admin/chat/budget/add/", budget).status_code == 302
    # A budget that refuses lets nothing run whose price it doesn't know.
    free = {"gateway": "1", "model": "demo-error-hang", "prompt": "0", "completion": "0"}
    assert owner.post("/admin/chat/price/add/", free | {"currency": "USD"}).status_code == 302
    server.manage("seed_demo", "--conversations", "1000")
    for_all = {"group": "", "idle_days": "365", "deleted_days": "30"}
    assert owner.post("/admin/chat/retention/1/change/", for_all).status_code == 302
    held = {"person": "demo-3", "conversation": "", "why": "A dispute"}
    assert owner.post("/admin/chat/hold/add/", held).status_code == 302
    server.manage("backup")
    server.manage("erase_person", "demo-5", "--yes")


def main(wanted: list[str]) -> None:
    def is_wanted(name: str) -> bool:
        return not wanted or any(name.startswith(each) for each in wanted)

    with tempfile.TemporaryDirectory() as data_dir, sync_playwright() as playwright:
        executable = chromium.chromium(playwright)
        if executable is None:
            raise SystemExit("There is no Chromium to photograph with.")
        server = Server(Path(data_dir), {"POTOK_DEMO": "faults"}).start(deadline_s=600)
        browser = chromium.launch(playwright, executable)
        try:
            first_visit(browser, server)
            screens.open_doors(server)
            people = {language: settle(server, language) for language in QUESTIONS}
            for name, screen, size, scheme, language in filter(lambda s: is_wanted(s[0]), shots()):
                person = people[language]
                with new_page(browser, server, size, scheme, language, person) as page:
                    take(page, name, screen, person)
            if is_wanted("no-gateway"):
                without_gateway(browser)
            if is_wanted("error"):
                broken(browser, server, people["ru"])
            review(browser, server, people["en"], wanted)
        finally:
            browser.close()
            server.close()


def take(page: Page, name: str, screen: Screen, person: Client) -> None:
    """A photograph, and nothing left of what was asked for it."""
    before = listed(person)
    screen(page)
    photograph(page, name)
    for path in listed(person) - before:
        person.post(f"{path}delete/")


def listed(person: Client) -> set[str]:
    return set(re.findall(r'href="(/c/[0-9a-f-]{36}/)"', person.get("/conversations/").text))


if __name__ == "__main__":
    main(sys.argv[1:])
