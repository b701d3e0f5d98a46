"""What is written down: with ids, apart for safety's own events, and never a text or a secret."""

import io
import json
import logging
import re

import pytest
from django.contrib.auth.models import Group
from django.test import Client, RequestFactory

from chat import logs
from chat.logs import Json, Line, about, identified
from chat.models import Conversation, Gateway, User
from chat.scrubbing import scrub
from tests import rows
from tests.script import Drop, chunk
from tests.server import PASSWORD
from tests.waiting import until

WORDS = "what-a-reader-said-4d1c"
KEY = "own-hunter2-of-the-gateway"


@pytest.fixture
def written():
    """Write through a formatter of this module's; what came out, a line each."""

    def write(formatter: logging.Formatter, message: str, *args: object, **options: object) -> str:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        own = logging.Logger("chat.of_a_test")
        own.addHandler(handler)
        own.error(message, *args, **options)
        return stream.getvalue()

    return write


def test_a_line_of_json_says_when_who_and_what_about(written):
    with about(generation=7), about(call=9):
        told = json.loads(written(Json(), "It %s", "failed", extra={"gateway": "own"}))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", told.pop("at"))
    assert told == {
        "level": "ERROR",
        "logger": "chat.of_a_test",
        "message": "It failed",
        "generation": 7,
        "call": 9,
        "gateway": "own",
    }
    assert "generation" not in json.loads(written(Json(), "Another"))


def test_a_line_stays_one_line_that_a_person_reads(written):
    with about(request="1f2e3d4c"):
        line = written(Line(), "It failed", extra={"user": "Ann Lee"})
    assert line.endswith('ERROR chat.of_a_test It failed request=1f2e3d4c user="Ann Lee"\n')


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x85", "\u2028", "\x1b[2J"], ids=ascii)
def test_nobodys_words_begin_a_line_of_their_own(written, end):
    said = f"no such model{end}2026-11-21 06:30:00,123 INFO chat.security login user=owner"
    line = written(Line(), "Refused: %s", said)
    assert end not in line.removesuffix("\n")
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("formatter", [Json(), Line()])
def test_what_an_exception_quotes_of_a_row_is_cut(written, formatter):
    try:
        try:
            raise ValueError(
                f"null value\nDETAIL:  Failing row contains (1, {WORDS}\n\nand more {WORDS})."
            )
        except ValueError as exc:
            raise RuntimeError("It could not be saved") from exc
    except RuntimeError:
        line = written(formatter, "A checkpoint failed", exc_info=True)
    assert WORDS not in line
    assert "null value" in line
    assert "It could not be saved" in line
    assert "test_logs.py" in line


@pytest.mark.parametrize("formatter", [Json(), Line()])
def test_no_secret_of_the_settings_is_written_wherever_it_stands(written, formatter, settings):
    secrets = {
        "SECRET_KEY": "hunter2-of-sessions",
        "METRICS_TOKEN": "hunter2-of-metrics",
        "SECRETS_KEYS": ["hunter2-of-keys"],
        "REDIS_URL": "redis://:hunter2%2Bredis@127.0.0.1/0",
        "FIRST_OWNER": {"password": "hunter2-of-the-owner"},
        "GATEWAYS": [{"slug": "own", "key": "hunter2-of-the-gateway"}],
        "OIDC": {"issuer": "https://id.example", "secret": "hunter2-of-single-sign-on"},
    }
    for name, value in secrets.items():
        setattr(settings, name, value)
    settings.DATABASES["default"]["PASSWORD"], before = "hunter2-of-the-database", None
    try:
        raise ValueError(f"refused: {secrets} hunter2-of-the-database hunter2+redis")
    except ValueError:
        line = written(
            formatter, "With %s", secrets, exc_info=True, extra={"at_home": str(secrets)}
        )
    finally:
        settings.DATABASES["default"]["PASSWORD"] = before or ""
    assert "hunter2" not in line
    assert line.count("***") > 10


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdef123456",
        "Authorization: Bearer abcdefghijkl.mnop",
        "postgresql://potok:abcdef123456@db/potok",
        "sealed gAAAAABnabcdef123456abcdef123456abcdef==",
    ],
)
def test_what_looks_like_a_secret_is_one(text):
    assert "abcdef" not in scrub(text)
    assert "***" in scrub(text)


