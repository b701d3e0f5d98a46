"""Gateways in the admin: who enters them, what is taken, and that no key gets out."""

import json
import logging
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from chat.models import Call, Conversation, Gateway, LanguageModel, Message, User
from chat.models.people import ROLES
from chat.rendering.export import as_json
from tests import rows
from tests.gateway_rows import KEY, address, administrator, fresh, own, owner, reachable
from tests.people import browser, of_role

__all__ = ["administrator", "owner", "reachable"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
COMMANDS = ("check", "list", "balance")


@pytest.fixture
def from_environment(settings):
    settings.GATEWAYS = [
        {
            "slug": "openai",
            "name": "OpenAI",
            "base_url": "https://gateway.example/v1",
            "key": KEY,
            "currency": "USD",
        }
    ]
    Gateway.sync_environment()
    return Gateway.objects.get(slug="openai")


FIELDS = {
    "name": "New",
    "slug": "new",
    "base_url": "https://new.example/v1",
    "headers": "{}",
    "currency": "USD",
    "slots": "10",
    "position": "1",
    "enabled": "on",
    "stands_in": "on",
    "takes_any_model": "on",
    "continuation": "request",
}


def save(client, gateway=None, **fields):
    place = address("change", gateway.pk) if gateway else address("add")
    as_it_is = {} if gateway is None else {"name": gateway.name, "base_url": gateway.base_url}
    sent = FIELDS | as_it_is | fields
    return client.post(place, {name: value for name, value in sent.items() if value is not None})


def errors(response):
    assert response.status_code == 200, "it was saved"
    return set(response.context["adminform"].form.errors)


# --- rights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_who_manages_gateways_may_enter_change_check_and_delete_them(role):
    client, gateway = browser(of_role(role, role)), own(base_url="http://127.0.0.1:9/v1")
    may = role in ("owner", "administrator")
    assert save(client).status_code == (302 if may else 403)
    assert Gateway.objects.filter(slug="new").exists() is may
    assert save(client, gateway, name="Other").status_code == (302 if may else 403)
    assert fresh(gateway).name == ("Other" if may else "own")
    for name in COMMANDS:
        assert client.post(address(name, gateway.pk)).status_code == (302 if may else 403)
    model = LanguageModel.objects.create(gateway=gateway, name="m")
    place = reverse("admin:chat_languagemodel_change", args=[model.pk])
    assert client.post(place, {"is_hidden": "on"}).status_code == (302 if may else 403)
    assert client.post(address("delete", gateway.pk), {"post": "yes"}).status_code == (
        302 if may else 403
    )
    assert Gateway.objects.filter(pk=gateway.pk).exists() is not may


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_a_post_with_a_token_from_somebody_who_is_logged_in(owner, name):
    gateway = own()
    assert owner.get(address(name, gateway.pk)).status_code == 405
    assert owner.post(address(name, 999_999)).status_code == 404
    assert owner.post(address(name, "nonsense")).status_code == 404
    assert Client().post(address(name, gateway.pk)).status_code == 302
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(User.objects.get(username="owner"))
    assert guarded.post(address(name, gateway.pk)).status_code == 403
    assert not Call.objects.exists()


def test_only_an_owner_allows_a_private_network(owner, administrator):
    gateway = own()
    save(administrator, gateway, is_private_allowed="on")
    assert not fresh(gateway).is_private_allowed
    save(owner, gateway, is_private_allowed="on")
    assert fresh(gateway).is_private_allowed
    # What the owner allowed was this address, and not whichever an administrator enters later.
    moved = "http://169.254.169.254/v1"
    assert save(administrator, gateway, base_url=moved, key=KEY).status_code == 302
    assert fresh(gateway).base_url == moved
    assert not fresh(gateway).is_private_allowed


# --- entering -----------------------------------------------------------------------------------


def test_a_gateway_is_entered_and_led_to_its_own_page(administrator):
    response = save(administrator, key=f" {KEY} ", headers='{"x-team": "research"}', currency="rub")
    gateway = Gateway.objects.get(slug="new")
    assert response["Location"] == address("change", gateway.pk)
    assert gateway.key == KEY
    assert (gateway.headers, gateway.currency) == ({"X-Team": "research"}, "RUB")
    assert gateway.source == "database"


def test_an_empty_key_field_keeps_the_key_and_the_box_removes_it(administrator):
    gateway = own()
    assert save(administrator, gateway).status_code == 302
    assert fresh(gateway).key == KEY
    assert errors(save(administrator, gateway, key="sk-new", clears_key="on")) == {"clears_key"}
    assert save(administrator, gateway, key="sk-new").status_code == 302
    assert fresh(gateway).key == "sk-new"
    assert save(administrator, gateway, clears_key="on").status_code == 302
    assert (fresh(gateway).key, fresh(gateway).sealed_key) == ("", "")


def test_a_key_goes_to_another_host_only_if_it_is_entered_again(administrator):
    """Who may change an address but doesn't know the key can't have it sent to themselves."""
    gateway = own(base_url="https://real.example/v1")
    for other in ("https://evil.example/v1", "http://real.example/v1", "https://real.example:8/v1"):
        assert errors(save(administrator, gateway, base_url=other)) == {"key"}
    assert save(administrator, gateway, base_url="https://real.example/api/v1").status_code == 302
    moved = "https://new.example/v1"
    assert save(administrator, gateway, base_url=moved, key="sk-new").status_code == 302
    assert (fresh(gateway).base_url, fresh(gateway).key) == (moved, "sk-new")


def test_a_new_address_voids_what_was_learned_of_the_old_one(administrator):
    gateway = own()
    gateway.replace_models(["m"])
    gateway.note_balance(Decimal(5))
    Gateway.objects.update(takes_include_usage=False)
    save(administrator, gateway, base_url="https://new.example/v1", key=KEY)
    changed = fresh(gateway)
    assert (changed.balance, changed.listed_at, changed.takes_include_usage) == (None, None, True)
    assert not changed.language_models.exists()


def test_the_name_that_calls_know_a_gateway_by_stays(administrator):
    gateway = own()
    save(administrator, gateway, slug="other")
    assert fresh(gateway).slug == "own"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_url", "ftp://host/v1"),
        ("base_url", "gateway.example/v1"),
        ("base_url", "https://"),
        ("base_url", "javascript:1"),
        ("base_url", "https://user:password@host/v1"),
        ("base_url", "https://host@127.0.0.1/v1"),
        ("base_url", "https://host\\@127.0.0.1/v1"),
        ("base_url", "https://host/v1?key=1"),
        ("base_url", "https://host/v1#a"),
        ("base_url", "https://ho st/v1"),
        ("base_url", "https://host:99999/v1"),
        ("base_url", "https://a..b/v1"),
        ("base_url", "https://[::1/v1"),
        ("key", "sk with space"),
        ("key", "sk-ключ"),
        ("key", "sk\r\nX-Other: 1"),
        ("headers", "[]"),
        ("headers", "no json"),
        ("headers", '{"X-A": 1}'),
        ("headers", '{"X-A": "1\\r\\nX-B: 2"}'),
        ("headers", '{"X-A\\r\\nX-B": "1"}'),
        ("headers", '{"X A": "1"}'),
        ("headers", '{"": "1"}'),
        ("headers", '{"X-A": "да"}'),
        ("headers", '{"Authorization": "Bearer 1"}'),
        ("headers", '{"aUTHORIZATION": "Bearer 1"}'),
        ("headers", '{"Proxy-Authorization": "1"}'),
        ("headers", '{"Cookie": "1"}'),
        ("headers", '{"Host": "other.example"}'),
        ("headers", '{"Content-Length": "0"}'),
        ("headers", '{"Transfer-Encoding": "chunked"}'),
        ("currency", "RU"),
        ("currency", "R1B"),
        ("slug", "a b"),
        ("slots", "-1"),
    ],
)
def test_what_can_not_be_right_is_refused(administrator, field, value):
    assert errors(save(administrator, **{field: value})) == {field}
    assert not Gateway.objects.exists()


