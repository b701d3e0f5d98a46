"""Code blocks and tables as a reader uses them, and what the clipboard gets."""

from pathlib import Path

import pytest
from playwright.sync_api import Download, Page, Route, expect

REPLY = "[data-role=assistant]:last-child"
LONG_LINE = "word = " + " + ".join(f"'part {n}'" for n in range(60))
CODE = f"""Some *code* from [there](https://example.org/a):

```python
{LONG_LINE}
print("да")
```
"""
TABLE = """
| Имя | Value | Link |
|---|--:|---|
| Ёж; "колючий" | -5,5 % | [x](https://example.org/) |
| =HYPERLINK("http://x.y") | +7 (999) 123 | @SUM(A1) |
| `a\\|b` | 🚀 | - |
"""
DIAGRAM = "```mermaid\ngraph TD; A-->B\n```\n"


def answered(gateway, owner, page: Page, *steps: object) -> Page:
    gateway.reply(*steps)
    conversation = owner.send("Show me")
    owner.wait_for_reply(conversation, "complete")
    page.goto(f"/c/{conversation}/")
    page.locator("body[data-connection=live]").wait_for()
    return page


def copied(page: Page, button: str) -> dict[str, str]:
    """What pressing the button put into the clipboard, by its kind, as a paste gets it."""
    page.locator(button).first.click()
    expect(page.locator("#announcer")).to_have_text("Copied.")
    page.evaluate(
        """() => addEventListener("paste", (event) => {
            const kinds = ["text/plain", "text/html"]
            window.pasted = Object.fromEntries(kinds.map((k) => [k, event.clipboardData.getData(k)]))
        }, { once: true, capture: true })"""
    )
    page.locator("#composer textarea").press("Control+v")
    return page.evaluate("window.pasted")


def saved(page: Page, button: str) -> Download:
    with page.expect_download() as download:
        page.locator(button).first.click()
    return download.value


def content(download: Download) -> bytes:
    return Path(download.path()).read_bytes()


def test_5_2_a_code_block_is_named_highlighted_and_copied(gateway, owner, page):
    answered(gateway, owner, page, CODE)
    expect(page.locator(".code-lang")).to_have_text("python")
    expect(page.locator(".code .nb")).to_have_text("print")
    assert copied(page, "[name=copy-code]")["text/plain"] == f'{LONG_LINE}\nprint("да")\n'


@pytest.mark.parametrize(
    ("fence", "name"),
    [("Python", "Show me.py"), ("c++", "Show me.cpp"), ("klingon", "Show me.txt"), ("", "Show me.txt")],
)  # fmt: skip
def test_5_2_code_is_saved_under_the_ending_of_its_language(gateway, owner, page, fence, name):
    answered(gateway, owner, page, f"```{fence}\nx = «да»\n```\n")
    download = saved(page, "[name=save-code]")
    assert download.suggested_filename == name
    assert content(download) == "x = «да»\n".encode()


def test_5_2_the_tools_come_though_the_way_to_them_was_cut(gateway, page, complaints):
    complaints[0].allow("net::ERR_FAILED")
    asked = []

    def cut(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) < 3:
            route.abort()
        else:
            route.continue_()

    page.route("**/tools*.js*", cut)
    gateway.reply(CODE)
    page.goto("/")
    page.locator("#text").fill("Show me")
    page.locator("#text").press("Enter")
    expect(page.locator(REPLY).locator("[name=save-code]")).to_have_count(1)
    assert len(asked) == 3


def test_5_2_long_lines_wrap_in_all_code_and_stay_so(gateway, owner, page):
    answered(gateway, owner, page, CODE + "\n\n" + CODE)
    pre, buttons = page.locator(".code pre"), page.locator("[name=wrap-code]")
    assert pre.first.evaluate("e => e.scrollWidth > e.clientWidth")
    top = buttons.last.bounding_box()["y"]
    buttons.last.click()
    assert not pre.first.evaluate("e => e.scrollWidth > e.clientWidth")
    for button in buttons.all():
        expect(button).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(buttons.first).to_have_attribute("aria-pressed", "true")
    assert not pre.last.evaluate("e => e.scrollWidth > e.clientWidth")
    buttons.first.click()
    assert pre.first.evaluate("e => e.scrollWidth > e.clientWidth")
    assert top > 0


def test_5_2_what_wraps_stays_under_the_pointer(gateway, owner, page):
    answered(gateway, owner, page, (CODE + "\n\n") * 8)
    button = page.locator("[name=wrap-code]").nth(6)
    button.scroll_into_view_if_needed()
    before = button.bounding_box()["y"]
    button.click()
    assert abs(button.bounding_box()["y"] - before) < 2


def test_5_2_the_name_of_long_code_stays_in_sight(gateway, owner, page):
    answered(gateway, owner, page, "```sh\n" + "echo\n" * 200 + "```\n\nThe end.")
    head, box = page.locator(".code-head"), page.locator("#scroll")
    expect(page.get_by_text("The end.")).to_be_in_viewport()
    page.locator(".code").evaluate("e => document.getElementById('scroll').scrollTop -= 1500")
    assert abs(head.bounding_box()["y"] - box.bounding_box()["y"]) < 2
    expect(page.locator("[name=copy-code]")).to_be_in_viewport()


