"""A reviewer's way in a real browser: from the list to the problem, to a verdict, to an export."""

import re

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize("width", [1440, 768, 360])
def test_a_reviewer_walks_from_the_list_to_a_verdict_and_an_export(
    open_page, server, owner, gateway, width
):
    reader = server.add_user(f"reader-{width}")
    gateway.reply("Rivers begin in the **sea**.")
    conversation = reader.send(f"How do rivers begin {width}?")
    message = reader.wait_for_reply(conversation, "complete")["id"]
    said = {"rating": "-1", "comment": "The other way round"}
    assert reader.post(f"/m/{message}/feedback/", said).status_code == 303
    scale = {"name": f"accuracy {width}", "low": "1", "high": "5", "labels": "no\nyes"}
    assert owner.post("/admin/chat/scale/add/", scale).status_code == 302
    page = open_page(owner, viewport={"width": width, "height": 900})

    page.goto(f"/admin/chat/conversation/?q=rivers+{width}")
    expect(page.locator("#result_list mark").first).to_be_visible()
    page.get_by_role("link", name=f"How do rivers begin {width}?").click()
    page.get_by_role("link", name="Jump to the problem").click()
    page.wait_for_url(re.compile(f"#m-{message}"))
    page.locator(".about").get_by_role("link", name="thumbs down").click()
    expect(page.locator("blockquote.said")).to_have_text("The other way round")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".scores summary").click()
    page.get_by_label(f"accuracy {width}").select_option("no")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".scores button").click()
    expect(page.locator(".scores")).to_contain_text(f"accuracy {width}: no · owner")
    page.get_by_label("Verdict").select_option("wrong")
    page.get_by_label("Note").fill("Backwards")
    page.get_by_label("Done").check()
    page.get_by_role("button", name="Save the verdict").click()
    expect(page.get_by_text("The verdict is kept.")).to_be_visible()
    expect(page.locator("#result_list").get_by_text(f"reader-{width}", exact=True)).to_have_count(0)

    page.goto(f"/admin/chat/conversation/?owner=reader-{width}")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.startswith("potok-conversations-")
    page.goto(f"/admin/chat/readlog/?owner=reader-{width}")
    for what in ("an export", "a passage, by search", "the whole conversation"):
        expect(page.locator("#result_list").get_by_text(what).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