def test_ordinary_words_stay():
    text = "Generation 7 at http://127.0.0.1:8000/c/1f/ ended: ask-me, risk-averse, disk-full"
    assert scrub(text) == text


# --- requests -------------------------------------------------------------------------------------


def test_a_request_has_an_id_that_its_answer_tells():
    seen = []

    def view(request):
        seen.append(logs._facts.get()["request"])
        assert logs.current_request() is request
        return logs.HttpResponse()

    for given, is_taken in (
        ("proxys-own-id-1", True),
        ("", False),
        ("no\nid", False),
        ("x" * 65, False),
    ):
        answer = identified(view)(RequestFactory().get("/", headers={"X-Request-ID": given}))
        assert answer["X-Request-ID"] == seen[-1]
        assert (seen[-1] == given) == is_taken
    assert len(set(seen)) == 4
    assert logs.current_request() is None


def test_an_id_of_a_strangers_own_making_is_not_taken(server):
    answer = server.visitor().get("/healthz", **{"X-Request-ID": "proxys-own-id-1"})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"])


def test_a_refusal_is_one_line_in_the_log(server):
    told = len(server.log)
    stranger = server.visitor()
    stranger.get("/login/")
    fields = {f"field{number}": "x" for number in range(1_100)}
    assert stranger.post("/login/", fields).status_code == 400
    until(lambda: "TooManyFields" in server.log[told:], "the refusal is told")
    assert "Traceback" not in server.log[told:]


# --- a server that much goes wrong in -------------------------------------------------------------


def test_a_log_of_json_holds_no_text_and_no_secret_and_names_its_generation(
    start_server, gateway, tmp_path
):
    security = tmp_path / "security.log"
    server = start_server(
        POTOK_LOG="json",
        POTOK_SECURITY_LOG=str(security),
        OPENAI_API_KEY=KEY,
        POTOK_FIRST_BYTE_S="1",
    )
    owner = server.visitor().set_up()
    said = f"You said {WORDS} with the key {KEY}, sk-live-4d1c4d1c4d1c"
    gateway.refuse(401, {"error": {"message": said}})
    refused = owner.send(f"{WORDS} one")
    assert owner.wait_for_reply(refused)["status"] == "failed"
    gateway.script(chunk({"content": f"{WORDS} from the gateway"}), Drop())
    cut = owner.send(f"{WORDS} two")
    assert owner.wait_for_reply(cut)["status"] == "interrupted"
    guess = server.visitor()
    guess.get("/login/")
    for name in ("owner", PASSWORD):
        assert guess.post("/login/", {"username": name, "password": WORDS}).status_code == 422
    with owner.socket() as socket:
        socket.say({"watch": WORDS})
        socket.receive_until("not understood", 5)
    assert owner.post("/logout/").status_code == 302
    assert server.terminate() == 0

    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    ended = [line for line in lines if "ended" in line["message"]]
    assert [line["generation"] for line in ended] == [1, 2]
    assert "auth" in ended[0]["message"]
    everything = server.log + security.read_text()
    for secret in (WORDS, KEY, "sk-live", PASSWORD):
        assert secret not in everything
    events = [json.loads(line) for line in security.read_text().splitlines()]
    assert all(event["logger"] == "chat.security" for event in events)
    assert [event for event in lines if event["logger"] == "chat.security"] == []
    told = [(event["event"], event.get("user"), event["by"]) for event in events]
    assert told == [
        ("gateway_added", None, "command"),
        ("gateway_added", None, "command"),
        ("user_created", "owner", "anonymous"),
        ("roles_given", "owner", "anonymous"),
        ("login", "owner", "owner"),
        ("login_failed", "owner", "anonymous"),
        ("login_failed", "(unknown)", "anonymous"),
        ("logout", "owner", "owner"),
    ]
    assert {event["address"] for event in events if "request" in event} == {"127.0.0.1"}
    assert security.stat().st_mode & 0o077 == 0


