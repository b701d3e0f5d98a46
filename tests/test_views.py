"""What is asked of a server: how every address of tests/access.py may be asked, and what it answers.

Who may what is proved by tests/test_access.py.
"""

import re
from typing import Any
from uuid import uuid4

import pytest

from tests.access import ADDRESSES, OWNED
from tests.server import Client

OPENED = [name for name, at in ADDRESSES.items() if at.get != 405]
COMMANDS = [name for name, at in ADDRESSES.items() if at.post != 405]
VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
MALFORMED = ["1", "nothing", "%00", "x" * 300, "{}-", "-", "%F0%9F%92%A5"]


class Place:
    """The ids of a conversation of the owner's with one reply, and of one that was deleted."""

    def __init__(self, owner: Client) -> None:
        self.conversation, self.message = self._ask(owner)
        gone, message_gone = self._ask(owner)
        deleted, _message = self._ask(owner)
        for each in (gone, deleted):
            assert owner.post(f"/c/{each}/delete/").status_code == 303
        self.ids = ids_of(self.conversation, deleted, self.message)
        # What is not deleted can't be had back.
        self.gone = ids_of(gone, self.conversation, message_gone)

    def _ask(self, owner: Client) -> tuple[str, str]:
        conversation = owner.send("Say hello")
        return conversation, owner.wait_for_reply(conversation, "complete")["id"]

    def address(self, name: str, **ids: str) -> str:
        return ADDRESSES[name].path.format(**self.ids | ids)


def ids_of(conversation: str, deleted: str, message: str) -> dict[str, str]:
    """For each part of an address; one message is there for all kinds of them, and no other row is."""
    messages = ("message", "question", "cut", "failed", "running")
    nothing = {"picture": "1", "passkey": "1", "identity": "1", "slug": "office"}
    conversations = {"conversation": conversation, "deleted": deleted}
    return conversations | dict.fromkeys(messages, message) | nothing


@pytest.fixture(scope="module")
def place(shared_owner) -> Place:
    return Place(shared_owner)


@pytest.fixture(scope="module")
def stranger(shared_server) -> Client:
    return shared_server.add_user("stranger")


def ask(client: Client, verb: str, path: str, **headers: str):
    client.get("/login/")  # for the token
    headers["X-CSRFToken"] = client.http.cookies["csrftoken"]
    return client.http.request(verb, path, headers=headers)


# --- how an address may be asked ----------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, at in ADDRESSES.items() if at.who == OWNED])
def test_what_is_unknown_malformed_or_deleted_is_not_there(owner, place, name):
    """The same answer for every verb."""
    kind = re.search(r"{(\w+)}", ADDRESSES[name].path)[1]
    unknown, mine = str(uuid4()), place.ids[kind]
    ids = [place.gone[kind], mine.upper(), mine.replace("-", ""), f"{{{mine}}}"]
    for verb in VERBS:
        nothing = ask(owner, verb, place.address(name, **{kind: unknown}))
        assert nothing.status_code == 404
        for each in ids:
            answer = ask(owner, verb, place.address(name, **{kind: each}))
            assert (answer.status_code, answer.text) == (404, nothing.text), (verb, each)
    for each in MALFORMED:
        answer = ask(owner, "POST", place.address(name, **{kind: each}))
        assert answer.status_code == 404, each


@pytest.mark.parametrize("name", OPENED)
def test_head_is_get_without_a_body(owner, place, name):
    head = ask(owner, "HEAD", place.address(name))
    assert head.status_code == ask(owner, "GET", place.address(name)).status_code
    assert head.content == b""


def test_a_stranger_has_a_sidebar_of_his_own(stranger, owner, place):
    assert place.conversation in owner.get("/").text
    assert place.conversation not in stranger.get("/").text


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_needs_the_token_and_our_own_origin(server, owner, place, name):
    with_cookie = server.visitor().log_in()
    path = place.address(name)
    assert with_cookie.http.post(path, data={"text": "forged"}).status_code == 403
    token = with_cookie.http.cookies["csrftoken"]
    forged = with_cookie.http.post(
        path,
        data={"text": "forged", "csrfmiddlewaretoken": token},
        headers={"Origin": "http://evil.example"},
    )
    assert forged.status_code == 403
    assert "forged" not in str(owner.export(place.conversation))


# --- what an answer carries ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OPENED)
def test_every_answer_is_private_and_guarded(owner, place, name):
    answer = owner.get(place.address(name))
    headers = answer.headers
    assert "no-store" in headers["Cache-Control"]
    policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Server" not in headers
    assert not re.search(r"<(script|style)(?![^>]*src)[^>]*>[^<]|\son\w+=", answer.text)


def test_a_page_loads_nothing_from_another_host(owner, place):
    page = owner.get(f"/c/{place.conversation}/").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded
    assert [each for each in loaded if each.startswith(("http", "//"))] == []