def test_a_key_is_refused_among_the_headers(administrator):
    refused = save(administrator, key=KEY, headers=json.dumps({"X-Api-Key": KEY}))
    assert errors(refused) == {"headers"}


def test_errors_are_told_in_russian(administrator):
    refused = administrator.post(
        address("add"), FIELDS | {"base_url": "ftp://x"}, headers={"Accept-Language": "ru"}
    )
    assert "Адрес начинается с http:// или https://" in refused.content.decode()


# --- from the environment -----------------------------------------------------------------------


def test_of_a_gateway_from_the_environment_only_its_use_is_changed(owner, from_environment):
    saved = save(
        owner,
        from_environment,
        name="Other",
        slug="other",
        base_url="https://evil.example/v1",
        key="sk-other",
        clears_key="on",
        headers='{"X-A": "1"}',
        currency="RUB",
        enabled=None,
        is_private_allowed="on",
        slots="7",
        position="8",
        stands_in=None,
        takes_any_model=None,
    )
    assert saved.status_code == 302
    row = fresh(from_environment)
    assert (row.name, row.slug, row.base_url) == ("OpenAI", "openai", "https://gateway.example/v1")
    assert (row.key, row.sealed_key, row.headers, row.currency) == (KEY, "", {}, "USD")
    assert (row.enabled, row.is_private_allowed) == (True, False)
    decided = (7, 8, False, False)
    assert (row.slots, row.position, row.stands_in, row.takes_any_model) == decided
    Gateway.sync_environment()
    row = fresh(row)
    assert (row.slots, row.position, row.stands_in, row.takes_any_model) == decided


