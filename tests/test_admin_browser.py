"""The admin in a real browser: nothing against the policy, and the reader's own view of a reply."""

import re

import pytest
from playwright.sync_api import expect

WIDTHS = [{"width": width, "height": 900} for width in (1440, 768, 360)]
LISTS = ["conversation", "generation", "call", "budget", "user", "gateway"]


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_no_page_breaks_the_policy_or_scrolls_sideways(open_page, owner, locale):
    conversation = owner.send("How do rivers begin?")
    owner.wait_for_reply(conversation)
    owner.get("/admin/chat/budget/add/")
    owner.post("/admin/chat/budget/add/", {"period": "day", "tokens": "100000", "is_each": "on"})
    for viewport in WIDTHS:
        page = open_page(owner, viewport=viewport)
        for name in LISTS:
            assert page.goto(f"/admin/chat/{name}/").ok
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"], page.url
            link = page.locator("#result_list tbody tr a").first
            if name != "generation":
                link.click()
                page.wait_for_url(re.compile(rf"/admin/chat/{name}/\d+/change/"))
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"], page.url
        for path in ("/admin/", "/admin/auth/group/", "/admin/chat/user/add/"):
            assert page.goto(path).ok
        assert page.goto("/admin/chat/gateway/").ok
        page.locator("#result_list tbody tr a").first.click()
        page.locator("a[href*='price/add']").click()
        page.locator("[name=model]").fill("a-model")
        page.locator("[name=valid_from]").fill("2026-03-02T01:30")
        page.locator("[name=prompt]").fill("12.5")
        page.locator("[name=completion]").fill("50.000000001")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.locator("[name=_save]").click()
        page.wait_for_url("**/admin/chat/price/?*")
        page.get_by_text(re.compile(r"^50[.,]000000001$")).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


@pytest.mark.parametrize("width", [1440, 1024, 360])
@pytest.mark.parametrize("locale", ["en", "ru"])
def test_every_room_is_reached_from_a_bar_that_never_scrolls(open_page, owner, width, locale):
    page = open_page(owner, viewport={"width": width, "height": 900})
    page.goto("/admin/spend/")
    fits = "e => e.scrollWidth <= e.clientWidth && e.clientHeight <= 60"
    assert page.locator("#header").evaluate(fits)
    every = {link.get_attribute("href") for link in page.locator("#rooms a").all()}
    page.locator("#rooms > button").click()
    menu = page.locator("#all-rooms")
    expect(menu).to_be_visible()
    shown = [link.get_attribute("href") for link in page.locator("#rooms a:visible").all()]
    assert len(shown) == len(every)
    assert set(shown) == every
    assert menu.evaluate("e => e.scrollWidth <= e.clientWidth")
    box = menu.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    menu.locator("a[href='/admin/chat/erasure/']").click()
    page.wait_for_url("**/admin/chat/erasure/")
    expect(page.locator("#all-rooms [aria-current]")).to_have_count(1)


def test_a_reply_looks_to_staff_as_it_did_to_its_reader(open_page, owner, gateway):
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    gateway.reply(f"## Springs\n\n- rain\n- snow\n\n{table}\n\n`code`\n\n```python\nx = 1\n```")
    conversation = owner.send("How do rivers begin?")
    owner.wait_for_reply(conversation)
    look = """body => [body, ...body.querySelectorAll('*')].map(e => {
        const s = getComputedStyle(e);
        return [e.tagName, s.fontSize, s.fontWeight, s.lineHeight, s.color, s.listStyleType,
                s.paddingTop, s.marginTop, s.borderBottomWidth].join(' ');
    })"""
    page = open_page(owner)
    page.goto(f"/c/{conversation}/")
    body = page.locator("[data-role=assistant] [data-part=body]").first
    seen = body.inner_html(), body.evaluate(look)
    page.goto("/admin/chat/conversation/")
    page.locator("#result_list tbody tr").first.locator("a").first.click()
    page.wait_for_url("**/change/")
    body = page.locator("[data-role=assistant] [data-part=body]").first
    assert body.inner_html() == seen[0]
    assert body.evaluate(look) == seen[1]


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_on_a_phone_each_value_of_a_list_says_which_column_it_is_of(open_page, owner, locale):
    owner.wait_for_reply(owner.send("How do rivers begin?"))
    page = open_page(owner, viewport={"width": 360, "height": 740})
    page.goto("/admin/chat/conversation/")
    row = page.locator("#result_list tbody tr").first
    label = "e => getComputedStyle(e, '::before').content"
    messages = row.locator(".field-messages")
    assert {"en": "Messages", "ru": "Сообщения"}[locale] in messages.evaluate(label)
    assert row.locator(".field-name").evaluate(label) == "none"
    assert page.locator(".results").evaluate("e => e.scrollWidth <= e.clientWidth")
    page.locator(".to-filters a").click()
    expect(page.locator("#changelist-filter")).to_be_in_viewport()
    page.set_viewport_size({"width": 1440, "height": 900})
    assert messages.evaluate(label) == "none"
    expect(page.locator(".to-filters")).to_be_hidden()


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_on_a_phone_a_dry_run_of_retention_is_read_without_scrolling_sideways(
    open_page, owner, locale
):
    page = open_page(owner, viewport={"width": 360, "height": 740})
    page.goto("/admin/chat/retention/due/")
    frame = page.locator(".sheet").first
    name = {"en": "deleted messages in others", "ru": "удалённые сообщения в остальных"}[locale]
    cell = frame.locator("tbody td").last
    expect(cell).to_have_attribute("data-column", name)
    said = cell.evaluate("e => getComputedStyle(e, '::before').content")
    assert said == f'"{name}"'
    assert frame.evaluate("e => e.scrollWidth <= e.clientWidth")
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(frame.get_by_role("columnheader", name=name)).to_be_visible()