# --- events of the admin and of commands ----------------------------------------------------------


@pytest.fixture
def events():
    """What the security log gets, as (event, facts)."""
    found = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            facts = {k: v for k, v in vars(record).items() if k not in logs._STANDARD}
            found.append((facts.pop("event"), facts))

    handler = Keep()
    logging.getLogger("chat.security").addHandler(handler)
    yield found
    logging.getLogger("chat.security").removeHandler(handler)


@pytest.fixture
def admin(plain_static, cheap_passwords, events) -> Client:
    client = Client()
    client.force_login(User.create_owner("owner", PASSWORD))
    events.clear()
    return client


@pytest.mark.django_db
def test_a_change_of_rights_is_told_with_who_made_it(admin, events):
    ann = User.objects.create_user("ann", password=PASSWORD)
    events.clear()
    form = {"username": "ann", "groups": [Group.objects.get(name="reviewer").pk], "is_active": ""}
    answer = admin.post(f"/admin/chat/user/{ann.pk}/change/", form)
    assert answer.status_code == 302, answer.content
    told = dict(events)
    assert told["roles_given"] | {"address": ""} == {
        "user": "ann",
        "roles": "reviewer",
        "by": "owner",
        "address": "",
    }
    assert told["rights_changed"]["user"] == "ann"
    assert told["rights_changed"]["is_active"] is False
    assert told["rights_changed"]["by"] == "owner"


@pytest.mark.django_db
def test_a_new_password_is_told_and_a_login_is_none(admin, events):
    form = {
        "old_password": PASSWORD,
        "new_password1": "another horse 7",
        "new_password2": "another horse 7",
    }
    assert admin.post("/password/", form).status_code == 200
    assert [event for event, _ in events] == ["password_changed"]
    assert admin.login(username="owner", password="another horse 7")
    assert [event for event, _ in events] == ["password_changed", "login"]


@pytest.mark.django_db
def test_reading_by_staff_is_told_and_reading_ones_own_is_not(admin, events):
    through = rows.gateway()
    ann = User.objects.create_user("ann")
    said = Conversation.start(ann, "What a reader said", "m", through)
    events.clear()
    assert said.conversation.owner.username != "owner"
    assert admin.get(f"/admin/chat/conversation/{said.conversation.pk}/change/").status_code == 200
    told = [facts for event, facts in events if event == "staff_read"]
    assert [(each["what"], each["conversations"], each["by"]) for each in told] == [
        ("transcript", 1, "owner")
    ]
    assert told[0]["conversation"] == str(said.conversation.uuid)
    assert "What a reader said" not in str(events)
    events.clear()
    said.conversation.owner = User.objects.get(username="owner")
    said.conversation.save()
    assert admin.get(f"/admin/chat/conversation/{said.conversation.pk}/change/").status_code == 200
    assert events == []


@pytest.mark.django_db
def test_a_gateways_key_and_address_are_told_and_neither_is_shown(admin, events):
    gateway = Gateway.objects.create(slug="own", name="Own", base_url="http://127.0.0.1:9/v1")
    gateway.key = KEY
    gateway.save()
    gateway.base_url = "http://127.0.0.1:8/v1"
    gateway.save()
    gateway.name = "Ours"
    gateway.save()
    gateway.delete()
    assert [event for event, _ in events] == [
        "gateway_added",
        "gateway_key_changed",
        "gateway_moved",
        "gateway_deleted",
    ]
    assert {facts["by"] for _, facts in events} == {"command"}
    assert KEY not in str(events)