def test_static_files_are_named_by_their_content_and_kept(owner):
    page = owner.get("/").text
    found = re.findall(r'(?:src|href)="(/static/[^"]+\.(?:js|css|svg))"', page)
    assert found
    for path in found:
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", path)
        answer = owner.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert "ETag" not in answer.headers
        assert "Last-Modified" not in answer.headers


def test_no_key_is_in_a_page_or_a_log(server, owner, place):
    secret = (server.data_dir / "secret_key").read_text()
    demo = server.manage("shell", "-v0", "-c", "from django.conf import settings as s;"
                         "print(s.DEMO_KEY)").strip()  # fmt: skip
    pages = [owner.get(path).text for path in ("/", f"/c/{place.conversation}/", "/password/")]
    for text in [*pages, str(owner.export(place.conversation)), server.log]:
        for key in ("sk-test", secret, demo):
            assert key not in text


def test_the_page_has_what_people_and_tests_look_for(owner, place):
    page = owner.get(f"/c/{place.conversation}/").text
    composer = re.search(r'<form id="composer".*?</form>', page, re.DOTALL)[0]
    for field in ("text", "model", "client_key", "parent", "csrfmiddlewaretoken"):
        assert len(re.findall(rf'name="{field}"', composer)) == 1, field
    assert re.search(r'name="client_key" value=".{1,64}"', composer)
    assert re.search(rf'name="parent" value="{place.message}"', composer)
    assert re.search(r'<button[^>]*name="send"', composer)
    assert f'data-message="{place.message}"' in page
    (role, status) = re.search(
        rf'data-message="{place.message}"\s+data-role="(\w+)"\s+data-status="(\w+)"', page
    ).groups()
    assert (role, status) == ("assistant", "complete")
    assert re.search(r'data-part="usage"[^>]*data-prompt-tokens="9"', page)
    buttons = set(re.findall(r'<button name="([\w-]+)"', page))
    assert {"regenerate", "edit", "copy", "delete"} <= buttons
    assert not {"stop", "continue", "retry", "branch-prev", "branch-next"} & buttons


def test_a_link_picks_the_model(owner):
    page = owner.get("/?model=a/b%3Ac%22").text
    assert re.search(r'name="model" value="a/b:c&quot;"', page)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("ru", "ru"), ("ru-RU,en;q=0.5", "ru"), ("en", "en"), ("fr", "en"), ("", "en")],
)
def test_the_language_is_the_readers(server, accepted, language):
    page = server.visitor(**{"Accept-Language": accepted}).get("/login/").text
    assert f'<html lang="{language}"' in page
    assert ("Войти" in page) is (language == "ru")


def test_probes_answer_without_a_login(server):
    visitor = server.visitor()
    assert visitor.get("/healthz").status_code == 200
    ready = visitor.get("/readyz")
    assert ready.status_code == 200
    here, elsewhere = ("ok", "off") if "REDIS_URL" in server.env else ("off", "ok")
    assert ready.json() == {
        "database": "ok",
        "redis": here,
        "runner": elsewhere,
        "draining": "off",
    }


FOREIGN_HOSTS = ["10.0.0.7:8000", "[::1]", "evil.example", "a b<script>"]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_machines_may_ask_by_any_name(server, host):
    for path in ("/healthz", "/readyz"):
        answer = server.visitor(Host=host).get(path)
        assert answer.status_code == 200
        assert host not in str(answer.headers) + answer.text
    assert server.visitor(Host=host).get("/metrics").status_code == 404


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/", "/login/", "/admin/", "/healthz/", "/healthz/../login/"])
def test_people_may_ask_by_our_own_names_only(server, host, path):
    answer = server.visitor(Host=host).get(path)
    assert answer.status_code == 400
    assert host not in str(answer.headers) + answer.text


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer x"}]
)
def test_there_are_no_figures_without_a_token(server, headers):
    assert server.visitor(**headers).get("/metrics").status_code == 404


# --- commands -----------------------------------------------------------------------------------


@pytest.fixture
def mine(owner) -> str:
    """A conversation of this test's own with one complete reply."""
    conversation = owner.send("Say hello")
    owner.wait_for_reply(conversation, "complete")
    return conversation


def address_of(command: str, conversation: str, reply: dict[str, Any]) -> str:
    ids = ids_of(conversation, "", reply["id"]) | {"question": reply["parent"]}
    return ADDRESSES[command].path.format(**ids)


