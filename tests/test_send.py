"""Sending: what is recorded, what is refused, and that once is once."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.server import Client
from tests.waiting import until

MOST_CHARS = 200_000


@pytest.fixture
def mine(owner) -> str:
    """A conversation with one complete reply."""
    conversation = owner.send("one")
    owner.wait_for_reply(conversation, "complete")
    return conversation


def texts(client: Client, conversation: str) -> list[str]:
    """The questions of the current branch."""
    messages = client.export(conversation)["messages"]
    return [m["text"] for m in messages if m["current"] and m["role"] == "user"]


def conversations(client: Client) -> set[str]:
    return set(re.findall(r'href="/c/([0-9a-f-]{36})/"', client.get("/").text))


# --- what is recorded ---------------------------------------------------------------------------


def test_a_question_is_recorded_as_it_was_typed(owner, gateway):
    typed = "  line one\r\nline two\t<b>\x00\x07 \N{SNOWMAN}\n\n"
    conversation = owner.send(typed)
    assert texts(owner, conversation) == ["  line one\nline two\t<b> \N{SNOWMAN}\n\n"]
    owner.wait_for_reply(conversation, "complete")
    assert gateway.wait_for_request().prompt == texts(owner, conversation)[0]


def test_an_export_has_all_that_is_promised(owner, mine):
    exported = owner.export(mine)
    assert set(exported) == {"title", "messages"}
    question, reply = exported["messages"]
    fields = "id parent current role text reasoning status model gateway finish_reason error usage"
    assert set(question) == set(reply) == {*fields.split(), "attachments"}
    assert question["parent"] is None
    assert reply["parent"] == question["id"]
    assert (question["role"], question["usage"], question["error"]) == ("user", None, None)
    assert (reply["role"], reply["status"], reply["finish_reason"]) == (
        "assistant",
        "complete",
        "stop",
    )
    assert (reply["gateway"], reply["model"]) == ("openai", "test-model")
    assert reply["usage"] == {
        "prompt_tokens": 9,
        "completion_tokens": 6,
        "total_tokens": 15,
        "cached_tokens": None,
        "reasoning_tokens": None,
        "confidence": "exact",
        "cost": None,
        "currency": None,
        "cost_confidence": "unknown",
    }
    assert reply["attachments"] == []


def test_an_export_has_the_current_branch_first_and_parents_before_children(owner, mine):
    first = owner.last(mine)
    owner.send("two", mine)
    owner.wait_for_reply(mine, "complete")
    owner.post(f"/m/{first['id']}/regenerate/")
    owner.wait_for_reply(mine, "complete")
    messages = owner.export(mine)["messages"]
    current = [m["current"] for m in messages]
    assert current == sorted(current, reverse=True) == [True, True, False, False, False]
    seen = {None}
    for message in messages:
        assert message["parent"] in seen
        seen.add(message["id"])
    assert messages[1]["parent"] == messages[0]["id"]


def test_a_message_may_be_as_long_as_allowed(owner, gateway):
    longest = "я" * MOST_CHARS
    conversation = owner.send(longest)
    assert texts(owner, conversation) == [longest]
    owner.wait_for_reply(conversation, "complete")
    assert gateway.wait_for_request().prompt == longest


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""},
        {"text": " \n\t "},
        {"text": "\x00"},
        {"text": "a" * (MOST_CHARS + 1)},
        {"text": "Kept <b>text</b>", "model": "x" * 201},
        {"text": "Kept <b>text</b>", "model": "two\nlines"},
        {"text": "Kept <b>text</b>", "gateway": "unheard-of"},
        {"text": "Kept <b>text</b>", "client_key": "k" * 65},
    ],
    ids=lambda fields: " ".join(f"{name}={value[:12]!r}" for name, value in fields.items()),
)
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_a_refusal_keeps_the_text_and_stores_nothing(owner, mine, fields, is_new):
    path = "/messages/" if is_new else f"/c/{mine}/messages/"
    before = owner.export(mine), conversations(owner)
    answer = owner.post(path, fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    kept = fields["text"].replace("\x00", "").replace("<", "&lt;").replace(">", "&gt;")
    assert f"{kept}</textarea>" in answer.text
    assert ('data-message="' in answer.text) is not is_new
    htmx = owner.post(path, fields, htmx=True)
    assert htmx.status_code == 422
    assert 'role="alert"' in htmx.text
    assert "<html" not in htmx.text
    assert htmx.headers["HX-Retarget"] == "#composer-alert"
    assert (owner.export(mine), conversations(owner)) == before


def test_a_send_without_fields_is_refused(owner):
    assert owner.post("/messages/", {}).status_code == 422


@pytest.mark.parametrize("length", ["declared", "chunked"])
def test_a_body_that_is_far_too_large_is_refused_unread(server, owner, length):
    """Not spooled first: the answer is there long before the body could be."""
    size = 3 * 1024 * 1024
    head = [
        "POST /messages/ HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {10**12}" if length == "declared" else "Transfer-Encoding: chunked",
    ]
    chunk = b"a" * 65_536
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        raw.sendall("\r\n".join([*head, "", ""]).encode())
        if length == "chunked":
            for _ in range(size // len(chunk)):
                raw.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_parent_that_is_nobodys_is_404(owner, mine):
    other = owner.send("elsewhere")
    elsewhere = owner.wait_for_reply(other, "complete")["id"]
    for parent in (str(uuid4()), "nonsense", elsewhere):
        answer = owner.post(f"/c/{mine}/messages/", {"text": "two", "parent": parent})
        assert answer.status_code == 404
    assert texts(owner, mine) == ["one"]


# --- where it goes ------------------------------------------------------------------------------


def test_a_send_goes_to_the_end_of_the_branch_that_the_page_shows(owner, mine):
    shown = owner.last(mine)
    owner.post(f"/m/{shown['id']}/regenerate/")
    again = owner.wait_for_reply(mine, "complete")
    assert again["id"] != shown["id"]
    owner.send("two", mine, parent=shown["id"])
    owner.wait_for_reply(mine, "complete")
    branch = [m for m in owner.export(mine)["messages"] if m["current"]]
    assert [m["text"] for m in branch if m["role"] == "user"] == ["one", "two"]
    assert branch[1]["id"] == shown["id"]
    assert branch[2]["parent"] == shown["id"]


def test_a_send_from_a_page_that_is_behind_never_forks(owner, mine):
    behind = owner.last(mine)["id"]
    owner.send("two", mine)
    owner.wait_for_reply(mine, "complete")
    owner.send("three", mine, parent=behind)
    owner.wait_for_reply(mine, "complete")
    assert texts(owner, mine) == ["one", "two", "three"]


def test_the_gateway_is_chosen_by_name_or_by_model(owner, gateway):
    # A worker may be there before the web process that serves the demo, and asks again a little later.
    until(lambda: "demo-fast" in owner.get("/").text, "the demo's models are listed")
    conversation = owner.send("Hi", model="demo-fast")
    reply = owner.wait_for_reply(conversation, "complete")
    assert (reply["gateway"], reply["model"]) == ("demo", "demo-fast")
    assert gateway.calls == []
    conversation = owner.send("Hi", model="typed/by:hand@1", gateway="openai")
    reply = owner.wait_for_reply(conversation, "complete")
    assert (reply["gateway"], reply["model"]) == ("openai", "typed/by:hand@1")
    assert gateway.wait_for_request().json["model"] == "typed/by:hand@1"
    conversation = owner.send("Hi", model="demo-fast", gateway="openai")
    assert owner.wait_for_reply(conversation, "complete")["gateway"] == "openai"


# --- once ---------------------------------------------------------------------------------------


def at_once(number: int, function) -> list:
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(lambda _: function(), range(number)))


def test_a_double_click_starts_one_conversation(owner, gateway):
    key = str(uuid4())
    started = at_once(4, lambda: owner.send("once", client_key=key))
    assert len(set(started)) == 1
    owner.wait_for_reply(started[0], "complete")
    assert owner.send("once", client_key=key) == started[0]
    assert len(owner.export(started[0])["messages"]) == 2
    assert len(gateway.calls) == 1


def test_a_double_click_sends_one_message(owner, mine, gateway):
    key = str(uuid4())
    parent = owner.last(mine)["id"]
    at_once(4, lambda: owner.send("two", mine, client_key=key, parent=parent))
    owner.wait_for_reply(mine, "complete")
    again = owner.post(f"/c/{mine}/messages/", {"text": "two", "client_key": key}, htmx=True)
    assert again.status_code == 200
    assert again.text.count("<article") == 2
    assert texts(owner, mine) == ["one", "two"]
    assert len(gateway.calls) == 2


def test_other_words_under_one_key_are_a_new_send(owner, mine):
    key = str(uuid4())
    for text in ("two", "three"):
        owner.send(text, mine, client_key=key)
        owner.wait_for_reply(mine, "complete")
    assert texts(owner, mine) == ["one", "two", "three"]


@pytest.mark.parametrize("command", ["regenerate", "edit", "continue"])
def test_a_double_click_commands_once(owner, gateway, command):
    gateway.reply("So", finish="length")
    conversation = owner.send("one")
    reply = owner.wait_for_reply(conversation, "complete")
    target = reply["parent"] if command == "edit" else reply["id"]
    fields = {"client_key": str(uuid4()), "text": "uno"}
    answers = at_once(3, lambda: owner.post(f"/m/{target}/{command}/", fields))
    assert {answer.status_code for answer in answers} == {303}
    owner.wait_for_reply(conversation, "complete")
    assert len(gateway.calls) == 2
    assert len(owner.export(conversation)["messages"]) == {"regenerate": 3, "edit": 4}.get(
        command, 2
    )


def test_two_tabs_that_send_at_once_lose_nothing(owner, mine, gateway):
    parent = owner.last(mine)["id"]
    sent = [f"from tab {number}" for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda text: owner.send(text, mine, parent=parent), sent))
    owner.wait_for_reply(mine, "complete")
    assert sorted(texts(owner, mine)) == sorted(["one", *sent])
    assert len(gateway.calls) == 4


# --- one after another --------------------------------------------------------------------------


def test_a_send_while_a_reply_runs_is_answered_after_it(owner, gateway):
    gate = gateway.gate()
    gateway.reply("first ", gate, "answer")
    gateway.reply("second answer")
    conversation = owner.send("one")
    gate.wait_reached()
    owner.send("two", conversation)
    assert owner.last(conversation)["status"] == "queued"
    assert len(gateway.calls) == 1
    gate.open()
    assert owner.wait_for_reply(conversation, "complete")["text"] == "second answer"
    asked = gateway.wait_for_request(2).json["messages"]
    assert [m["content"] for m in asked] == ["one", "first answer", "two"]


def test_a_reply_behind_one_that_failed_waits_for_a_word(owner, gateway):
    gate = gateway.gate()
    gateway.reply("first ", gate)
    conversation = owner.send("one")
    gate.wait_reached()
    first = owner.last(conversation)["id"]
    owner.send("two", conversation)
    held = owner.last(conversation)["id"]
    assert owner.post(f"/m/{first}/stop/").status_code == 303
    gateway.wait_for_request().wait_closed()
    send_now = f'formaction="/m/{held}/retry/"'
    until(lambda: send_now in owner.get(f"/c/{conversation}/").text, "the reply waits for a word")
    assert owner.last(conversation)["status"] == "queued"
    assert owner.post(f"/m/{held}/retry/").status_code == 303
    owner.wait_for_reply(conversation, "complete")
    assert len(gateway.calls) == 2
