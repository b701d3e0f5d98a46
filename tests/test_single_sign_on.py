"""Single sign-on against a provider on a real port, and against one that lies."""

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from chat.models import (
    AccountPolicy,
    Identity,
    Invitation,
    Passkey,
    SecondFactor,
    User,
)
from chat.models import IdentityProvider as Row
from chat.upstream import oidc
from tests.identity_provider import CLIENT_ID, SECRET, IdentityProvider
from tests.people import browser
from tests.server import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
ANN = {
    "sub": "subject-of-ann",
    "preferred_username": "Ann@example.org",
    "email": "ann@example.org",
    "email_verified": True,
}


@pytest.fixture(autouse=True)
def own_secret(settings):
    """A secret of the test's own."""
    settings.SECRETS_KEYS = ["a" * 40]


@pytest.fixture
def provider():
    with IdentityProvider() as running:
        yield running


@pytest.fixture
def row(provider):
    found = Row(
        slug="office",
        name="Work",
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        is_private_allowed=True,
        makes_accounts=True,
    )
    found.secret = SECRET
    found.save()
    return found


@pytest.fixture
def owner():
    return User.create_owner("owner", PASSWORD)


def sent(client, **query):
    answer = client.get("/login/with/office/", query)
    assert answer.status_code == 302, answer.content
    return answer["Location"]


def log_in(client, provider, claims=ANN, spoilt=None, **query):
    """To the provider and back, as a browser goes."""
    way = provider.authorize(sent(client, **query), **claims)
    return client.get("/login/with/office/back/", {**way, **(spoilt or {})})


def is_in(client):
    return client.get("/settings/").status_code == 200


def test_the_login_page_offers_it_by_name(client, owner, row):
    page = client.get("/login/?next=/password/").content.decode()
    assert "Log in with Work" in page
    assert "/login/with/office/?next=/password/" in page.replace("%2F", "/")
    Row.objects.update(enabled=False)
    assert "Work" not in client.get("/login/").content.decode()
    assert client.get("/login/with/office/").status_code == 404


def test_somebody_comes_in_and_is_the_same_person_the_next_time(client, owner, provider, row):
    answer = log_in(client, provider, next="/password/")
    assert (answer.status_code, answer["Location"]) == (302, "/password/")
    assert is_in(client)
    ann = Identity.objects.get().user
    assert (ann.username, ann.email, ann.has_usable_password()) == ("Ann", "ann@example.org", False)
    again = Client()
    log_in(again, provider, {**ANN, "preferred_username": "changed", "email": "new@example.org"})
    assert User.objects.count() == 2
    assert again.session["_auth_user_id"] == str(ann.pk)


def test_the_way_there_carries_pkce_a_state_and_a_nonce_each_time_new(client, owner, row):
    first, second = (parse_qs(urlsplit(sent(client)).query) for _ in range(2))
    assert first["code_challenge_method"] == ["S256"]
    assert first["scope"] == ["openid profile email"]
    assert first["redirect_uri"] == ["http://testserver/login/with/office/back/"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example", "javascript:x", ""])
def test_it_leads_never_abroad(client, owner, provider, row, goal):
    assert log_in(client, provider, next=goal)["Location"] == "/"


# --- a provider that lies, or somebody who says to come from it -----------------------------------


HS256_KEY = "the public key of the provider, as anybody knows it" * 3


@pytest.mark.parametrize(
    "spoilt",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": None},
        {"aud": [CLIENT_ID, "another client"]},
        {"azp": "another client"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": -3600},  # seconds from now
        {"exp": None},
        {"iat": +3600},
        {"iat": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 300},
        {"alg": "none", "key": None},
        {"alg": "HS256", "key": HS256_KEY},
        {"kid": "another"},
    ],
    ids=str,
)
def test_an_id_token_that_does_not_hold_opens_nothing(client, owner, provider, row, spoilt):
    now = int(time.time())
    provider.spoil = {
        name: now + claim if name in ("exp", "iat") and claim else claim
        for name, claim in spoilt.items()
    }
    answer = log_in(client, provider)
    assert answer.status_code == 403
    assert b'role="alert"' in answer.content
    assert not is_in(client)
    assert not Identity.objects.exists()


def test_a_token_of_another_key_opens_nothing(client, owner, provider, row):
    provider.spoil = {"key": provider.other_key}
    assert log_in(client, provider).status_code == 403
    assert not is_in(client)


def test_several_audiences_are_well_where_the_token_was_made_for_us(client, owner, provider, row):
    provider.spoil = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}
    assert log_in(client, provider).status_code == 302
    assert is_in(client)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"state": "another"},
        {"state": ""},
        {"code": "another"},
        {"iss": "https://evil.example"},
        {"error": "access_denied"},
    ],
    ids=str,
)
def test_an_answer_that_does_not_fit_what_was_sent_opens_nothing(
    client, owner, provider, row, spoilt
):
    assert log_in(client, provider, spoilt=spoilt).status_code == 403
    assert not is_in(client)


