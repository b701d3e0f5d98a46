"""Every screen of a reader's, dialog and state, by the steps that lead to it.

For whatever has to hold on all of them, and to be photographed. The server is one with the demo
gateway and what `open_doors` puts there, the reader somebody with a conversation that has reasoning
and a word of SOUGHT.
"""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.server import PASSWORD, Server

Screen = Callable[[Page], None]
SAYS = {
    "en": {
        "tour": "What can you do?",
        "long": "Write something long",
        "next": "And what comes after it?",
        "mine": "Keep this for tomorrow",
    },
    "ru": {
        "tour": "Что ты умеешь?",
        "long": "Напиши что-нибудь длинное",
        "next": "А что будет потом?",
        "mine": "Оставь это до завтра",
    },
}
SOUGHT = {"en": "ice", "ru": "лёд"}
STEPPER = "stepper"  # who has a two-step login
INVITATION = "a-link-that-is-no-secret"
DOORS = f"from tests import doors; doors.{{}}({STEPPER!r}, {PASSWORD!r}, {INVITATION!r})"
ENDED = "article:last-child:not([data-status=queued], [data-status=streaming])"


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


def says(page: Page, what: str) -> str:
    return SAYS[page.locator("html").get_attribute("lang") or "en"][what]


def at(path: str) -> Screen:
    def open_(page: Page) -> None:
        page.goto(path)

    open_.__name__ = path.strip("/").replace("/", "_") or "home"
    return open_


# --- the chat page, its menus and dialogs ---------------------------------------------------------


def home(page: Page) -> None:
    live(page)


def conversation(page: Page) -> None:
    """The one there is: the oldest."""
    live(page)
    page.goto(page.locator("#listed a[href^='/c/']").last.get_attribute("href") or "")
    page.locator("body[data-connection=live]").wait_for()
    expect(page.locator("[data-part=usage]").last).to_be_attached()


def reasoning(page: Page) -> None:
    conversation(page)
    page.locator("summary").first.click()


def drawer(page: Page) -> None:
    live(page)
    if page.locator("#drawer").is_hidden():
        page.locator(".bar [popovertarget=drawer]").click()


def account_menu(page: Page) -> None:
    drawer(page)
    page.locator(".account-button").click()


def conversation_menu(page: Page) -> None:
    conversation(page)
    page.locator("#conversation-menu-button").click()


def renaming(page: Page) -> None:
    drawer(page)
    page.locator("#listed > [data-version] > a").first.focus()
    page.keyboard.press("F2")


def rename_dialog(page: Page) -> None:
    conversation_menu(page)
    page.locator("#conversation-menu [name=rename]").click()


def editing(page: Page) -> None:
    conversation(page)
    page.locator("#text").press("ArrowUp")
    page.locator(".edit").wait_for()


def editing_a_reply(page: Page) -> None:
    conversation(page)
    page.locator("[data-role=assistant] [name=edit]").last.click()
    page.locator(".edit").wait_for()


def rating(page: Page) -> None:
    conversation(page)
    last = page.locator("[data-role=assistant]").last
    if last.locator("[name=comment]").count() == 0:
        last.locator("[name=rating]").last.click()
    last.locator("[name=comment]").click()
    page.locator(".feedback").wait_for()


def deleting(page: Page) -> None:
    conversation(page)
    page.locator("article:last-child [name=delete]").click()
    page.locator("#ask [name=confirm]").wait_for()


def another_model(page: Page) -> None:
    conversation(page)
    page.locator("article:last-child [name=regenerate-with]").click()
    page.locator("#another-list [role=option]").first.wait_for()


def parameters_dialog(page: Page) -> None:
    conversation(page)
    page.locator("#parameters-link").click()
    page.locator("#ask [name=system_prompt]").wait_for()


def model_picker(page: Page) -> None:
    live(page)
    page.locator("#model").click()
    page.locator("#model-list [role=option]").first.wait_for()