def test_a_list_is_searched_and_scrolled_by_keys(open_page, owner):
    page = open_page(owner, viewport={"width": 1440, "height": 900})
    page.goto("/admin/chat/user/")
    page.get_by_label("Search", exact=True).fill("own")
    page.keyboard.press("Enter")
    page.wait_for_url("**/user/?q=own")
    expect(page.get_by_role("region", name="Users")).to_have_attribute("tabindex", "0")
    expect(page.get_by_role("columnheader", name="More")).to_have_count(1)


@pytest.mark.parametrize("locale", ["en", "ru"])
def test_an_empty_list_says_what_would_be_in_it(open_page, owner, locale):
    page = open_page(owner)
    empty, missed = {
        "en": ("Nobody was erased.", "Nothing matches."),
        "ru": ("Никто не стёрт.", "Ничего не подходит."),
    }[locale]
    page.goto("/admin/chat/erasure/")
    expect(page.locator(".paginator")).to_have_text(empty)
    page.goto("/admin/chat/user/?q=nobody-is-called-this")
    expect(page.locator(".paginator")).to_contain_text(missed)
    page.locator(".paginator a").click()
    expect(page.locator("#result_list")).to_be_visible()


@pytest.mark.parametrize("locale", ["ru"])
def test_yes_and_no_are_words_of_the_readers(open_page, owner):
    page = open_page(owner)
    page.goto("/admin/chat/user/?q=owner")
    expect(page.locator(".field-is_active").first).to_have_text("да")


@pytest.mark.parametrize("locale", ["ru"])
def test_a_role_is_called_by_its_name_on_its_page_as_in_the_list(open_page, owner):
    page = open_page(owner)
    page.goto("/admin/auth/group/")
    page.locator("#result_list tbody a").first.click()
    expect(page.locator("h1")).to_have_text("владелец")
    expect(page.locator(".field-label .readonly")).to_have_text("владелец")
    expect(page.locator("#content")).not_to_contain_text("owner")


def test_what_cannot_be_undone_is_red_and_a_field_in_focus_keeps_its_ring(
    open_page, owner, complaints
):
    owner.server.add_user("passing")
    page = open_page(owner, viewport={"width": 360, "height": 740})
    complaints[0].allow("status of 422")
    page.goto("/admin/chat/user/?q=passing")
    page.locator("#result_list tbody th a").click()
    assert (
        page.locator(".form-row").first.evaluate("e => getComputedStyle(e).overflow") == "visible"
    )
    page.locator("a[href$='/erase/']").click()
    fill = page.get_by_role("button", name="Erase for good").evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )
    hue = float(fill.removesuffix(")").split()[2])
    assert 15 < hue < 45, fill  # of oklch: red
    page.get_by_label("Their name, to be sure").fill("somebody")
    with page.expect_response(lambda answer: answer.status == 422):
        page.keyboard.press("Enter")
    expect(page.get_by_label("Their name, to be sure")).to_be_focused()


def test_the_boxes_to_keep_models_to_a_group_are_seen(open_page, owner):
    page = open_page(owner, viewport={"width": 768, "height": 900})
    page.goto("/admin/auth/group/add/")
    box = page.locator("div.choices input").first.bounding_box()
    assert 10 < box["width"] < 30
    assert 10 < box["height"] < 30