@pytest.mark.parametrize(
    ("language", "turned_back", "uncertain"),
    [
        ("en", "or you turned back there", "Work did not say for certain who you are"),
        ("ru", "или вы сами передумали", "Work не подтвердил достоверно, кто вы"),
    ],
)
def test_who_turned_back_there_reads_so(
    client, owner, provider, row, language, turned_back, uncertain
):
    """Not that the provider could not tell who they are, which is for an answer that doesn't fit."""

    def said(**spoilt):
        way = provider.authorize(sent(client), **ANN) | spoilt
        back = client.get("/login/with/office/back/", way, HTTP_ACCEPT_LANGUAGE=language)
        return back.content.decode()

    declined, forged = said(error="access_denied"), said(state="another")
    assert turned_back in declined
    assert uncertain not in declined
    assert uncertain in forged


def test_an_answer_serves_once_and_in_its_own_browser_alone(client, owner, provider, row):
    way = provider.authorize(sent(client), **ANN)
    thief = Client()
    assert thief.get("/login/with/office/back/", way).status_code == 403
    sent(thief)
    assert thief.get("/login/with/office/back/", way).status_code == 403
    assert client.get("/login/with/office/back/", way).status_code == 302
    client.logout()
    assert client.get("/login/with/office/back/", way).status_code == 403
    # Nor does the code by itself, sent along with a state that fits.
    fresh = provider.authorize(sent(client), **ANN)
    assert client.get("/login/with/office/back/", {**fresh, "code": way["code"]}).status_code == 403
    assert not is_in(client)


def test_an_answer_comes_within_a_quarter_of_an_hour(client, owner, provider, row, monkeypatch):
    way, later = provider.authorize(sent(client), **ANN), time.time() + 901
    monkeypatch.setattr(time, "time", lambda: later)
    assert client.get("/login/with/office/back/", way).status_code == 403


def test_the_answer_of_one_provider_is_not_taken_for_anothers(client, owner, provider, row):
    Row.objects.create(slug="other", name="Other", issuer="https://id.example", client_id="x")
    way = provider.authorize(sent(client), **ANN)
    assert client.get("/login/with/other/back/", way).status_code == 403
    assert not is_in(client)


def test_the_user_info_fills_in_what_the_token_lacks_and_is_nobody_elses(
    client, owner, provider, row
):
    Row.objects.update(groups="staff")
    provider.userinfo = {"sub": ANN["sub"], "groups": ["staff"]}
    assert log_in(client, provider).status_code == 302
    provider.userinfo = {"sub": "somebody else", "groups": ["staff"]}
    assert log_in(Client(), provider).status_code == 403