def test_a_gateway_from_the_environment_is_marked_and_not_deleted(owner, from_environment):
    page = owner.get(address("change", from_environment.pk)).content.decode()
    assert "environment" in page
    assert 'name="key"' not in page
    assert 'name="base_url"' not in page
    deleted = owner.post(address("delete", from_environment.pk), {"post": "yes"})
    assert deleted.status_code == 403


def test_a_gateway_that_left_the_environment_is_off_and_may_be_deleted(
    owner, from_environment, settings
):
    settings.GATEWAYS = []
    Gateway.sync_environment()
    row = fresh(from_environment)
    assert (row.enabled, row.is_from_environment, row.key) == (False, False, "")
    assert owner.post(address("delete", row.pk), {"post": "yes"}).status_code == 302
    assert not Gateway.objects.exists()


def test_calls_outlive_their_gateway(owner):
    gateway = own()
    gateway.replace_models(["m", "n"])
    reply = rows.answer(rows.ask())
    call = Call.begin(reply.generation, gateway, "m", 1)
    assert owner.post(address("delete", gateway.pk), {"post": "yes"}).status_code == 302
    call.refresh_from_db()
    assert (call.gateway, call.gateway_slug, call.currency) == (None, "own", "USD")
    assert Message.objects.filter(pk=reply.pk, text="Because.").exists()


# --- the key ------------------------------------------------------------------------------------


def test_a_key_is_on_no_page_in_no_log_no_export_no_error_and_no_history(
    owner, gateway, reachable, caplog
):
    """Whatever is done with it: entered, refused, checked, echoed by the gateway, listed, exported."""
    caplog.set_level(logging.DEBUG)
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    seen = [
        save(owner, key=KEY, base_url="nonsense"),
        save(owner, reachable, key=KEY, is_private_allowed="on"),
    ]
    for path in ("/v1/models", "/v1/chat/completions"):
        gateway.refuse(401, echo, path=path)
        seen.append(owner.post(address("check", reachable.pk), follow=True))
    assert gateway.calls, "the key was never sent"
    assert gateway.calls[0].headers["authorization"] == f"Bearer {KEY}"
    conversation = Conversation.start(User.objects.get(), "Why?", "m", reachable).conversation
    places = [
        address("changelist"),
        address("change", reachable.pk),
        address("history", reachable.pk),
        address("delete", reachable.pk),
        reverse("admin:chat_call_changelist"),
        *[reverse("admin:chat_call_change", args=[call.pk]) for call in Call.objects.all()],
        reverse("admin:chat_languagemodel_changelist"),
        reverse("admin:index"),
        "/",
        conversation.get_absolute_url(),
        f"{conversation.get_absolute_url()}export.json",
    ]
    seen += [owner.get(place) for place in places]
    assert [response.status_code for response in seen[-len(places) :]] == [200] * len(places)
    shown = [response.content.decode() for response in seen]
    history = str(list(LogEntry.objects.values()))
    assert "key" in history, "that a key was entered is known"
    calls = str(list(Call.objects.values()))
    assert "***" in calls
    texts = [*shown, history, calls, caplog.text, str(as_json(conversation))]
    texts += [str(list(Gateway.objects.values())), str(vars(fresh(reachable)))]
    assert [text for text in texts if KEY in text] == []
    page = next(text for text in shown if "…7f3a" in text)
    assert page