def test_5_2_a_table_is_copied_as_tsv(gateway, owner, page):
    answered(gateway, owner, page, TABLE)
    page.locator(".table").hover()
    pasted = copied(page, "[name=copy-table]")
    assert pasted["text/plain"].split("\n") == [
        "Имя\tValue\tLink",
        'Ёж; "колючий"\t-5,5 %\tx',
        "'=HYPERLINK(\"http://x.y\")\t+7 (999) 123\t'@SUM(A1)",
        "a|b\t🚀\t-",
    ]


@pytest.mark.parametrize(("locale", "comma"), [("ru", ";"), ("en", ",")])
def test_5_2_a_table_is_saved_as_csv_that_a_spreadsheet_opens_and_does_not_run(
    gateway, owner, page, comma
):
    answered(gateway, owner, page, TABLE)
    page.locator(".table").hover()
    download = saved(page, "[name=save-table]")
    assert download.suggested_filename == "Show me.csv"
    text = content(download).decode("utf-8")
    assert text.startswith("\ufeff")
    assert text[1:].split("\r\n") == [
        comma.join(["Имя", "Value", "Link"]),
        comma.join(['"Ёж; ""колючий"""', '"-5,5 %"', "x"]),
        comma.join(['"\'=HYPERLINK(""http://x.y"")"', "+7 (999) 123", "'@SUM(A1)"]),
        comma.join(["a|b", "🚀", "-"]),
        "",
    ]


def test_5_2_formulas_are_mathml_and_money_is_left_alone(gateway, owner, page):
    text = "Area $\\pi r^2$ and \\(a_1\\) for $5 and $10.\n\n$$\n\\frac{a}{b}\n$$\n\n\\[x < 1\\]\n"
    answered(gateway, owner, page, text)
    body = page.locator(f"{REPLY} [data-part=body]")
    expect(body.locator("math")).to_have_count(4)
    expect(body.locator("math[display=block]")).to_have_count(2)
    expect(body.locator("mfrac")).to_be_visible()
    expect(body).to_contain_text("for $5 and $10.")
    assert body.locator("msup").first.bounding_box()["height"] > 0


def test_5_2_a_diagram_is_a_labelled_code_block(gateway, owner, page):
    answered(gateway, owner, page, DIAGRAM)
    expect(page.locator(".code-lang")).to_have_text("mermaid")
    expect(page.locator(".code code")).to_have_text("graph TD; A-->B")
    assert saved(page, "[name=save-code]").suggested_filename == "Show me.mmd"


def test_5_2_the_tools_are_there_while_code_and_tables_grow(gateway, owner, page):
    gate = gateway.gate()
    gateway.reply("| a | b |\n|-|-|\n| 1 | 2 |\n| 3 ", "| 4 |\n\n", "```py\nx = 1\n", gate, "```\n")
    conversation = owner.send("Show me")
    gate.wait_reached()
    page.goto(f"/c/{conversation}/")
    expect(page.locator(".code code")).to_have_text("x = 1")
    expect(page.locator(".table-tools")).to_have_count(1)
    expect(page.locator("[name=copy-code]")).to_have_count(1)
    gate.open()
    page.locator(f"{REPLY}[data-status=complete]").wait_for()
    expect(page.locator(".code .n")).to_have_text("x")
    lived = page.locator("#messages").evaluate("e => e.outerHTML")
    page.reload()
    expect(page.locator(".table-tools")).to_have_count(1)
    assert page.locator("#messages").evaluate("e => e.outerHTML") == lived


@pytest.mark.parametrize("is_secure", [True, False])
def test_5_16_a_reply_is_copied_as_markdown_and_html_also_on_plain_http(
    gateway, owner, page, is_secure
):
    """On plain http there is no navigator.clipboard; a loopback address counts as secure."""
    if not is_secure:
        page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    answered(gateway, owner, page, CODE + TABLE)
    assert page.evaluate("Boolean(navigator.clipboard)") is is_secure
    pasted = copied(page, f"{REPLY} [name=copy]")
    assert pasted["text/plain"] == CODE + TABLE
    html = pasted["text/html"]
    assert "<em>code</em>" in html
    assert '<a href="https://example.org/a"' in html
    assert "<td" in html
    for ours in ("button", "class=", "tabindex", "python", "example.org</span>"):
        assert ours not in html, ours


def test_5_16_a_question_is_copied_as_it_was_written(gateway, owner, page):
    gateway.reply("Yes.")
    conversation = owner.send("Is *this*\n\n<b>it</b>?")
    owner.wait_for_reply(conversation, "complete")
    page.goto(f"/c/{conversation}/")
    page.locator("[data-role=user]").hover()
    pasted = copied(page, "[data-role=user] [name=copy]")
    assert pasted == {"text/plain": "Is *this*\n\n<b>it</b>?", "text/html": ""}


def test_5_16_what_could_not_be_copied_is_said_and_shown(gateway, owner, page, complaints):
    complaints[0].allow("ERR_INTERNET_DISCONNECTED|WebSocket")
    answered(gateway, owner, page, "Yes.")
    page.locator(REPLY).hover()
    copy = page.locator(f"{REPLY} [name=copy]")
    page.context.set_offline(True)
    copy.click()
    expect(copy).to_have_attribute("data-failed", "")
    expect(page.locator("#announcer")).to_contain_text("Potok does not answer")
    page.context.set_offline(False)
    expect(copy).not_to_have_attribute("data-failed", "")
    copy.click()
    expect(copy).to_have_attribute("data-done", "")
