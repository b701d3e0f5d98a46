"""The page in its reader's language, with its numbers, and text that runs from the right."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.screens import ALLOWED, SCREENS, close_doors, live, open_doors
from tests.script import Reasoning, usage_of
from tests.server import Client

REPLY = "[data-role=assistant]"
COMPLETE = f"{REPLY}[data-status=complete]"
# What has no Russian: names, keys, formats, languages in their own words.
NAMES = set(
    "Potok Demo Enter Shift Ctrl Esc JSON CSV OpenAI OPENAI_API_KEY English reader_ru Top"
    " Aegis FAS Google Authenticator QR- PIN- http https localhost Work stepper".split()
)
# Everything that is read or heard, but what a person or a model wrote, keys and code.
SAID = r"""() => {
  const others = "script, style, noscript, kbd, code, pre, math, datalist, [dir=ltr], .words, .prose," +
    " .said, #listed a, #title, .quoted, .undo strong, [name=time_zone], [name=place], [role=option]," +
    " #account .name, .account-button .name, .edit textarea, .usage span[dir]"
  const said = []
  const look = (root) => {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT)
    for (let node = texts.currentNode; node; node = texts.nextNode()) {
      if (node.nodeType === Node.TEXT_NODE) {
        if (!node.parentElement?.closest(others)) said.push(node.data)
        continue
      }
      if (node.localName === "template") look(node.content)
      if (node.shadowRoot) look(node.shadowRoot)
      if (node.nodeType !== Node.ELEMENT_NODE || node.closest(others)) continue
      for (const name of ["title", "aria-label", "placeholder", "alt"]) {
        if (node.hasAttribute(name)) said.push(node.getAttribute(name))
      }
    }
  }
  look(document.documentElement)
  said.push(...Object.values(document.getElementById("announcer")?.dataset ?? {}))
  return said.map((words) => words.trim()).filter(Boolean)
}"""


@pytest.fixture(scope="module")
def reader(shared_server, shared_owner, shared_gateway) -> Iterator[Client]:
    client = shared_server.add_user("reader_ru")
    shared_gateway.reply(Reasoning("Думаю."), "Вот.")
    client.wait_for_reply(client.send("Всё сразу, и лёд"), "complete")
    open_doors(shared_server)
    yield client
    close_doors(shared_server)


def foreign(page: Page) -> list[str]:
    """What is said in Latin letters, though it has no need to be."""
    found = []
    for words in page.evaluate(SAID):
        latin = set(re.findall(r"[A-Za-z][A-Za-z_-]+", words)) - NAMES
        if latin:
            found.append(f"{words[:80]!r}: {sorted(latin)}")
    return found


@pytest.mark.parametrize("locale", ["ru"])
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.__name__)
def test_5_12_nothing_is_left_in_english(server, reader, open_page, complaints, screen):
    page = open_page(reader)
    complaints[0].allow(ALLOWED)
    screen(page)
    assert page.locator("html").get_attribute("lang") == "ru"
    assert foreign(page) == []


def test_5_12_english_would_be_found(server, reader, open_page):
    """Or else the test above would pass for nothing."""
    page = open_page(reader, locale="en")
    live(page)
    assert len(foreign(page)) > 20


@pytest.mark.parametrize("locale", ["ru"])
@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (1, "1 токен на входе"),
        (2, "2 токена на входе"),
        (5, "5 токенов на входе"),
        (21, "21 токен на входе"),
        (12, "12 токенов на входе"),
        (1232, "1\u00a0232 токена на входе"),
    ],
)
def test_5_12_tokens_are_declined_and_grouped(gateway, owner, page, tokens, words):
    gateway.reply("Да.", usage=usage_of(tokens, 3) | {"cost_rub": 1234.56})
    live(page)
    page.locator("#text").fill("Правда?")
    page.locator("#text").press("Enter")
    figures = page.locator(f"{COMPLETE} [data-part=usage]")
    expect(figures).to_contain_text(words)
    expect(figures).to_contain_text("1\u00a0234,56\u00a0₽")


@pytest.mark.parametrize("locale", ["ru"])
def test_5_12_a_language_of_ones_own_goes_before_the_browsers(server, gateway, open_page):
    client = server.add_user("polyglot")
    page = open_page(client)
    page.goto("/settings/")
    page.locator("[name=language]").select_option("en")
    page.locator("main form button.button-main").first.click()
    live(page)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator(".greeting")).to_have_text("What would you like to know?")


RIGHT_TO_LEFT = """## عنوان

فقرة أولى مع كلمة Python فيها.

- بند أول
- بند ثان

1. واحد

> اقتباس

```python
word = "سلام"  # تحية
```

An English paragraph.

| عمود | ب |
|--|--|
| نص | x |
"""


def test_5_12_what_is_written_from_the_right_stands_on_the_right(gateway, owner, page):
    gateway.reply(RIGHT_TO_LEFT)
    live(page)
    page.locator("#text").fill("اكتب شيئا بالعربية")
    assert page.locator("#text").evaluate("e => getComputedStyle(e).direction") == "rtl"
    page.locator("#text").press("Enter")
    page.locator(COMPLETE).wait_for()

    def direction(selector: str) -> str:
        element = page.locator(f"#messages {selector}").first
        return element.evaluate("e => getComputedStyle(e).direction")

    assert direction(".words") == "rtl"
    words = page.locator("#messages .words").first.bounding_box()
    assert words["x"] + words["width"] / 2 > page.viewport_size["width"] / 2
    for selector in ("h3", "p", "li", "ol li", "blockquote", "td"):
        assert direction(f".prose {selector}") == "rtl", selector
    assert direction("pre") == "ltr"
    # A comment stands behind the code that it is about.
    text, comment = (page.locator(f"pre .{token}").first.bounding_box() for token in ("s2", "c1"))
    assert text["x"] + text["width"] < comment["x"]
    columns = [page.locator("th").nth(place).bounding_box()["x"] for place in (1, 0)]
    assert columns == sorted(columns)
    assert direction(".prose p:has-text('An English')") == "ltr"
    assert page.locator("#title").evaluate("e => getComputedStyle(e).direction") == "rtl"
    # A list's marks and a quotation's line stand on the side where its words begin.
    for selector, side in (("li", "Right"), ("blockquote", "Right")):
        element = page.locator(f"#messages .prose {selector}").first
        room = element.evaluate(
            f"e => [getComputedStyle(e).margin{side}, getComputedStyle(e).border{side}Width]"
        )
        assert any(float(each.removesuffix("px")) > 0 for each in room), selector
    assert page.locator("#scroll").evaluate("e => e.scrollWidth <= e.clientWidth")
