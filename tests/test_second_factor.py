"""The second step of a login: what it takes, that nothing opens before it, and its way on and off."""

import logging
import re
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from chat.models import RecoveryCode, SecondFactor, User
from chat.models.logins import CODES, HERE
from chat.models.second_factors import STEP_S, bare, code_at
from tests.server import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
ADDRESS = "/settings/second-factor/"


@pytest.fixture(autouse=True)
def own_secret(settings):
    """A secret of the test's own."""
    settings.SECRETS_KEYS = ["a" * 40]


@pytest.fixture
def ann():
    return User.objects.create_user("ann", password=PASSWORD)


@pytest.fixture
def clock(monkeypatch):
    """The time of day, for whoever asks `time.time`; it stands still until it is moved."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    class Clock:
        @staticmethod
        def advance(seconds):
            now[0] += seconds

    return Clock


def code_of(user, steps=0):
    """What the user's device shows, so many steps from now."""
    factor = SecondFactor.objects.get(user=user)
    return code_at(factor._secret, int(time.time()) // STEP_S + steps)


def wrong_code_of(user):
    right = {code_of(user, n) for n in range(-3, 4)}
    return next(code for n in range(10) if (code := f"{n:06}") not in right)


def turn_on(user, clock):
    """As the page does it; the recovery codes."""
    factor = SecondFactor.begin(user)
    codes = factor.confirm(code_of(user))
    assert len(codes) == 10
    clock.advance(2 * STEP_S)
    return codes


def first_step(client, name="ann", goal=""):
    answer = client.post("/login/", {"username": name, "password": PASSWORD, "next": goal})
    assert (answer.status_code, answer["Location"]) == (302, "/login/code/")
    return client


def is_in(client):
    return client.get("/settings/").status_code == 200


# --- codes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(at, code):
    """The last six digits of its appendix B, for SHA-1."""
    assert code_at(b"12345678901234567890", at // STEP_S) == code


def test_a_code_is_taken_once_and_no_older_one_after_it(ann, clock):
    factor = SecondFactor.begin(ann)
    assert factor.take(code_of(ann))
    assert not factor.take(code_of(ann))
    assert not factor.take(code_of(ann, -1))
    assert factor.take(code_of(ann, 1))
    clock.advance(STEP_S)
    assert not factor.take(code_of(ann))


@pytest.mark.parametrize(("steps", "is_taken"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_a_clock_may_be_a_little_off(ann, clock, steps, is_taken):
    assert SecondFactor.begin(ann).take(code_of(ann, steps)) is is_taken


@pytest.mark.parametrize("code", ["", "0", "1" * 400, "１２３４５６", "abcdef"])
def test_what_is_no_code_is_not_taken(ann, clock, code):
    assert not SecondFactor.begin(ann).take(code)


def test_the_secret_is_sealed_and_recovery_codes_are_digests(ann, clock):
    codes = turn_on(ann, clock)
    factor = SecondFactor.of(ann)
    assert factor._secret.hex() not in factor.sealed_secret
    kept = set(RecoveryCode.objects.values_list("digest", flat=True))
    assert len(kept) == 10
    assert not kept & {bare(code) for code in codes}
    assert all(len(bare(code)) == 16 for code in codes)


# --- a login ------------------------------------------------------------------------------------


def test_without_a_second_factor_the_password_is_enough(client, ann):
    answer = client.post("/login/", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 302
    assert is_in(client)
    assert client.get("/login/code/")["Location"] == "/"


def test_with_one_the_login_is_finished_by_the_code(client, ann, clock):
    turn_on(ann, clock)
    first_step(client, goal="/password/")
    assert b'autocomplete="one-time-code"' in client.get("/login/code/").content
    typed = f"{code_of(ann)[:3]} {code_of(ann)[3:]}"
    answer = client.post("/login/code/", {"code": typed})
    assert (answer.status_code, answer["Location"]) == (302, "/password/")
    assert is_in(client)


@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example/", "javascript:x"])
def test_it_leads_never_abroad(client, ann, clock, goal):
    turn_on(ann, clock)
    first_step(client, goal=goal)
    assert client.post("/login/code/", {"code": code_of(ann)})["Location"] == "/"


def test_between_the_steps_a_session_is_nobodys(client, ann, clock):
    turn_on(ann, clock)
    first_step(client)
    for path in ("/", "/settings/", "/password/", ADDRESS, "/admin/", "/search/"):
        assert client.get(path)["Location"].startswith("/login/?next="), path
    assert client.post("/messages/", {"text": "hello"}).status_code == 302
    assert client.post(f"{ADDRESS}off/", {"password": PASSWORD}).status_code == 302
    assert SecondFactor.of(ann)
    from chat.page.rights import users_of

    assert users_of([client.session.session_key]) == {}


def test_without_the_first_step_there_is_no_second(client, ann, clock):
    turn_on(ann, clock)
    for answer in (client.get("/login/code/"), client.post("/login/code/", {"code": code_of(ann)})):
        assert (answer.status_code, answer["Location"]) == (302, "/login/")
    assert not is_in(client)


def test_a_wrong_password_leads_to_no_second_step(client, ann, clock):
    turn_on(ann, clock)
    assert client.post("/login/", {"username": "ann", "password": "wrong"}).status_code == 422
    assert client.get("/login/code/")["Location"] == "/login/"


def test_the_first_step_is_forgotten_after_ten_minutes(client, ann, clock):
    turn_on(ann, clock)
    first_step(client)
    clock.advance(601)
    assert client.post("/login/code/", {"code": code_of(ann)})["Location"] == "/login/"
    assert not is_in(client)


@pytest.mark.parametrize("change", ["password", "disabled", "sessions"])
def test_the_first_step_is_worth_nothing_once_the_account_has_changed(client, ann, clock, change):
    turn_on(ann, clock)
    first_step(client)
    if change == "password":
        ann.set_password("another long password")
    ann.is_active = change != "disabled"
    ann.save()
    if change == "sessions":
        ann.end_sessions()
    assert client.post("/login/code/", {"code": code_of(ann)})["Location"] == "/login/"
    assert not is_in(client)


def test_the_session_of_the_first_step_is_not_the_one_before_nor_the_one_after(client, ann, clock):
    turn_on(ann, clock)
    client.post("/login/", {"username": "ann", "password": PASSWORD})
    first = client.session.session_key
    client.post("/login/", {"username": "ann", "password": PASSWORD})
    second = client.session.session_key
    client.post("/login/code/", {"code": code_of(ann)})
    assert len({first, second, client.session.session_key}) == 3


def test_a_used_code_opens_no_second_login(client, ann, clock):
    turn_on(ann, clock)
    code = code_of(ann)
    first_step(client).post("/login/code/", {"code": code})
    assert is_in(client)
    thief = first_step(Client())
    assert thief.post("/login/code/", {"code": code}).status_code == 422
    assert not is_in(thief)


def test_a_recovery_code_opens_once(client, ann, clock):
    code = turn_on(ann, clock)[3]
    first_step(client)
    assert "inputmode" not in client.get("/login/code/?recovery").content.decode()
    assert client.post("/login/code/?recovery", {"code": f" {code.upper()} "}).status_code == 302
    assert is_in(client)
    again = first_step(Client())
    assert again.post("/login/code/?recovery", {"code": code}).status_code == 422
    assert not is_in(again)
    assert SecondFactor.of(ann).recovery_left == 9


def test_nobody_elses_recovery_code_opens(client, ann, clock):
    turn_on(ann, clock)
    others = turn_on(User.objects.create_user("bob", password=PASSWORD), clock)
    first_step(client)
    assert client.post("/login/code/", {"code": others[0]}).status_code == 422


def test_guessing_codes_is_slowed_down_and_a_recovery_code_still_opens(client, ann, clock):
    codes = turn_on(ann, clock)
    first_step(client)
    for _ in range(HERE.failures):
        assert client.post("/login/code/", {"code": wrong_code_of(ann)}).status_code == 422
    held = client.post("/login/code/", {"code": code_of(ann)})
    assert held.status_code == 429
    assert 0 < int(held["Retry-After"]) <= HERE.within.total_seconds() + 1
    assert b'role="alert"' in held.content
    # The right password again doesn't forgive what was guessed behind it.
    first_step(client)
    assert client.post("/login/code/", {"code": code_of(ann)}).status_code == 429
    assert client.post("/login/code/", {"code": codes[0]}).status_code == 302
    assert is_in(client)


def test_the_limit_is_below_what_six_digits_can_bear():
    """At most one guess in ten thousand accounts that a day of guessing from one address opens."""
    assert CODES.failures * 3 / 10**6 < 1e-4


def test_where_its_secret_cannot_be_opened_the_recovery_code_still_is(
    client, ann, clock, settings, tmp_path
):
    codes, code = turn_on(ann, clock), code_of(ann)
    settings.SECRETS_KEYS, settings.SECRETS_FILE = ["b" * 40], tmp_path / "none"
    first_step(client)
    assert client.post("/login/code/", {"code": code}).status_code == 422
    assert client.post("/login/code/", {"code": codes[0]}).status_code == 302


# --- on and off ---------------------------------------------------------------------------------


def drafted(client):
    """The secret on the page, as a person's app takes it."""
    assert client.post(f"{ADDRESS}begin/", {"password": PASSWORD}).status_code == 303
    page = client.get(ADDRESS).content.decode()
    assert '<svg class="qr"' in page
    return page


def test_it_is_turned_on_by_the_password_and_a_code_and_ends_other_sessions(client, ann, clock):
    client.force_login(ann)
    other = Client()
    other.force_login(ann)
    page = drafted(client)
    factor = SecondFactor.objects.get(user=ann)
    assert factor.text in page
    assert SecondFactor.of(ann) is None
    wrong = client.post(f"{ADDRESS}confirm/", {"code": wrong_code_of(ann)})
    assert wrong.status_code == 422
    assert factor.text in wrong.content.decode()
    answer = client.post(f"{ADDRESS}confirm/", {"code": code_of(ann)})
    codes = re.findall(r"<li><code>([a-z2-7-]{19})</code>", answer.content.decode())
    assert len(codes) == 10
    assert SecondFactor.of(ann).take_recovery(bare(codes[0]))
    assert is_in(client)
    assert not is_in(other)
    again = client.get(ADDRESS).content.decode()
    assert codes[1] not in again
    assert factor.text not in again


def test_the_picture_says_what_apps_understand(ann, clock):
    ann.username = "анна@example.org"
    address = urlsplit(SecondFactor.begin(ann).address("Potok"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    asked = parse_qs(address.query)
    assert asked["issuer"] == ["Potok"]
    assert re.fullmatch(r"[A-Z2-7]{32}", asked["secret"][0])


def test_a_secret_that_another_session_began_is_not_shown(client, ann, clock):
    client.force_login(ann)
    drafted(client)
    thief = Client()
    thief.force_login(ann)
    page = thief.get(ADDRESS).content.decode()
    assert SecondFactor.objects.get(user=ann).text not in page
    assert thief.post(f"{ADDRESS}confirm/", {"code": code_of(ann)}).status_code == 303
    assert SecondFactor.of(ann) is None


@pytest.mark.parametrize("action", ["begin", "codes", "off"])
def test_each_change_asks_for_the_password_and_guessing_it_is_slowed_down(
    client, ann, clock, action
):
    if action != "begin":
        turn_on(ann, clock)
    client.force_login(ann)
    before = set(RecoveryCode.objects.values_list("digest", flat=True))
    for password in ["", *["wrong"] * HERE.failures]:
        assert client.post(f"{ADDRESS}{action}/", {"password": password}).status_code == 422
    assert client.post(f"{ADDRESS}{action}/", {"password": PASSWORD}).status_code == 429
    assert set(RecoveryCode.objects.values_list("digest", flat=True)) == before
    assert bool(SecondFactor.of(ann)) is (action != "begin")


def test_new_recovery_codes_replace_the_old(client, ann, clock):
    old = turn_on(ann, clock)
    client.force_login(ann)
    answer = client.post(f"{ADDRESS}codes/", {"password": PASSWORD})
    new = re.findall(r"<li><code>([a-z2-7-]{19})</code>", answer.content.decode())
    factor = SecondFactor.of(ann)
    assert len(new) == 10
    assert not factor.take_recovery(bare(old[0]))
    assert factor.take_recovery(bare(new[0]))


def test_off_means_that_the_password_is_enough_again(client, ann, clock):
    turn_on(ann, clock)
    client.force_login(ann)
    assert client.post(f"{ADDRESS}off/", {"password": PASSWORD}).status_code == 303
    assert not RecoveryCode.objects.exists()
    client.logout()
    assert client.post("/login/", {"username": "ann", "password": PASSWORD})["Location"] == "/"


def test_beginning_again_leaves_what_is_confirmed_alone(client, ann, clock):
    turn_on(ann, clock)
    secret = SecondFactor.of(ann).text
    client.force_login(ann)
    client.post(f"{ADDRESS}begin/", {"password": PASSWORD})
    assert SecondFactor.of(ann).text == secret
    assert secret not in client.get(ADDRESS).content.decode()


def test_whoever_has_no_password_says_who_they_are_by_a_new_login(client, ann, clock):
    ann.set_unusable_password()
    ann.save()
    client.force_login(ann)
    assert client.post(f"{ADDRESS}begin/").status_code == 422
    session = client.session
    session["entered_at"] = time.time()
    session.save()
    assert client.post(f"{ADDRESS}begin/").status_code == 303


def test_an_administrator_turns_it_off_for_whoever_lost_it(client, ann, clock):
    owner = User.objects.create_superuser("owner", password=PASSWORD)
    client.force_login(owner)
    address = f"/admin/chat/user/{ann.pk}/change/"
    fields = {"username": "ann", "is_active": "on", "drops_second_factor": "on"}
    client.post(address, fields)  # while there is none
    turn_on(ann, clock)
    assert client.post(address, {**fields, "drops_second_factor": ""}).status_code == 302
    assert SecondFactor.of(ann)
    assert client.post(address, fields).status_code == 302
    assert SecondFactor.of(ann) is None
    assert not RecoveryCode.objects.exists()


# --- what is written down -----------------------------------------------------------------------


def test_the_security_log_tells_of_it_and_of_no_code(client, ann, clock, caplog):
    logger = logging.getLogger("chat.security")
    logger.addHandler(caplog.handler)
    client.force_login(ann)
    drafted(client)
    client.post(f"{ADDRESS}confirm/", {"code": code_of(ann)})
    clock.advance(2 * STEP_S)
    first_step(Client()).post("/login/code/", {"code": "000000x"})
    first_step(Client()).post("/login/code/", {"code": code_of(ann)})
    client.post(f"{ADDRESS}off/", {"password": PASSWORD})
    logger.removeHandler(caplog.handler)
    told = [record for record in caplog.records if record.name == "chat.security"]
    events = [record.event for record in told]
    for event in ("second_factor_on", "second_factor_failed", "second_factor_off"):
        assert events.count(event) == 1, event
    logins = [record for record in told if record.event == "login"]
    assert [getattr(record, "how", "") for record in logins] == ["", "code"]
    assert "000000x" not in str([vars(record) for record in told])