def no_such_model(page: Page) -> None:
    model_picker(page)
    page.locator("#model").fill("nobody-lists-this")
    page.locator("#model-list [role=option]").first.wait_for(state="detached")


def shortcuts(page: Page) -> None:
    live(page)
    page.locator("#scroll").focus()
    page.keyboard.press("?")
    page.locator("#shortcuts[open]").wait_for()


def forecast(page: Page) -> None:
    live(page)
    page.locator("#model").fill("demo-fast")
    page.locator("#text").fill(says(page, "tour"))
    page.locator("#forecast > span").wait_for()


# --- how a reply stands ---------------------------------------------------------------------------


def ask(page: Page, model: str, what: str = "long") -> None:
    """A question to the demo gateway; returns once its reply is on the page."""
    replies = page.locator("[data-role=assistant]").count()
    page.locator("#model").fill(model)
    page.locator("#text").fill(says(page, what))
    page.locator("#composer [name=send]").click()
    page.locator("[data-role=assistant]").nth(replies).wait_for()


def ended(model: str, name: str) -> Screen:
    def open_(page: Page) -> None:
        live(page)
        ask(page, model)
        page.locator(ENDED).wait_for()

    open_.__name__ = name
    return open_


def thinking(page: Page) -> None:
    live(page)
    ask(page, "demo-error-timeout")
    page.locator("[data-status=streaming] [data-part=waiting]").wait_for()


def streaming(page: Page) -> None:
    live(page)
    ask(page, "demo-slow", "tour")
    page.locator("[data-part=body] > .block:nth-child(2)").wait_for()


def queued(page: Page) -> None:
    thinking(page)
    ask(page, "demo-fast", "next")
    page.locator("[data-status=queued] [data-part=waiting]").wait_for()


def stopped(page: Page) -> None:
    streaming(page)
    page.locator("[name=stop]").click()
    page.locator("[data-status=stopped]").wait_for()


def held(page: Page) -> None:
    queued(page)
    page.locator("[data-status=streaming] [name=stop]").click()
    page.locator("[data-status=stopped]").wait_for()
    page.locator("[data-status=queued] [data-part=waiting].note").wait_for()


# --- what has happened to the page ----------------------------------------------------------------


def refused(page: Page) -> None:
    live(page)
    page.locator("#model").fill("x" * 200)
    page.locator("#composer [name=gateway]").evaluate("e => { e.value = 'unheard-of' }")
    page.locator("#text").fill(says(page, "next"))
    page.locator("#composer [name=send]").click()
    page.locator("#composer-alert [role=alert]").wait_for()


def offline(page: Page) -> None:
    live(page)
    page.context.set_offline(True)
    page.locator("body[data-connection=offline]").wait_for()


def not_sent(page: Page) -> None:
    offline(page)
    page.locator("#text").fill(says(page, "next"))
    page.locator("#composer [name=send]").click()
    page.locator("#composer-alert [role=alert]").wait_for()


def outdated(page: Page) -> None:
    conversation(page)
    page.evaluate("document.dispatchEvent(new CustomEvent('potok:outdated'))")


def logged_out(page: Page) -> None:
    conversation(page)
    page.evaluate("document.dispatchEvent(new CustomEvent('potok:session-over'))")


def unsaved(page: Page) -> None:
    """What the socket's shell says of a row that is behind."""
    streaming(page)
    page.locator("[data-status=streaming]").evaluate("e => { e.dataset.saved = 'false' }")


def undo(page: Page) -> None:
    live(page)
    ask(page, "demo-fast", "mine")
    page.locator(ENDED).wait_for()
    page.locator("#conversation-menu-button").click()
    page.locator("#conversation-menu [name=delete-conversation]").click()
    page.locator("#undo [name=undo]").wait_for()


# --- other pages ----------------------------------------------------------------------------------


def wrong_password(page: Page) -> None:
    page.goto("/password/")
    for field in page.locator("[type=password]").all():
        field.fill("x")
    page.locator("main button").click()


