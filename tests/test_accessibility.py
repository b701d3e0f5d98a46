"""Issue 5, line 13: axe-core finds nothing on any screen, light and dark, wide and narrow.

tests/vendor/axe-core is Deque's checker as published (MPL 2.0), for these tests only.
"""

import hashlib
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.script import chunk
from tests.server import ROOT, Client

VENDOR = ROOT / "tests" / "vendor"
AXE = VENDOR / "axe-core-4.14.1.min.js"
RUN = """async () => {
  const { violations } = await axe.run(document, { resultTypes: ["violations"] })
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
    `${id}: ${target.join(" ")}: ${failureSummary}`))
}"""
TEXT = """Some `code` and a [link](https://example.org).

```python
print(1)
```

| a | b |
|--|--|
| 1 | 2 |

- [x] done

> quoted

$x^2$
"""


def flaws(page: Page) -> list[str]:
    """What axe has to say once nothing moves any more."""
    page.evaluate("Promise.all(document.getAnimations().filter(a => "
                  "a.effect.getTiming().iterations === 1).map(a => a.finished))")  # fmt: skip
    return list(page.evaluate(RUN))


def live(page: Page, path: str = "/") -> None:
    page.goto(path)
    page.locator("body[data-connection=live]").wait_for()


# --- screens ---


def home(page: Page) -> None:
    live(page)


def conversation(page: Page) -> None:
    live(page)
    to_conversation(page)


def to_conversation(page: Page) -> None:
    page.goto(page.locator("#listed a[href^='/c/']").first.get_attribute("href"))
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


def models(page: Page) -> None:
    live(page)
    page.locator("[name=model]").click()
    page.locator("[role=option]").first.wait_for()


def shortcuts(page: Page) -> None:
    live(page)
    page.locator("#sidebar, #scroll").last.focus()
    page.keyboard.press("?")


def refused(page: Page) -> None:
    live(page)
    page.locator("[name=model]").fill("x" * 200)
    page.locator("#composer [name=gateway]").evaluate("e => { e.value = 'unheard-of' }")
    page.locator("#text").fill("Hello")
    page.locator("[name=send]").click()
    page.locator("#composer-alert [role=alert]").wait_for()


def offline(page: Page) -> None:
    live(page)
    page.context.set_offline(True)
    page.locator("body[data-connection=offline]").wait_for()


def at(path: str) -> Callable[[Page], None]:
    def open_(page: Page) -> None:
        page.goto(path)

    open_.__name__ = path.strip("/").replace("/", "_") or "home"
    return open_


def wrong_password(page: Page) -> None:
    page.goto("/password/")
    for field in page.locator("[type=password]").all():
        field.fill("x")
    page.locator("main button").click()


SCREENS: list[Callable[[Page], None]] = [
    *(home, conversation, reasoning, drawer, account_menu, conversation_menu, renaming),
    *(rename_dialog, editing, models, shortcuts, refused, offline, wrong_password),
    *(at(f"/{path}/") for path in ("settings", "password", "parameters", "search", "c/nothing")),
]
KINDS = [(1440, "light"), (360, "dark")]


@pytest.fixture(scope="module")
def reader(shared_server, shared_owner, shared_gateway) -> Client:
    """Somebody with one conversation that has all that a reply may hold."""
    client = shared_server.add_user("reader")
    shared_gateway.reply(chunk({"reasoning_content": "Let me think."}), TEXT)
    client.wait_for_reply(client.send("Show me everything"), "complete")
    return client


@pytest.mark.parametrize(("width", "scheme"), KINDS, ids=str)
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.__name__)
def test_5_13_axe_finds_nothing(server, reader, open_page, complaints, screen, width, scheme):
    page = open_page(
        reader,
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        has_touch=width < 768,
        reduced_motion="reduce",
    )
    complaints[0].allow("status of 4(04|22)|Error Code 422|ERR_INTERNET_DISCONNECTED")
    page.add_init_script(path=AXE)
    screen(page)
    assert flaws(page) == []


@pytest.mark.parametrize("path", ["/login/"])
def test_5_13_axe_finds_nothing_for_a_visitor(server, open_page, path):
    page = open_page(server.visitor())
    page.add_init_script(path=AXE)
    page.goto(path)
    assert flaws(page) == []


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
