"""axe-core finds nothing on any screen, dialog and state, light and dark, wide and narrow.

tests/vendor/axe-core is Deque's checker as published (MPL 2.0), for these tests only.
"""

import hashlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.urls import resolve
from playwright.sync_api import Page, expect

from tests.access import ADDRESSES
from tests.screens import (
    ALLOWED,
    SCREENS,
    account_menu,
    at,
    close_doors,
    conversation,
    conversation_menu,
    drawer,
    found,
    home,
    live,
    open_doors,
    parameters_dialog,
)
from tests.script import chunk
from tests.server import ROOT, Client

VENDOR = ROOT / "tests" / "vendor"
AXE = VENDOR / "axe-core-4.14.1.min.js"
RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"], preload: false })
  const icons = new Set([...document.querySelectorAll("use")].map((use) => use.getAttribute("href")))
  const blank = [...icons].filter((icon) => !document.querySelector(`symbol${icon}`))
  return [...blank.map((icon) => `no such icon: ${icon}`), ...violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`))]
}"""
# Which address each page of the table of tests/access.py is looked at by: its screen's name.
PAGES = {
    "home": "home",
    "setup": "",  # by a test of its own, as there is such a page once
    "signup": "invitation",
    "login": "login",
    "login_code": "login_code",
    "password": "password",
    "settings": "settings",
    "sessions": "settings_sessions",
    "delete_conversations": "settings_delete-conversations",
    "delete_account": "settings_delete-account",
    "second_factor": "settings_second-factor",
    "passkeys": "settings_passkeys",
    "sso_connect": "connect",
    "parameters": "parameters",
    "conversation": "conversation",
    "delete": "page_of_conversation_delete",
    "conversation_parameters": "page_of_conversation_parameters",
    "regenerate": "page_of_regenerate",
    "edit": "page_of_edit",
    "delete_message": "page_of_delete",
    "feedback": "page_of_feedback",
    "models": "models",
    "search": "search",
}
# Answers to a GET that are no page.
NO_PAGES = set(
    "sso sso_back own_data conversations export text picture manifest healthz readyz metrics".split()
)
TEXT = """Some `code` and a [link](https://example.org).

```python
print("a line that is wider than a phone, and so is scrolled sideways in a frame of its own")
```

| distance-in-kilometres | temperature-in-kelvin | circumference |
|--|--|--|
| 1 | 2 | 3 |

- [x] done

> quoted

$x^2$
"""


def flaws(page: Page) -> list[str]:
    """What axe has to say once nothing moves any more; what is taken away meanwhile doesn't."""
    page.evaluate("Promise.allSettled(document.getAnimations().filter(a => "
                  "a.effect.getTiming().iterations === 1).map(a => a.finished))")  # fmt: skip
    return list(page.evaluate(RUN))


@pytest.fixture(scope="module")
def reader(shared_server, shared_owner, shared_gateway) -> Iterator[Client]:
    """Somebody with one conversation that has all that a reply may hold."""
    client = shared_server.add_user("reader")
    shared_gateway.reply(chunk({"reasoning_content": "Let me think."}), TEXT)
    client.wait_for_reply(client.send("Show me ice and everything else"), "complete")
    open_doors(shared_server)
    yield client
    close_doors(shared_server)


@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.__name__)
def test_5_13_axe_finds_nothing(server, reader, open_page, complaints, screen, width):
    """Light and dark, wide and narrow."""
    page = open_page(
        reader,
        viewport={"width": width, "height": 800},
        has_touch=width < 768,
        reduced_motion="reduce",
    )
    complaints[0].allow(ALLOWED)
    page.add_init_script(path=AXE)
    screen(page)
    if names := [name for name, shown in PAGES.items() if shown == screen.__name__]:
        assert [resolve(urlsplit(page.url).path).url_name] == names
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert flaws(page) == [], scheme


ROOMS = """spend conversation feedback generation call budget budget/add user user/add gateway
languagemodel price rate scale scale/add readlog retention retention/due hold hold/add erasure
invitation accountpolicy identityprovider""".split()


@pytest.mark.parametrize("width", [1440, 360])
def test_5_13_axe_finds_nothing_in_the_admin(owner, reader, open_page, complaints, width):
    page = open_page(owner, viewport={"width": width, "height": 800}, reduced_motion="reduce")
    complaints[0].allow(ALLOWED)
    page.add_init_script(path=AXE)
    for room in ROOMS:
        page.goto(f"/admin/{room}/" if room == "spend" else f"/admin/chat/{room}/")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            assert flaws(page) == [], (room, scheme)
    # What shows a reply: its own frames are scrolled by keyboard there as on its reader's page.
    page.goto("/admin/chat/conversation/?owner=reader")
    page.locator("#result_list tbody th a", has_text="Show me ice").first.click()
    page.wait_for_url("**/change/**")
    replies = [page.url, page.locator("a[href*='/replay/']").first.get_attribute("href")]
    rated = page.locator("[data-role=assistant]").first.get_attribute("data-message")
    assert reader.post(f"/m/{rated}/feedback/", {"rating": "-1"}).status_code == 303
    page.goto("/admin/chat/feedback/")
    replies.append(
        page.locator("#result_list tbody a[href*='/change/']").first.get_attribute("href")
    )
    for address in replies:
        page.goto(address)
        for frame in page.locator("#messages :is(.table, .code > pre)").all():
            expect(frame).to_have_attribute("tabindex", "0")
            assert width > 360 or frame.evaluate("e => e.scrollWidth > e.clientWidth"), address
        assert flaws(page) == [], address


def test_5_13_axe_finds_nothing_for_a_visitor_who_is_lost(server, open_page, complaints):
    page = open_page(server.visitor())
    complaints[0].allow(ALLOWED)
    page.add_init_script(path=AXE)
    page.goto("/nothing/")
    assert flaws(page) == []


@pytest.mark.parametrize("width", [1440, 360])
def test_5_13_axe_finds_nothing_at_the_first_visit(fresh_server, open_page, width):
    page = open_page(fresh_server.visitor(), viewport={"width": width, "height": 800})
    page.add_init_script(path=AXE)
    page.goto("/")
    assert resolve(urlsplit(page.url).path).url_name == "setup"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert flaws(page) == [], scheme


def test_5_13_every_page_is_among_the_screens():
    """Whoever adds an address with a page adds the screen that axe looks at."""
    answers_a_get = {name for name, address in ADDRESSES.items() if address.get != 405}
    assert answers_a_get - NO_PAGES == set(PAGES)
    assert set(PAGES.values()) - {""} <= {screen.__name__ for screen in SCREENS}


def test_5_13_axe_would_find_what_is_wrong(server, reader, open_page):
    """Or else the tests above would pass for nothing."""
    page = open_page(reader)
    page.add_init_script(path=AXE)
    live(page)
    page.locator("#text").evaluate("e => { e.labels[0].remove(); e.placeholder = '' }")
    page.locator("#title").evaluate("e => { e.style.color = '#aaa'; e.style.background = '#bbb' }")
    found = {flaw.partition(":")[0] for flaw in flaws(page)}
    assert {"label", "color-contrast"} <= found


def test_the_checker_is_the_one_that_was_published():
    listed = dict(
        reversed(line.split()) for line in (VENDOR / "SHA256SUMS").read_text().splitlines()
    )
    assert listed[AXE.name] == hashlib.sha256(AXE.read_bytes()).hexdigest()


# --- touch, zoom ---


@pytest.mark.parametrize("screen", [home, conversation, drawer, account_menu, conversation_menu],
                         ids=lambda screen: screen.__name__)  # fmt: skip
def test_5_13_what_is_touched_is_44_pixels_high_and_wide(server, reader, open_page, screen):
    page = open_page(reader, viewport={"width": 360, "height": 800}, has_touch=True, is_mobile=True)
    screen(page)
    small = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, textarea, summary")]
          .filter(e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true })
            && !e.closest("p, .prose, .skip, [popover]:not(:popover-open)") && e.type !== "hidden")
          .map(e => [e, e.getBoundingClientRect()])
          .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
          .map(([e, box]) => `${e.outerHTML.slice(0, 90)} ${box.width}x${box.height}`)"""
    )
    assert small == []


@pytest.mark.parametrize("screen", [home, conversation, at("/settings/")],
                         ids=lambda screen: screen.__name__)  # fmt: skip
def test_5_13_at_200_percent_everything_is_there_without_scrolling_sideways(
    server, reader, open_page, screen
):
    """A zoom of 200 % on a screen of 1280 x 1024 is a page of 640 x 512."""
    page = open_page(reader, viewport={"width": 640, "height": 512}, device_scale_factor=2)
    screen(page)
    root = page.locator("html")
    assert root.evaluate("e => e.scrollWidth <= e.clientWidth")
    if page.locator("#composer").count():
        box = page.locator("[name=send], [name=stop]").first.bounding_box()
        assert box["x"] + box["width"] <= 640
        assert box["y"] + box["height"] <= 512


@pytest.mark.parametrize(
    ("screen", "locale"),
    [(conversation, "en"), (found, "en"), (parameters_dialog, "ru"), (at("/settings/"), "ru")],
)
def test_5_13_nothing_is_cut_off_on_a_phone_whose_letters_are_twice_as_large(
    server, reader, open_page, screen, locale
):
    page = open_page(reader, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    screen(page)
    page.locator("html").evaluate("e => { e.style.fontSize = '200%' }")
    cut = page.evaluate(
        """() => [...(document.querySelector("dialog[open]") ?? document)
          .querySelectorAll("a, button, input, textarea, select, h1, h2, p, label")]
          .filter(e => e.checkVisibility({ visibilityProperty: true })
            && !e.closest(".table, pre, .skip, [popover]:not(:popover-open)") && e.type !== "hidden")
          .map(e => [e, e.getBoundingClientRect()])
          .filter(([, box]) => box.left < -1 || box.right > 361)
          .map(([e, box]) => `${e.outerHTML.slice(0, 90)} ${box.left} to ${box.right}`)"""
    )
    assert cut == []
    titles = page.locator(".found h2 a").all()
    assert all(title.bounding_box()["width"] > 100 for title in titles)