def found(page: Page) -> None:
    page.goto("/search/")
    page.goto(f"/search/?q={SOUGHT[page.locator('html').get_attribute('lang') or 'en']}")


def not_found(page: Page) -> None:
    page.goto("/search/?q=000000")


def second_factor_draft(page: Page) -> None:
    page.goto("/settings/second-factor/")
    if page.locator(".qr").count() == 0:
        page.locator("main [name=password]").fill(PASSWORD)
        page.locator("main form button").click()
        page.locator(".qr").wait_for()


def of_the_reply(command: str) -> Screen:
    """What its button opens, for whoever has no JavaScript."""

    def open_(page: Page) -> None:
        conversation(page)
        reply = page.locator("[data-role=assistant]").last.get_attribute("data-message")
        page.goto(f"/m/{reply}/{command}/")

    open_.__name__ = f"page_of_{command}"
    return open_


def of_the_conversation(command: str) -> Screen:
    def open_(page: Page) -> None:
        conversation(page)
        page.goto(f"{page.url}{command}/")

    open_.__name__ = f"page_of_conversation_{command}"
    return open_


# --- ways in --------------------------------------------------------------------------------------


def open_doors(server: Server) -> None:
    """Somebody with a two-step login, a link that invites, a provider."""
    server.manage("shell", "-v0", "-c", DOORS.format("open_"))


def close_doors(server: Server) -> None:
    server.manage("shell", "-v0", "-c", DOORS.format("close"))


def login(page: Page) -> None:
    page.context.clear_cookies()
    page.goto("/login/")


def login_code(page: Page) -> None:
    login(page)
    page.locator("[name=username]").fill(STEPPER)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main form button").first.click()
    page.locator("[name=code]").wait_for()


def recovery_code(page: Page) -> None:
    login_code(page)
    page.goto("/login/code/?recovery")


def invitation(page: Page) -> None:
    login(page)
    page.goto(f"/signup/?invitation={INVITATION}")


def connect(page: Page) -> None:
    page.goto("/settings/connect/office/")


def connect_ready(page: Page) -> None:
    connect(page)
    page.locator("main [name=password]").fill(PASSWORD)
    page.locator("main form button").click()
    page.locator("main a[href='/login/with/office/']").wait_for()


CHAT: list[Screen] = [
    *(home, conversation, reasoning, drawer, account_menu, conversation_menu, renaming),
    *(rename_dialog, editing, editing_a_reply, rating, deleting, another_model),
    *(parameters_dialog, model_picker, no_such_model, shortcuts, forecast),
]
REPLIES: list[Screen] = [
    *(thinking, streaming, queued, stopped, held, unsaved),
    ended("demo-error-length", "cut_short"),
    ended("demo-error-content_filter", "filtered"),
    ended("demo-error-balance", "failed"),
    ended("demo-error-drop", "interrupted"),
]
HAPPENINGS: list[Screen] = [refused, offline, not_sent, outdated, logged_out, undo]
OTHERS: list[Screen] = [
    *(wrong_password, found, not_found),
    *(at(f"/{path}/") for path in ("settings", "password", "parameters", "search", "models")),
    *(at(f"/settings/{path}/") for path in ("second-factor", "passkeys", "sessions")),
    *(at(f"/settings/{path}/") for path in ("delete-conversations", "delete-account")),
    second_factor_draft,
    at("/c/nothing/"),
    at("/admin/"),
]
PLAIN: list[Screen] = [
    *map(of_the_reply, ("edit", "regenerate", "delete", "feedback")),
    *map(of_the_conversation, ("delete", "parameters")),
]
DOORWAYS: list[Screen] = [login, login_code, recovery_code, invitation, connect, connect_ready]
SCREENS = [*CHAT, *REPLIES, *HAPPENINGS, *OTHERS, *PLAIN, *DOORWAYS]
ALLOWED = "status of 40[34]|status of 422|Error Code 422|ERR_INTERNET_DISCONNECTED|^htmx:"
