"""Passkeys: made, used and removed; and every answer that doesn't hold is refused."""

import html
import json
import logging
import re
import subprocess
import sys
import time

import pytest
from django.test import Client
from fido2.utils import websafe_decode, websafe_encode
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chat.models import Passkey, User
from chat.models.logins import HERE
from chat.models.passkeys import LastWayIn
from tests.authenticator import FLAG, Authenticator
from tests.server import PASSWORD, ROOT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
ADDRESS = "/settings/passkeys/"
ORIGIN = "http://localhost:8000"


@pytest.fixture(autouse=True)
def known_host(settings):
    """A name that browsers allow."""
    settings.ORIGINS = [ORIGIN, "http://127.0.0.1:8000"]
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]


@pytest.fixture
def ann():
    return User.objects.create_user("ann", password=PASSWORD)


@pytest.fixture
def device():
    return Authenticator(ORIGIN, "localhost")


def visitor(host="localhost:8000"):
    return Client(headers={"host": host})


def browser(person):
    client = visitor()
    client.force_login(person)
    return client


def creation(client):
    """What the page asks the browser for."""
    page = client.get(ADDRESS).content.decode()
    return json.loads(html.unescape(re.search(r'data-options="([^"]*)"', page)[1]))


def add(client, answer, **fields):
    form = {"name": "Phone", "password": PASSWORD, "credential": answer, **fields}
    return client.post(f"{ADDRESS}add/", form)


def added(person, device):
    client = browser(person)
    assert add(client, device.create(creation(client))).status_code == 303
    return client


def asked(client):
    answer = client.post("/login/passkey/options/")
    assert answer.status_code == 200
    return answer.json()


def log_in(client, answer, goal=""):
    return client.post("/login/passkey/", {"credential": answer, "next": goal})


def is_in(client):
    return client.get("/settings/").status_code == 200


def test_a_passkey_is_made_and_logs_in_without_a_name(ann, device):
    added(ann, device)
    assert list(Passkey.objects.values_list("name", "rp_id")) == [("Phone", "localhost")]
    client = visitor()
    assert b"data-passkey" in client.get("/login/").content
    answer = log_in(client, device.get(asked(client)), "/password/")
    assert (answer.status_code, answer["Location"]) == (303, "/password/")
    assert is_in(client)
    assert Passkey.objects.get().used_at


def test_it_is_asked_that_the_device_verifies_who_holds_it(ann):
    options = creation(browser(ann))
    selection = options["authenticatorSelection"]
    assert (selection["userVerification"], selection["residentKey"]) == ("required", "required")
    assert options["rp"]["id"] == "localhost"
    request = asked(visitor())
    assert (request["userVerification"], request["rpId"]) == ("required", "localhost")
    assert not request.get("allowCredentials")


def test_a_device_that_has_one_already_is_told_so(ann, device):
    client = added(ann, device)
    (excluded,) = creation(client)["excludeCredentials"]
    assert excluded["id"] == Passkey.objects.get().credential_id


SPOILT = [
    {"challenge": websafe_encode(b"another challenge of thirty bytes")},
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:8001"},
    {"origin": "http://127.0.0.1:8000"},
    {"rp_id": "evil.example"},
    {"flags": FLAG.UP},
    {"flags": FLAG.UV},
    {"type": "payment.get"},
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=str)
def test_an_answer_that_does_not_hold_makes_no_passkey(ann, device, spoilt):
    client = browser(ann)
    answer = add(client, device.create(creation(client), **spoilt))
    assert answer.status_code == 422
    assert b'role="alert"' in answer.content
    assert not Passkey.objects.exists()


@pytest.mark.parametrize("spoilt", [*SPOILT, {"forged": True}, {"user": b"somebody else"}], ids=str)
def test_an_answer_that_does_not_hold_opens_nothing(ann, device, spoilt):
    added(ann, device)
    client = visitor()
    answer = log_in(client, device.get(asked(client), **spoilt))
    assert answer.status_code == 422
    assert b'role="alert"' in answer.content
    assert not is_in(client)


def test_a_challenge_is_answered_once_by_its_own_session_and_for_its_own_purpose(ann, device):
    owner = added(ann, device)
    client, thief = visitor(), visitor()
    options = asked(client)
    answer = device.get(options)
    assert log_in(thief, answer).status_code == 422  # asked nothing
    asked(thief)
    assert log_in(thief, answer).status_code == 422  # asked something else
    assert log_in(client, answer).status_code == 303
    client.logout()
    assert log_in(client, answer).status_code == 422  # again
    made = creation(owner)
    assert log_in(owner, device.get(made)).status_code == 422  # asked to make one


def test_a_challenge_is_good_for_five_minutes(ann, device, monkeypatch):
    added(ann, device)
    client = visitor()
    answer, later = device.get(asked(client)), time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    assert log_in(client, answer).status_code == 422


def test_a_wrong_answer_uses_the_challenge_up(ann, device):
    added(ann, device)
    client = visitor()
    options = asked(client)
    assert log_in(client, device.get(options, forged=True)).status_code == 422
    assert log_in(client, device.get(options)).status_code == 422


def test_a_counter_that_goes_back_is_a_copied_key(ann, device):
    added(ann, device)
    for count, status in ((5, 303), (5, 422), (4, 422), (6, 303)):
        client = visitor()
        assert log_in(client, device.get(asked(client), count=count)).status_code == status