@pytest.mark.parametrize("command", ["send", "rename", "stop", "regenerate", "edit", "branch"])
def test_a_command_answers_303_to_the_conversation(owner, mine, command):
    path = address_of(command, mine, owner.last(mine))
    answer = owner.post(path, {"text": "Again", "title": "Hello"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/c/{mine}/")
    owner.wait_for_reply(mine, "complete")


@pytest.mark.parametrize("command", ["send", "rename", "stop", "regenerate", "edit", "branch"])
def test_a_command_answers_htmx_with_a_partial(owner, mine, command):
    path = address_of(command, mine, owner.last(mine))
    answer = owner.post(path, {"text": "Again", "title": "Hello"}, htmx=True)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert ("data-message=" in answer.text) is (command != "rename")
    owner.wait_for_reply(mine, "complete")


def test_a_first_send_gives_the_page_its_address(owner):
    answer = owner.post("/messages/", {"text": "A first send"}, htmx=True)
    address = answer.headers["HX-Push-Url"]
    assert re.fullmatch(r"/c/[0-9a-f-]{36}/", address)
    owner.wait_for_reply(address[3:-1], "complete")


def test_a_deleted_conversation_is_gone_from_the_sidebar(owner, mine):
    assert mine in owner.get("/").text
    assert "<form" in owner.get(f"/c/{mine}/delete/").text
    assert owner.get(f"/c/{mine}/").status_code == 200
    answer = owner.post(f"/c/{mine}/delete/")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/?undo={mine}")
    assert mine not in owner.get("/").text


def test_a_title_can_be_changed(owner, mine):
    assert owner.export(mine)["title"] == "Say hello"
    owner.post(f"/c/{mine}/rename/", {"title": "  Greetings,\n <b>dear</b> \x00 "})
    assert owner.export(mine)["title"] == "Greetings, <b>dear</b>"
    assert "Greetings, &lt;b&gt;dear&lt;/b&gt;" in owner.get("/").text


@pytest.mark.parametrize("title", ["", "  \n", "\x00"])
def test_a_title_has_a_word(owner, mine, title):
    for htmx in (True, False):
        answer = owner.post(f"/c/{mine}/rename/", {"title": title}, htmx=htmx)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    assert owner.export(mine)["title"] == "Say hello"


@pytest.mark.parametrize("command", ["retry", "continue"])
def test_a_command_that_does_not_fit_is_409(owner, mine, command):
    path = f"/m/{owner.last(mine)['id']}/{command}/"
    for htmx in (True, False):
        answer = owner.post(path, htmx=htmx)
        assert answer.status_code == 409
        assert 'role="alert"' in answer.text


def test_a_replys_words_are_changed_and_its_usage_stays(owner, mine):
    before = owner.last(mine)
    path = f"/m/{before['id']}/edit/"
    assert before["text"] in owner.get(path).text
    assert owner.post(path, {"text": " "}).status_code == 422
    assert owner.last(mine) == before
    assert owner.post(path, {"text": "Other words"}).status_code == 303
    assert owner.last(mine) == before | {"text": "Other words"}


def test_the_words_of_a_reply_that_runs_are_not_changed(owner, gateway):
    gate = gateway.gate()
    gateway.reply("Half", gate)
    conversation = owner.send("Say hello")
    gate.wait_reached()
    path = f"/m/{owner.last(conversation)['id']}/edit/"
    assert owner.post(path, {"text": "Other words"}).status_code == 409
    gate.open()
    assert owner.wait_for_reply(conversation, "complete")["text"] == "Half"


def test_an_edit_that_is_refused_keeps_its_text(owner, mine):
    question = owner.last(mine)["parent"]
    typed = {"text": "Typed <with> care", "gateway": "unheard-of"}
    answer = owner.post(f"/m/{question}/edit/", typed)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "Typed &lt;with&gt; care</textarea>" in answer.text
    assert owner.post(f"/m/{question}/edit/", typed, htmx=True).status_code == 422


def test_a_refused_command_shows_the_same_page(owner, mine):
    reply = owner.last(mine)["id"]
    for name, fields in (
        ("regenerate", {"model": "x" * 201}),
        ("regenerate", {"gateway": "unheard-of"}),
        ("regenerate", {"client_key": "k" * 65}),
        ("retry", {"client_key": "k" * 65}),
        ("continue", {"client_key": "k" * 65}),
    ):
        answer = owner.post(f"/m/{reply}/{name}/", fields)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
        assert f'data-message="{reply}"' in answer.text


def test_the_form_over_a_message_holds_its_text(owner):
    conversation = owner.send("One <b>two</b>\n\n  three")
    owner.wait_for_reply(conversation, "complete")
    question = owner.last(conversation)["parent"]
    for answer in (
        owner.get(f"/m/{question}/edit/"),
        owner.get(f"/m/{question}/edit/", **{"HX-Request": "true"}),
    ):
        assert "One &lt;b&gt;two&lt;/b&gt;\n\n  three" in answer.text
        assert 'name="text"' in answer.text
        assert re.search(r'name="client_key" value="[0-9a-f-]{36}"', answer.text)


def test_the_markdown_of_a_message_is_given_as_it_came(owner, gateway):
    gateway.reply("# Title\n\n<script>alert(1)</script>")
    conversation = owner.send("Say hello")
    reply = owner.wait_for_reply(conversation, "complete")
    answer = owner.get(f"/m/{reply['id']}/text/")
    assert answer.text == "# Title\n\n<script>alert(1)</script>"
    assert answer.headers["Content-Type"].startswith("text/plain")
