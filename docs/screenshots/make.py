"""Photograph the pages of a real server in a real Chromium; the figures of the docs are these.

python -m docs.screenshots.make [name ...]
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from tests import browser as chromium
from tests.server import PASSWORD, Client, Server
from tests.waiting import until

HERE = Path(__file__).resolve().parent
SIZES = {"phone": (360, 740), "tablet": (768, 1024), "desktop": (1440, 900)}
ENDED = "article:last-child:not([data-status=queued], [data-status=streaming])"
WORDS = {
    "en": {
        "tour": "What can you do?",
        "code": "Code for one task in three languages",
        "table": "A table of the planets, please",
        "long": "Write something long",
        "next": "And what comes after it?",
    },
    "ru": {
        "tour": "Что ты умеешь?",
        "code": "Код одной задачи на трёх языках",
        "table": "Таблицу планет, пожалуйста",
        "long": "Напиши что-нибудь длинное",
        "next": "А что будет потом?",
    },
}
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
Words = dict[str, str]


def ask(page: Page, words: str, model: str = "demo-fast") -> None:
    """Ask and see the answer end."""
    begin(page, words, model)
    page.wait_for_selector(ENDED)


def begin(page: Page, words: str, model: str) -> None:
    """Ask, and return once the reply stands on the page."""
    replies = page.locator("[data-role=assistant]").count()
    page.fill("[name=model]", model)
    page.fill("#composer [name=text]", words)
    page.click("#composer [name=send]")
    page.locator("[data-role=assistant]").nth(replies).wait_for()


def to_the_top(page: Page) -> None:
    page.focus("#scroll")
    page.keyboard.press("Home")
    page.wait_for_selector("#latest:not([hidden])")
    page.focus("#composer [name=text]")


# --- the scenes, from a new chat on ----------------------------------------------------------


def home(_page: Page, _words: Words) -> None:
    pass


def models(page: Page, _words: Words) -> None:
    page.click("[name=model]")


def conversation(page: Page, words: Words) -> None:
    ask(page, words["code"])


def showcase(page: Page, words: Words) -> None:
    conversation(page, words)
    to_the_top(page)


def table(page: Page, words: Words) -> None:
    ask(page, words["table"])


def streaming(page: Page, words: Words) -> None:
    begin(page, words["tour"], "demo-slow")
    page.wait_for_selector("[data-part=body] > .block:nth-child(4)")


def thinking(page: Page, words: Words) -> None:
    begin(page, words["tour"], "demo-error-timeout")
    page.wait_for_selector("[data-status=streaming]")


def queued(page: Page, words: Words) -> None:
    streaming(page, words)
    begin(page, words["next"], "demo-fast")


def held(page: Page, words: Words) -> None:
    queued(page, words)
    page.click("[data-status=streaming] [name=stop]")
    page.wait_for_selector("[data-status=stopped]")


def reasoning(page: Page, words: Words) -> None:
    ask(page, words["tour"], "demo-reasoning")
    page.click("summary")
    to_the_top(page)


def failed(page: Page, words: Words) -> None:
    ask(page, words["tour"], "demo-error-balance")


def interrupted(page: Page, words: Words) -> None:
    ask(page, words["long"], "demo-error-drop")


def cut(page: Page, words: Words) -> None:
    ask(page, words["long"], "demo-error-length")


def editing(page: Page, words: Words) -> None:
    ask(page, words["tour"], "demo-error-content_filter")
    page.press("#composer [name=text]", "ArrowUp")
    page.wait_for_selector(".edit")


def menu(page: Page, words: Words) -> None:
    ask(page, words["table"])
    page.click("#conversation-menu-button")


def deleting(page: Page, words: Words) -> None:
    ask(page, words["table"])
    page.click("article:last-child [name=delete]")
    page.wait_for_selector("#ask [name=confirm]")


def drawer(page: Page, _words: Words) -> None:
    if page.locator("#drawer").is_hidden():
        page.click(".bar [popovertarget=drawer]")
        page.locator("#drawer").evaluate(
            "drawer => Promise.all(drawer.getAnimations().map(a => a.finished))"
        )
    page.click(".account-button")


def offline(page: Page, words: Words) -> None:
    ask(page, words["table"])
    page.context.set_offline(True)
    page.fill("#composer [name=text]", words["next"])
    page.click("#composer [name=send]")
    page.wait_for_selector("#composer-alert [role=alert]")


def password(page: Page, _words: Words) -> None:
    page.goto(page.url.rstrip("/") + "/password/")
    page.fill("[name=old_password]", "x")
    page.fill("[name=new_password1]", "x")
    page.fill("[name=new_password2]", "y")
    page.click("main button")


def nothing(page: Page, _words: Words) -> None:
    page.goto(page.url.rstrip("/") + "/c/nothing/")


Scene = Callable[[Page, Words], None]
# Everywhere: three sizes, light and dark, both languages. Once: a state, by turns in each of these.
EVERYWHERE: list[Scene] = [home, conversation]
ONCE: list[Scene] = [
    *(models, table, streaming, thinking, queued, held, reasoning, failed, interrupted, cut),
    *(editing, menu, deleting, drawer, offline, password, nothing),
]
TURNS = [
    ("desktop", "light", "en"),
    ("phone", "dark", "ru"),
    ("phone", "light", "en"),
    ("desktop", "dark", "ru"),
    ("tablet", "light", "ru"),
]


def shots() -> Iterator[tuple[str, Scene, str, str, str]]:
    """(file's name, scene, size, scheme, language) of each photograph."""
    yield "readme", showcase, "desktop", "light", "en"
    for scene in EVERYWHERE:
        for size in SIZES:
            for scheme in ("light", "dark"):
                for language in WORDS:
                    yield (
                        f"{scene.__name__}-{size}-{scheme}-{language}",
                        scene,
                        size,
                        scheme,
                        language,
                    )
    for turn, scene in enumerate(ONCE):
        size, scheme, language = TURNS[turn % len(TURNS)]
        yield f"{scene.__name__}-{size}-{scheme}-{language}", scene, size, scheme, language


@contextmanager
def new_page(
    browser: Browser, server: Server, size: str, scheme: str, language: str
) -> Iterator[Page]:
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
    page.evaluate("document.fonts.ready")
    page.screenshot(path=HERE / f"{name}.png")
    sys.stdout.write(f"{name}\n")


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


def settle(server: Server, language: str) -> Client:
    """Somebody who reads this language and has asked before."""
    person = server.add_user(NAMES[language])
    for words in EARLIER[language]:
        person.wait_for_reply(person.send(words, model="demo-fast"))
    return person


# --- what staff see -------------------------------------------------------------------------------

REVIEW = {
    "list": "/admin/chat/conversation/",
    "found": "/admin/chat/conversation/?q=ёжик",
    "transcript": "/admin/chat/conversation/?owner=anna",
    "queue": "/admin/chat/feedback/",
    "verdict": "/admin/chat/feedback/",
    "readings": "/admin/chat/readlog/",
}
OPENED = {"transcript": "conversation", "verdict": "feedback"}


def review(browser: Browser, server: Server, anna: Client, wanted: list[str]) -> None:
    """The owner's review of what is there, and of a hundred conversations more."""
    if wanted and not any(each.startswith("review") for each in wanted):
        return
    reply = anna.last(anna.send(EARLIER["en"][0], model="demo-error-drop"))["id"]
    until(lambda: anna.get(f"/m/{reply}/feedback/").status_code == 200, "the reply has ended")
    anna.post(f"/m/{reply}/feedback/", {"rating": "-1", "comment": "It stops in the middle."})
    server.manage("seed_demo", "--conversations", "100")
    for name, path in REVIEW.items():
        for size, scheme, language in TURNS:
            shot = f"review-{name}-{size}-{scheme}-{language}"
            if wanted and not any(shot.startswith(each) for each in wanted):
                continue
            with new_page(browser, server, size, scheme, language) as page:
                enter(page, "/login/", "owner")
                page.goto(path)
                if name in OPENED:
                    row = f"#result_list a[href*='/{OPENED[name]}/'][href*='/change/']"
                    page.locator(row).first.click()
                    page.wait_for_url("**/change/**")
                photograph(page, shot)


def main(wanted: list[str]) -> None:
    with tempfile.TemporaryDirectory() as data_dir, sync_playwright() as playwright:
        executable = chromium.chromium(playwright)
        if executable is None:
            raise SystemExit("There is no Chromium to photograph with.")
        server = Server(Path(data_dir), {"POTOK_DEMO": "faults"}).start()
        browser = chromium.launch(playwright, executable)
        try:
            first_visit(browser, server)
            people = {language: settle(server, language) for language in WORDS}
            for name, scene, size, scheme, language in shots():
                if wanted and not any(name.startswith(each) for each in wanted):
                    continue
                with new_page(browser, server, size, scheme, language) as page:
                    enter(page, "/login/", NAMES[language])
                    scene(page, WORDS[language])
                    photograph(page, name)
                    if "/c/" in page.url:
                        people[language].post(urlsplit(page.url).path + "delete/")
            review(browser, server, people["en"], wanted)
        finally:
            browser.close()
            server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