def test_a_device_without_a_counter_is_no_copied_key(ann, device):
    added(ann, device)
    for _ in range(2):
        client = visitor()
        assert log_in(client, device.get(asked(client), count=0)).status_code == 303


def test_a_passkey_of_somebody_disabled_opens_nothing(ann, device):
    added(ann, device)
    User.objects.update(is_active=False)
    client = visitor()
    assert log_in(client, device.get(asked(client))).status_code == 422


def test_nobody_takes_over_a_passkey_by_adding_it_again(ann, device):
    added(ann, device)
    bob = browser(User.objects.create_user("bob", password=PASSWORD))
    assert add(bob, device.create(creation(bob))).status_code == 422
    assert Passkey.objects.get().user == ann


def test_to_add_one_takes_the_password_and_guessing_it_is_slowed_down(ann, device):
    client = browser(ann)
    for _ in range(HERE.failures):
        assert add(client, device.create(creation(client)), password="wrong").status_code == 422
    assert add(client, device.create(creation(client))).status_code == 429
    assert not Passkey.objects.exists()


def test_a_stranger_cannot_remove_it_and_its_owner_can(ann, device):
    client = added(ann, device)
    path = f"{ADDRESS}{Passkey.objects.get().pk}/delete/"
    bob = browser(User.objects.create_user("bob", password=PASSWORD))
    assert bob.post(path).status_code == 404
    assert client.post(path).status_code == 303
    assert not Passkey.objects.exists()
    assert client.post(path).status_code == 404


def test_the_last_way_in_stays(ann, device):
    client = added(ann, device)
    ann.set_unusable_password()
    ann.save()
    client.force_login(ann)
    path = f"{ADDRESS}{Passkey.objects.get().pk}/delete/"
    refused = client.post(path)
    assert refused.status_code == 409
    assert b'role="alert"' in refused.content
    with pytest.raises(LastWayIn):
        Passkey.objects.get().delete()


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9"])
def test_where_browsers_allow_none_it_is_said_and_nothing_is_offered(ann, device, host):
    added(ann, device)
    client = visitor(host)
    assert b"data-passkey" not in client.get("/login/").content
    assert client.post("/login/passkey/options/").status_code == 409
    client.force_login(ann)
    page = client.get(ADDRESS).content
    assert b"data-passkey" not in page
    assert b"Browsers allow passkeys under https" in page


def test_a_login_by_passkey_counts_as_two_steps(ann, device):
    added(ann, device)
    client = visitor()
    log_in(client, device.get(asked(client)))
    assert client.session["entered_by"] == "passkey"


def test_the_security_log_tells_of_it(ann, device, caplog):
    logger = logging.getLogger("chat.security")
    logger.addHandler(caplog.handler)
    client = added(ann, device)
    thief = visitor()
    log_in(thief, device.get(asked(thief), forged=True))
    client.post(f"{ADDRESS}{Passkey.objects.get().pk}/delete/")
    logger.removeHandler(caplog.handler)
    told = [record.event for record in caplog.records if record.name == "chat.security"]
    assert told == ["login", "passkey_added", "passkey_refused", "passkey_removed"]


@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example", "javascript:x"])
def test_it_leads_never_abroad(ann, device, goal):
    added(ann, device)
    client = visitor()
    assert log_in(client, device.get(asked(client)), goal)["Location"] == "/"


@pytest.mark.parametrize(
    "answer", ["", "{", "[]", "null", "{}", '{"rawId": 1}', '{"response": {}}', "x" * 70_000]
)
def test_what_no_browser_sends_is_refused_without_a_traceback(ann, answer):
    client = visitor()
    asked(client)
    assert log_in(client, answer).status_code == 422
    own = browser(ann)
    creation(own)
    assert add(own, answer).status_code == 422


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    part=st.sampled_from(["clientDataJSON", "authenticatorData", "signature", "attestationObject"]),
    cut=st.integers(0, 200),
    junk=st.binary(max_size=40),
)
def test_no_bytes_of_an_answer_raise_anything_else(ann, part, cut, junk):
    """Nor open anything. (What makes a key isn't signed, so that some other one may come of it.)"""
    Passkey.objects.all().delete()
    device = Authenticator(ORIGIN, "localhost")
    client = added(ann, device)
    for ask, make, send, ends in (
        (creation, device.create, add, (303, 422)),
        (asked, device.get, log_in, (422,)),
    ):
        told = json.loads(make(ask(client)))
        if part in told["response"]:
            whole = websafe_decode(told["response"][part])
            spoilt = whole[:cut] + junk + whole[cut + 7 :]
            assume(spoilt != whole)
            told["response"][part] = websafe_encode(spoilt)
            assert send(client, json.dumps(told)).status_code in ends


def test_nothing_of_it_is_imported_before_it_is_used(tmp_path):
    """In an interpreter of its own: this one has used it."""
    heavy = ["fido2", "segno", "jwt"]
    code = (
        "import django; django.setup(); import chat.urls, chat.asgi, sys;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    env = {"DJANGO_SETTINGS_MODULE": "chat.settings", "POTOK_DATA_DIR": str(tmp_path)}
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=ROOT, env=env, capture_output=True, check=True).stdout == b"[]\n"
