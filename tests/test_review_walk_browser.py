"""The whole of a reviewer's way in a real browser: from what was spent to an export, and who knows."""

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.gateway import usage_of

QUESTION, ANSWER = "How do rivers begin?", "Rivers begin in the **sea**."


@pytest.fixture
def site(fresh_server, gateway):
    """The owner's session, with ann, who has cost most, bob, and a reviewer."""
    owner = fresh_server.visitor().set_up()
    people = {name: fresh_server.add_user(name) for name in ("ann", "bob", "rita")}
    join = "User.objects.get(username='rita').groups.set([Group.objects.get(name='reviewer')])"
    names = "from django.contrib.auth.models import Group; from chat.models import User"
    fresh_server.manage("shell", "-v0", "-c", f"{names}; {join}")
    asked = [("bob", "What is rain?", 0.5), ("ann", "What is snow?", 1), ("ann", QUESTION, 2.25)]
    for name, question, cost in asked:
        gateway.reply(ANSWER, usage=usage_of(3, 5) | {"cost": cost})
        conversation = people[name].send(question)
        reply = people[name].wait_for_reply(conversation, "complete")
    said = {"rating": "-1", "comment": "The other way round"}
    assert people["ann"].post(f"/m/{reply['id']}/feedback/", said).status_code == 303
    return owner, people["rita"], conversation, reply["id"]


def test_a_reviewer_goes_from_what_was_spent_to_a_verdict_and_an_export(open_page, site):
    owner, reviewer, conversation, message = site
    page = open_page(reviewer, viewport={"width": 1440, "height": 900})

    # Who has cost most: the first line, with the total of both conversations.
    page.goto("/admin/")
    page.locator("#rooms").get_by_role("link", name="Spending").click()
    people = page.get_by_role("region", name="By user").locator("tbody tr")
    expect(people.first).to_contain_text("ann")
    expect(people.first).to_contain_text("3.25")
    expect(people.nth(1)).to_contain_text("bob")

    # Theirs alone, and the one with a thumb down among them.
    people.first.get_by_role("link", name="conversations").click()
    listed = page.locator("#result_list tbody tr")
    expect(listed).to_have_count(2)
    bad = listed.filter(has_text="thumbs down")
    expect(bad).to_have_count(1)
    expect(bad).to_contain_text("2.25")
    bad.get_by_role("link", name=QUESTION).click()

    # The message, as its reader saw it, with what it cost and the gateway's own words.
    page.get_by_role("link", name="Jump to the problem").click()
    page.wait_for_url(re.compile(f"#m-{message}"))
    expect(page.locator(f"#m-{message} strong")).to_have_text("sea")
    call = page.locator("details.call").last
    call.locator("summary").click()
    expect(call.locator("pre")).to_contain_text('"cost": 2.25')

    # The verdict.
    page.locator(".about").get_by_role("link", name="thumbs down").click()
    expect(page.locator("blockquote.said")).to_have_text("The other way round")
    page.get_by_label("Verdict").select_option("wrong")
    page.get_by_label("Note").fill("Backwards")
    page.get_by_label("Done").check()
    page.get_by_role("button", name="Save the verdict").click()
    expect(page.get_by_text("The verdict is kept.")).to_be_visible()

    # The export of what the list is narrowed to.
    page.goto("/admin/chat/conversation/?owner=ann&rating=down")
    (row,) = csv.DictReader(download(page, "CSV").read_text("utf-8-sig").splitlines())
    assert (row["id"], row["title"], row["owner"]) == (conversation, QUESTION, "ann")
    assert row["cost"].split()[0] == "2.25"
    (line,) = download(page, "JSONL").read_text().splitlines()
    assert [each["text"] for each in json.loads(line)["thread"]] == [QUESTION, ANSWER]

    # Whoever keeps watch finds each step, and nothing of what was not opened.
    log = open_page(owner, viewport={"width": 1440, "height": 900})
    log.goto("/admin/chat/readlog/?reader=rita")
    read = [
        tuple(row.locator(f".field-{name}").inner_text() for name in ("whose", "what"))
        for row in log.locator("#result_list tbody tr").all()
    ]
    assert read == [
        ("ann", "an export"),
        ("ann", "an export"),
        ("ann", "the title, in a list"),
        ("ann", "a reply with its feedback"),
        ("ann", "the whole conversation"),
        ("ann", "the title, in a list"),
        ("ann", "the title, in a list"),
    ]


def download(page, form) -> Path:
    with page.expect_download() as found:
        page.get_by_role("link", name=form, exact=True).click()
    return found.value.path()