@pytest.mark.parametrize(
    ("path", "answer", "status"),
    [
        ("/.well-known/openid-configuration", (500, b"{}"), 403),
        ("/.well-known/openid-configuration", (200, b"<html>"), 403),
        ("/.well-known/openid-configuration", (200, b"[]"), 403),
        ("/.well-known/openid-configuration", (200, b'{"issuer": "x"}'), 403),
        ("/.well-known/openid-configuration", (302, b"http://127.0.0.1:1/"), 403),
        ("/.well-known/openid-configuration", (200, b" " * 600_000), 403),
    ],
)
def test_a_provider_that_talks_nonsense_is_said_to(
    client, owner, provider, row, path, answer, status
):
    provider.answers[path] = answer
    said = client.get("/login/with/office/")
    assert said.status_code == status
    assert b"Work" in said.content


@pytest.mark.parametrize("path", ["/token", "/jwks"])
@pytest.mark.parametrize(
    "answer", [(500, b"{}"), (200, b"{}"), (200, b"no"), (200, b'{"keys": 1}')]
)
def test_so_is_one_that_does_so_later(client, owner, provider, row, path, answer):
    way = provider.authorize(sent(client), **ANN)
    provider.answers[path] = answer
    assert client.get("/login/with/office/back/", way).status_code == 403
    assert not is_in(client)


def test_a_provider_that_is_away_is_said_to_be(client, owner, provider, row):
    Row.objects.update(issuer="http://127.0.0.1:9")
    answer = client.get("/login/with/office/")
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert b"Work doesn&#x27;t answer." in answer.content


async def test_the_log_is_told_why_it_could_not_be_asked():
    relation = oidc.Relation("http://127.0.0.1:9", CLIENT_ID, allow_private=True)
    with pytest.raises(oidc.Unreachable, match="configuration: refused"):
        await oidc.discover(relation)


def test_inside_addresses_are_reached_only_if_the_owner_allowed_it(client, owner, provider, row):
    Row.objects.update(is_private_allowed=False)
    assert client.get("/login/with/office/").status_code == 503
    assert provider.requests == []


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("value", ["javascript:alert(1)", "file:///etc/passwd", "/token", None, 5])
def test_an_address_that_is_none_is_not_followed(client, owner, provider, row, name, value):
    provider.metadata = {name: value}
    assert client.get("/login/with/office/").status_code == 403


# --- who is let in --------------------------------------------------------------------------------


def test_an_address_alone_makes_nobody_anybody(client, owner, provider, row):
    """Neither a name nor an e-mail of somebody here opens their account."""
    victim = User.objects.create_user("ann", "ann@example.org", PASSWORD)
    log_in(client, provider, {**ANN, "preferred_username": "ann"})
    newcomer = Identity.objects.get().user
    assert newcomer != victim
    assert newcomer.username == "ann2"


@pytest.mark.parametrize(
    ("claims", "is_let_in"),
    [
        ({}, True),
        ({"email": "ann@EXAMPLE.org"}, True),
        ({"email_verified": False}, False),
        ({"email_verified": None}, False),
        ({"email_verified": "true"}, False),
        ({"email": "ann@evil.example"}, False),
        ({"email": "ann@example.org.evil.example"}, False),
        ({"email": "ann@evil.example@example.org"}, False),
        ({"email": ["ann@example.org"]}, False),
        ({"email": None}, False),
    ],
)
def test_a_domain_counts_by_confirmed_addresses_only(
    client, owner, provider, row, claims, is_let_in
):
    Row.objects.update(domains="example.org, example.com")
    assert log_in(client, provider, ANN | claims).status_code == (302 if is_let_in else 403)
    assert is_in(client) is is_let_in


@pytest.mark.parametrize(
    ("groups", "is_let_in"),
    [
        (["staff"], True),
        (["chat admins"], True),
        (["guests", "chat"], False),
        ("staff", True),
        ([], False),
        (None, False),
        ({"staff": 1}, False),
        (5, False),
    ],
)
def test_groups_count_by_the_claim_that_the_owner_names(
    client, owner, provider, row, groups, is_let_in
):
    Row.objects.update(groups="staff, chat admins", groups_claim="roles")
    answer = log_in(client, provider, {**ANN, "roles": groups, "groups": ["staff"]})
    assert answer.status_code == (302 if is_let_in else 403)


