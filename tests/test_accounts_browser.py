"""Ways in, in a real Chromium: without JavaScript, and with an authenticator of its own."""

import base64
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from chat.models.second_factors import STEP_S, code_at
from tests.server import PASSWORD, Client

AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def code_of(secret: str, steps: int = 0) -> str:
    return code_at(base64.b32decode(secret), int(time.time()) // STEP_S + steps)


def log_in(page: Page, name: str, base: str = "") -> None:
    page.goto(f"{base}/login/")
    page.locator("[name=username]").fill(name)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main form button").first.click()


@pytest.fixture
def turned_on(server) -> tuple[str, str, list[str]]:
    """A person's name, their device's secret and their recovery codes."""
    count = getattr(server, "two_steppers", 0)
    server.two_steppers = count + 1
    name = f"stepper{count}"
    client = server.add_user(name)
    client.post("/settings/second-factor/begin/", {"password": PASSWORD})
    secret = _between(
        client.get("/settings/second-factor/").text, '<code class="secret" dir="ltr">'
    )
    answer = client.post("/settings/second-factor/confirm/", {"code": code_of(secret)})
    codes = [part.partition("<")[0] for part in answer.text.split("<li><code>")[1:]]
    assert len(codes) == 10
    return name, secret, codes


def _between(text: str, before: str) -> str:
    return text.partition(before)[2].partition("<")[0]


def test_two_steps_log_in_without_javascript(server, turned_on, open_page):
    name, secret, codes = turned_on
    page = open_page(server.visitor(), java_script_enabled=False)
    log_in(page, name)
    expect(page).to_have_url(f"{server.url}/login/code/")
    page.locator("[name=code]").fill(code_of(secret, 1))
    page.locator("main form button").click()
    expect(page).to_have_url(f"{server.url}/")
    page.context.clear_cookies()
    log_in(page, name)
    page.get_by_role("link", name="Use a recovery code").click()
    page.locator("[name=code]").fill(codes[0])
    page.locator("main form button").click()
    expect(page).to_have_url(f"{server.url}/")


def test_no_socket_opens_between_the_steps(server, turned_on):
    name, secret, _codes = turned_on
    client: Client = server.visitor()
    client.get("/login/")
    first = client.post("/login/", {"username": name, "password": PASSWORD})
    assert first.headers["Location"] == "/login/code/"
    with client.socket() as socket:
        assert socket.wait_closed() == 4401
    assert client.post("/login/code/", {"code": code_of(secret, 1)}).status_code == 302
    with client.socket() as socket:
        socket.receive_until("hello")


@pytest.fixture
def localhost(server) -> str:
    """The same server by the name under which browsers allow passkeys."""
    return f"http://localhost:{server.port}"


def with_authenticator(page: Page, **options: object):
    cdp = page.context.new_cdp_session(page)
    cdp.send("WebAuthn.enable")
    added = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR | options})
    return cdp, added["authenticatorId"]


def add_passkey(page: Page, localhost: str, name: str) -> None:
    page.goto(f"{localhost}/settings/passkeys/")
    page.locator("[data-passkey] [name=name]").fill(name)
    page.locator("[data-passkey] [name=password]").fill(PASSWORD)
    page.locator("[data-passkey] button").click()


def test_a_passkey_is_added_and_logs_in_by_itself(server, localhost, open_page):
    server.add_user("keyholder")
    page = open_page(server.visitor())
    cdp, authenticator = with_authenticator(page)
    log_in(page, "keyholder", localhost)
    add_passkey(page, localhost, "This laptop")
    expect(page.get_by_role("status")).to_have_text("The passkey is added.", timeout=30_000)
    expect(page.locator(".rows")).to_contain_text("This laptop")
    kept = cdp.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})["credentials"]
    assert [each["rpId"] for each in kept] == ["localhost"]

    page.context.clear_cookies()
    page.goto(f"{localhost}/login/?next=/settings/")
    page.get_by_role("button", name="Log in with a passkey").click()
    # The first one has the server load what it takes, which a busy machine takes its time for.
    expect(page).to_have_url(f"{localhost}/settings/", timeout=30_000)

    page.goto(f"{localhost}/settings/passkeys/")
    page.get_by_role("button", name="Remove This laptop").click()
    expect(page.locator(".rows")).to_have_count(0)


