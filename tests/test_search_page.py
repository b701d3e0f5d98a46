"""/search/: a person's own conversations, by words, safely marked and a page at a time."""

import re
from urllib.parse import urlencode
from uuid import uuid4

import pytest


@pytest.fixture
def word() -> str:
    """One that no other test has used."""
    return f"игла{uuid4().hex}"


def passages(page):
    return re.findall(r'class="passage"[^>]*href="([^"]*)"', page.text)


def search(client, query, **more):
    answer = client.get("/search/?" + urlencode({"q": query, **more}))
    assert answer.status_code == 200
    return answer


def test_a_question_and_its_answer_are_found_and_lead_to_their_place(owner, gateway, word):
    gateway.reply(f"Here is the {word.upper()} itself")
    conversation = owner.send(f"Where is <b>{word}</b>?")
    reply = owner.wait_for_reply(conversation, "complete")
    page = search(owner, word)
    assert passages(page)[0] == f"/c/{conversation}/?at={reply['id']}#m-{reply['id']}"
    assert len(passages(page)) == 2
    assert f"Here is the <mark>{word.upper()}</mark> itself" in page.text
    # What was written is text, whatever it looks like.
    assert f"Where is &lt;b&gt;<mark>{word}</mark>&lt;/b&gt;?" in page.text


def test_nobody_finds_anothers_words(owner, server, word):
    conversation = owner.send(f"About {word}")
    owner.wait_for_reply(conversation, "complete")
    other = server.add_user(f"searcher-{word[-6:]}")
    assert passages(search(other, word)) == []
    assert word not in search(other, "About").text
    assert len(passages(search(owner, word))) >= 1


def test_a_version_that_is_not_shown_leads_to_its_conversation(owner, gateway, word):
    gateway.reply(f"The first {word}")
    conversation = owner.send("Say it")
    first = owner.wait_for_reply(conversation, "complete")
    gateway.reply("Another answer")
    owner.post(f"/m/{first['id']}/regenerate/")
    owner.wait_for_reply(conversation, "complete")
    page = search(owner, word)
    assert passages(page) == [f"/c/{conversation}/"]
    assert "in another version" in page.text


def test_many_places_come_a_page_at_a_time(owner, gateway, word):
    conversation = owner.send(f"{word} 0")
    owner.wait_for_reply(conversation, "complete")
    for number in range(1, 31):
        owner.send(f"{word} {number}", conversation=conversation)
        owner.wait_for_reply(conversation, "complete")
    first = search(owner, word)
    found = passages(first)
    assert len(found) == 30
    before = re.search(r"before=(\d+)", first.text)
    assert before
    rest = passages(search(owner, word, before=before[1]))
    assert rest
    assert set(rest).isdisjoint(found)


@pytest.mark.parametrize("before", ["x", "-1", "9" * 40, "٣", "%00"])
def test_a_place_that_is_none_changes_nothing_or_finds_nothing(owner, before):
    assert search(owner, "anything", before=before)


def test_a_query_that_finds_nothing_says_so(owner):
    assert "Nothing was found" in search(owner, "nothing-of-the-kind-7f3a").text
    assert "Nothing was found" not in search(owner, "").text