def test_whoever_is_let_in_no_more_comes_in_no_more(client, owner, provider, row):
    log_in(client, provider)
    Row.objects.update(groups="staff")
    assert log_in(Client(), provider).status_code == 403


def test_where_no_accounts_are_made_a_stranger_stays_out(client, owner, provider, row):
    Row.objects.update(makes_accounts=False)
    answer = log_in(client, provider)
    assert answer.status_code == 403
    assert b"Ask whoever runs this Potok" in answer.content
    assert User.objects.count() == 1


def test_an_invitation_makes_one_by_it(client, owner, provider, row):
    Row.objects.update(makes_accounts=False)
    AccountPolicy.objects.create(pk=1, sign_up="invitation")
    _invitation, token = Invitation.make(owner, [Group.objects.get(name="analyst")])
    page = client.get(f"/signup/?invitation={token}").content.decode()
    assert f"/login/with/office/?invitation={token}" in page
    log_in(client, provider, invitation=token)
    assert [group.name for group in Identity.objects.get().user.groups.all()] == ["analyst"]
    late = log_in(Client(), provider, {**ANN, "sub": "another"}, invitation=token)
    assert late.status_code == 403


def test_somebody_who_is_switched_off_stays_out(client, owner, provider, row):
    log_in(client, provider)
    User.objects.filter(username="Ann").update(is_active=False)
    again = Client()
    answer = log_in(again, provider)
    assert answer.status_code == 403
    assert b"Your account here is switched off." in answer.content
    assert not is_in(again)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "Анна Петрова"}, "Анна.Петрова"),
        ({"preferred_username": "../../etc"}, "etc"),
        ({"preferred_username": "<script>"}, "script"),
        ({"preferred_username": "x" * 500}, "x" * 100),
        ({"preferred_username": ""}, "ann"),
        ({"preferred_username": None, "email_verified": False, "name": "Ann P"}, "Ann.P"),
        ({"preferred_username": 7, "email": None}, "user"),
        ({"preferred_username": "OWNER"}, "OWNER2"),
    ],
)
def test_a_name_is_made_of_what_the_provider_says(client, owner, provider, row, claims, name):
    log_in(client, provider, ANN | claims)
    assert Identity.objects.get().user.username == name


# --- an account that is there already -------------------------------------------------------------


@pytest.fixture
def ann():
    return User.objects.create_user("ann", password=PASSWORD)


def test_it_is_connected_by_the_password_and_opens_the_account_then(owner, ann, provider, row):
    Row.objects.update(makes_accounts=False)
    client = browser(ann)
    assert client.get("/login/with/office/")["Location"] == "/"
    assert client.post("/settings/connect/office/", {"password": "wrong"}).status_code == 422
    assert client.get("/login/with/office/")["Location"] == "/"
    assert (
        b"Go on to Work" in client.post("/settings/connect/office/", {"password": PASSWORD}).content
    )
    assert log_in(client, provider)["Location"] == "/settings/"
    assert Identity.objects.get().user == ann
    other = Client()
    log_in(other, provider)
    assert other.session["_auth_user_id"] == str(ann.pk)


def test_what_is_somebody_elses_is_not_connected(owner, ann, provider, row):
    log_in(Client(), provider)
    client = browser(ann)
    client.post("/settings/connect/office/", {"password": PASSWORD})
    answer = log_in(client, provider)
    assert answer.status_code == 403
    assert b"opens another account here already" in answer.content
    assert Identity.objects.get().user != ann


