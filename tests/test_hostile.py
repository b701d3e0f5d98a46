"""Characters that nobody types, at every entrance: none of them is an error of ours."""

import re
from urllib.parse import quote

import pytest
from django.contrib.admin import site
from django.test import Client

from chat.models import User
from tests.access import ADDRESSES, World
from tests.people import browser
from tests.rows import answer, ask

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
PASSWORD = "a-long-password-1"
# As they stand in an address or a form: NUL, an escape, a lone surrogate, no UTF-8 at all, a number
# longer than Python reads, one beyond every column, a formula, a way out of a header.
PAYLOADS = {
    "NUL": "%00",
    "NUL in a word": "a%00b",
    "escape": "%1B[31m",
    "surrogate": "%ED%A0%80",
    "no UTF-8": "%FF%FE",
    "long number": "9" * 5_000,
    "large number": "9223372036854775808",
    "negative": "-1",
    "line ends": "a%0D%0ASet-Cookie:%20b=c",
    "quotes": "%27%22%60%29%3B--",
    "wildcards": "%25_%5C*",
}
# Every name that a form or an address of ours knows.
NAMES = """text model gateway client_key parent title q before after at compose next username
    password password1 password2 old_password new_password1 new_password2 code invitation
    credential name theme language time_zone enter_sends default_model rating comment saved state
    error pinned system_prompt temperature max_tokens top_p stop confirm reason why p o e from to
    currency period scope user group since until""".split()


@pytest.fixture
def owner():
    return User.create_owner("owner", PASSWORD)


@pytest.fixture
def client(owner):
    return browser(owner)


def fields(payload: str, names: list[str]) -> str:
    return "&".join(f"{name}={payload}" for name in names)


def post(client: Client, path: str, body: str):
    return client.post(path, body, content_type="application/x-www-form-urlencoded")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_character_in_a_form_or_an_address_is_an_error(payload):
    world, client = World(), Client()
    owner = world.people["owner"]
    owner.set_password(PASSWORD)
    owner.save()
    asked = fields(PAYLOADS[payload], NAMES)
    # What deletes comes last.
    for name, at in sorted(ADDRESSES.items(), key=lambda each: "delete" in each[0]):
        path = at.path.format(**world.ids)
        client.force_login(owner)
        # An exception of a view is raised here.
        codes = [client.get(f"{path}?{asked}").status_code]
        if at.post != 405:
            codes += [post(client, f"{path}?{asked}", asked).status_code]
        # A process that is only tested is not ready: 503.
        assert 500 not in codes, name


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_character_in_a_login_is_an_error(owner, payload):
    for path in ("/login/", "/login/code/", "/login/passkey/", "/signup/", "/admin/login/"):
        stranger = Client()
        asked = fields(PAYLOADS[payload], NAMES)
        assert stranger.get(f"{path}?{asked}").status_code < 500
        assert post(stranger, path, asked).status_code < 500


def narrowed_by(page) -> list[str]:
    """The parameters of a list's filters."""
    found = [each[0] if isinstance(each, tuple) else each for each in page.list_filter]
    by_column = [name for name in found if isinstance(name, str)]
    return [
        *(getattr(each, "parameter_name", "id") for each in found if not isinstance(each, str)),
        *(f"{name}{lookup}" for name in by_column for lookup in ("", "__exact", "__gte")),
        "id",
    ]


@pytest.mark.parametrize("payload", ["NUL in a word", "surrogate", "long number", "large number"])
def test_no_character_in_the_administration_is_an_error(client, payload):
    for model, page in site._registry.items():
        lists = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        for name in ("q", "p", "o", "e", *narrowed_by(page)):
            found = client.get(f"{lists}?{name}={PAYLOADS[payload]}")
            assert found.status_code < 500, (lists, name)
        asked = fields(PAYLOADS[payload], [field.name for field in model._meta.fields])
        assert client.get(f"{lists}{PAYLOADS[payload]}/change/").status_code < 500
        assert post(client, f"{lists}add/", asked).status_code < 500
        assert (
            post(client, lists, f"action={PAYLOADS[payload]}&_selected_action=1").status_code < 500
        )


@pytest.mark.parametrize("value", ["\\000aaaaaaaa", "\\200aaaaaaaa", "aaaaaaaa\\012", "aaaa"])
def test_a_session_cookie_of_any_characters_is_nobodys(owner, value):
    found = Client().get("/", headers={"cookie": f'sessionid="{value}"'})
    assert found.status_code == 302
    assert found["Location"].startswith("/login/")


@pytest.mark.parametrize("name", ["csrftoken", "zone", "theme", "django_language", "messages"])
@pytest.mark.parametrize("value", ["\\000aaaaaaaa", "\\200aaaaaaaa", "aaaaaaaa\\012"])
def test_other_cookies_may_hold_anything(owner, name, value):
    found = Client().get("/login/", headers={"cookie": f'{name}="{value}"'})
    assert found.status_code == 200


def test_a_name_of_a_conversation_makes_no_header(client):
    reply = answer(ask("A question"))
    title = 'x"\r\nSet-Cookie: a=b; filename="../../etc/passwd'
    client.post(f"/c/{reply.conversation.uuid}/rename/", {"title": title})
    for path in (f"/c/{reply.conversation.uuid}/export.json", "/settings/data.zip"):
        found = client.get(path)
        assert found.status_code == 200
        assert not re.search(r"[\r\n/\\]", found.headers.get("Content-Disposition", ""))
        assert "a" not in found.cookies
    assert quote("passwd") not in str(found.headers)


@pytest.mark.parametrize("charset", ["utf-16", "rot13", "base64_codec", "nonsense", "utf-8"])
def test_a_form_is_utf_8_whatever_it_says(server, charset):
    visitor = server.visitor()
    visitor.get("/login/")
    told = len(server.log)
    token = visitor.http.cookies["csrftoken"]
    answer = visitor.http.post(
        "/login/",
        content=f"csrfmiddlewaretoken={token}&username=",
        headers={"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"},
    )
    assert answer.status_code == 422
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "Traceback" not in server.log[told:]