@pytest.fixture
def invitation(server, owner) -> Iterator[str]:
    """The token of one, while the owner lets people in by them."""
    names = "from chat.models import AccountPolicy, Invitation, User"
    policy = "AccountPolicy.objects.update_or_create(pk=1, defaults={'sign_up': '%s'})"
    make = "print(Invitation.make(User.objects.get(username='owner'))[1])"
    code = f"{names}; {policy % 'invitation'}; {make}"
    yield server.manage("shell", "-v0", "-c", code).strip()
    server.manage("shell", "-v0", "-c", f"{names}; {policy % 'closed'}")


def test_who_is_invited_makes_an_account_and_comes_back_by_a_passkey(
    server, localhost, open_page, invitation
):
    page = open_page(server.visitor())
    with_authenticator(page)
    page.goto(f"{localhost}/signup/?invitation={invitation}")
    page.locator("[name=username]").fill("guest")
    page.locator("[name=password1]").fill(PASSWORD)
    page.locator("[name=password2]").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page).to_have_url(f"{localhost}/")
    add_passkey(page, localhost, "Tablet")
    expect(page.get_by_role("status")).to_have_text("The passkey is added.", timeout=30_000)

    page.context.clear_cookies()
    page.goto(f"{localhost}/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    expect(page).to_have_url(f"{localhost}/", timeout=30_000)
    page.goto(f"{localhost}/settings/")
    expect(page.locator("main")).to_contain_text("You are logged in as guest.")
    # The link was for one account.
    stranger = server.visitor().get(f"/signup/?invitation={invitation}")
    assert stranger.status_code == 404


def test_a_login_elsewhere_is_seen_and_ended(server, open_page, complaints):
    here, there = open_page(server.add_user("traveller")), open_page(server.visitor())
    log_in(there, "traveller")
    there.locator("body[data-connection=live]").wait_for()
    here.goto("/settings/")
    here.get_by_role("link", name="Where you are logged in").click()
    # add_user came by no browser; its cookie is what this window shows.
    this, other = here.locator(".rows li", has_text="this browser"), here.locator(".rows li").first
    expect(this).to_have_count(1)
    expect(other.locator("strong")).to_have_text("Chrome on Linux")
    complaints[1].allow("status of 401")
    other.get_by_role("button").click()
    expect(here.get_by_role("status")).to_contain_text("Logged out there.")
    expect(here.locator(".rows li")).to_have_count(1)
    there.locator("body:not([data-connection=live])").wait_for(timeout=5_000)
    there.goto("/")
    expect(there).to_have_url(f"{server.url}/login/?next=/")


@pytest.mark.parametrize("locale", ["ru"])
def test_what_goes_wrong_is_said_in_the_readers_language(
    server, localhost, open_page, complaints, locale
):
    server.add_user("keyholder2")
    page = open_page(server.visitor())
    cdp, authenticator = with_authenticator(page)
    log_in(page, "keyholder2", localhost)
    add_passkey(page, localhost, "Ноутбук")
    expect(page.get_by_role("status")).to_have_text("Ключ доступа добавлен.", timeout=30_000)
    add_passkey(page, localhost, "Ноутбук")
    said = page.locator("[data-said]")
    expect(said).to_have_text("На этом устройстве уже есть ваш ключ доступа.")
    page.context.clear_cookies()
    cdp.send(
        "WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False}
    )
    page.goto(f"{localhost}/login/")
    page.locator("[data-passkey] button").click()
    expect(said).to_have_text(
        "Ничего не сделано: действие отменено или заняло слишком много времени."
    )
    complaints[0].allow("status of 422")
    cdp.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": True})
    gone = "Passkey.objects.filter(user__username='keyholder2').update(credential_id='gone')"
    server.manage("shell", "-v0", "-c", f"from chat.models import Passkey; {gone}")
    page.locator("[data-passkey] button").click()
    expect(page.get_by_role("alert").first).to_contain_text("Этот ключ доступа здесь не подходит.")