def test_the_settings_call_it_by_its_name_and_offer_only_what_is_not_connected(
    owner, ann, provider, row
):
    client = browser(ann)
    offer = 'href="/settings/connect/office/"'
    assert offer in client.get("/settings/").content.decode()
    row.connect(ANN, ann)
    page = client.get("/settings/").content.decode()
    assert offer not in page
    assert "Disconnect Work" in page
    assert "until you log out there as well" in page
    Row.objects.update(name="Elsewhere", enabled=False)
    assert "Disconnect Elsewhere" in client.get("/settings/").content.decode()
    Row.objects.all().delete()
    assert f"Disconnect {provider.issuer}" in client.get("/settings/").content.decode()


def test_who_has_no_password_is_offered_no_second_step_of_a_login_by_one(ann, row):
    offer = 'href="/settings/second-factor/"'
    assert offer in browser(ann).get("/settings/").content.decode()
    ann.set_unusable_password()
    ann.save()
    assert offer not in browser(ann).get("/settings/").content.decode()


def test_only_ones_own_is_disconnected_and_never_the_last_way_in(owner, ann, provider, row):
    client = Client()
    log_in(client, provider)
    path = f"/settings/identities/{Identity.objects.get().pk}/delete/"
    assert browser(ann).post(path).status_code == 404
    assert client.post(path).status_code == 409
    newcomer = Identity.objects.get().user
    Passkey.objects.create(user=newcomer, name="x", credential_id="x", credential=b"x", rp_id="x")
    assert client.post(path).status_code == 303
    assert not Identity.objects.exists()


def test_it_asks_for_no_second_step_of_ours(client, owner, provider, row):
    log_in(client, provider)
    factor = SecondFactor.begin(Identity.objects.get().user)
    SecondFactor.objects.filter(pk=factor.pk).update(confirmed_at="2026-01-01T00:00:00Z")
    again = Client()
    log_in(again, provider)
    assert is_in(again)
    assert again.session["entered_by"] == "single sign-on"


def test_a_logout_says_that_the_provider_still_knows_them(client, owner, provider, row):
    log_in(client, provider)
    answer = client.post("/logout/")
    assert answer.status_code == 200
    assert f'href="{provider.issuer}/logout"'.encode() in answer.content
    assert not is_in(client)


# --- as it is set ---------------------------------------------------------------------------------


def form(**fields):
    return {
        "name": "Work",
        "slug": "office",
        "issuer": "https://id.example.org",
        "client_id": "potok",
        "scope": "openid",
        "enabled": "on",
        **fields,
    }


def test_the_owner_sets_it_and_its_secret_is_told_nowhere(owner):
    client = browser(owner)
    client.post(reverse("admin:chat_identityprovider_add"), form(secret="hunter2-of-the-client"))
    row = Row.objects.get()
    assert row.secret == "hunter2-of-the-client"
    assert "hunter2" not in row.sealed_secret
    address = reverse("admin:chat_identityprovider_change", args=[row.pk])
    page = client.get(address).content.decode()
    assert "hunter2" not in page
    assert "/login/with/office/back/" in page
    moved = client.post(address, form(issuer="https://evil.example"))
    assert moved.status_code == 200  # the secret was entered for another
    assert client.post(address, form(issuer="https://new.example", secret="x")).status_code == 302


@pytest.mark.parametrize(
    "issuer", ["http://id.example.org", "ftp://x", "id.example.org", "https://"]
)
def test_an_issuer_has_an_address_with_https(owner, issuer):
    browser(owner).post(reverse("admin:chat_identityprovider_add"), form(issuer=issuer))
    assert not Row.objects.exists()


def test_the_environments_provider_is_a_row_whose_secret_stays_there(settings):
    settings.OIDC = {
        "issuer": "https://id.example.org",
        "client_id": "potok",
        "secret": "of the environment",
        "name": "Work",
        "scope": "openid",
        "domains": "",
        "groups_claim": "",
        "groups": "",
        "makes_accounts": True,
    }
    Row.sync_environment()
    row = Row.objects.get()
    assert (row.slug, row.secret, row.sealed_secret) == ("sso", "of the environment", "")
    settings.OIDC = None
    Row.sync_environment()
    assert not Row.objects.get().enabled
