"""Gateways in the admin: who enters them, what is taken, what Check says, and that no key gets out."""

import html
import json
import logging
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Call, Conversation, Gateway, LanguageModel, Message, User
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.people import ROLES
from chat.rendering.export import as_json
from tests import rows
from tests.people import browser
from tests.script import usage_of

pytestmark = pytest.mark.django_db
KEY = "sk-a-very-secret-key-7f3a"
COMMANDS = ("check", "list", "balance")


@pytest.fixture(autouse=True)
def in_process(settings, tmp_path):
    """Static files under plain addresses, as none are collected; passwords that cost nothing."""
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": storage}
    settings.STATIC_ROOT = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def person(role):
    if role == "owner":
        return User.create_owner("owner", "a-long-password-1")
    user = User.objects.create_user(role, password="a-long-password-1")
    user.groups.add(Group.objects.get(name=role))
    return user


@pytest.fixture
def owner():
    return browser(person("owner"))


@pytest.fixture
def administrator():
    return browser(person("administrator"))


def own(slug="own", **facts):
    """A gateway of the database, with a key."""
    gateway = rows.gateway(slug)
    gateway.key = KEY
    for name, value in facts.items():
        setattr(gateway, name, value)
    gateway.save()
    return gateway


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


def address(name, *args):
    return reverse(f"admin:chat_gateway_{name}", args=args)


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


def fresh(gateway):
    return Gateway.objects.get(pk=gateway.pk)


def command(client, name, gateway, **fields):
    """Give a command by its button; returns what the page says then."""
    place = address("change", gateway.pk)
    response = client.post(address(name, gateway.pk), fields)
    assert (response.status_code, response["Location"]) == (302, place)
    page = client.get(place)
    return [str(message) for message in page.context["messages"]]


# --- rights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_who_manages_gateways_may_enter_change_check_and_delete_them(role):
    client, gateway = browser(person(role)), own(base_url="http://127.0.0.1:9/v1")
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


# --- check --------------------------------------------------------------------------------------


@pytest.fixture
def reachable(gateway):
    """The scripted gateway's row; an owner has allowed that it lies on this machine."""
    return own(base_url=gateway.url, is_private_allowed=True)


def test_check_lists_times_and_accounts(owner, gateway, reachable):
    gateway.models = [{"id": "m-1"}, {"id": "m-2"}]
    gateway.reply("Hi", finish="length", usage=usage_of(8, 1))
    listed, answered = command(owner, "check", reachable)
    assert listed.startswith("2 models listed in 0.")
    assert answered.startswith("One token from m-1 in 0.")
    (asked,) = gateway.calls
    assert asked.json["max_tokens"] == 1
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    call = Call.objects.get()
    assert (call.purpose, call.gateway, call.model) == ("check", reachable, "m-1")
    assert (call.prompt_tokens, call.completion_tokens, call.confidence) == (8, 1, "exact")
    assert call.user.username == "owner"
    assert call.ended_at is not None
    assert [m.name for m in reachable.language_models.all()] == ["m-1", "m-2"]


def test_check_asks_the_model_that_is_named_or_is_the_default(owner, gateway, reachable):
    gateway.models = [{"id": "m-1"}, {"id": "m-2"}]
    reachable.replace_models(["m-1", "m-2"])
    LanguageModel.objects.filter(name="m-2").update(is_default=True)
    command(owner, "check", reachable)
    command(owner, "check", reachable, model="typed/one:free")
    assert [call.json["model"] for call in gateway.calls] == ["m-2", "typed/one:free"]
    assert command(owner, "check", reachable, model="a\nb") == ["This is not a model's name."]


def test_a_model_that_thinks_its_only_token_away_has_answered(owner, gateway, reachable):
    gateway.reply(finish="length", usage=usage_of(8, 1))
    assert "One token from" in command(owner, "check", reachable)[1]
    assert Call.objects.get().completion_tokens == 1


def test_a_model_of_newer_ways_is_asked_in_newer_ways(owner, gateway, reachable):
    why = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    gateway.refuse(400, {"error": {"message": why}})
    gateway.reply("Hi")
    assert "One token from" in command(owner, "check", reachable)[1]
    assert gateway.calls[1].json["max_completion_tokens"] == 1
    assert list(fresh(reachable).refused_parameters.values()) == [["max_tokens"]]
    assert "max_tokens" not in gateway.calls[1].json
    assert [call.error_kind for call in Call.objects.all()] == ["bad_request", ""]


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, {"error": {"message": f"Wrong key {KEY}"}}, "refuses the key. (Wrong key ***)"),
        (404, "", "knows no such address"),
        (200, "<html>hello</html>", "A web page answers here"),
        (200, "nonsense", "OpenAI-compatible"),
        (500, "", "error of its own (500)"),
        (200, {"data": []}, "lists no models"),
        (200, {"hello": "world"}, "lists no models"),
    ],
)
def test_what_is_wrong_with_the_list_is_said(owner, gateway, reachable, status, body, sentence):
    gateway.refuse(status, body, path="/v1/models")
    said = command(owner, "list", reachable)
    assert len(said) == 1
    assert sentence in said[0]
    assert KEY not in said[0]
    if "lists no models" not in sentence:
        state = owner.get(address("changelist")).content.decode()
        assert sentence.partition(" (")[0] in html.unescape(state)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (402, {"error": {"message": "Top up"}}, "balance is used up. (Top up)"),
        (404, {"error": {"message": "model m not found"}}, "doesn't know this model"),
        (429, "", "takes no more requests"),
        (200, "<html>hello</html>", "A web page answers here"),
    ],
)
def test_what_is_wrong_with_the_answer_is_said(owner, gateway, reachable, status, body, sentence):
    gateway.refuse(status, body)
    said = command(owner, "check", reachable, model="m")
    assert said[1].startswith("No answer from m.")
    assert sentence in said[1]
    assert Call.objects.get().error_kind


def test_an_address_that_nobody_listens_at_is_said_and_asked_once(owner, gateway, reachable):
    Gateway.objects.update(base_url="http://127.0.0.1:9/v1")
    (said,) = command(owner, "check", fresh(reachable))
    assert "Nothing answers at this address" in said
    assert not Call.objects.exists()


def test_an_address_in_a_private_network_is_said_and_not_asked(owner, gateway, reachable):
    Gateway.objects.update(is_private_allowed=False)
    (said,) = command(owner, "check", fresh(reachable))
    assert "private network" in said
    assert gateway.requests == []


def test_a_key_that_can_not_be_unsealed_is_said_and_breaks_no_page(owner, reachable):
    Gateway.objects.update(sealed_key="nonsense")
    (said,) = command(owner, "check", fresh(reachable))
    assert "can't be unsealed" in said
    assert "can't be unsealed" in owner.get(address("changelist")).content.decode().replace(
        "&#x27;", "'"
    )


def test_a_refused_include_usage_is_learned(owner, gateway, reachable):
    gateway.refuse(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "extra"}]})
    gateway.reply("Hi")
    command(owner, "check", reachable)
    assert not fresh(reachable).takes_include_usage


# --- balance ------------------------------------------------------------------------------------


def spend(gateway, nano, days_ago=0, currency="RUB"):
    Call.objects.create(
        gateway=gateway,
        gateway_slug=gateway.slug,
        user_key=User.objects.first().key,
        model="m",
        cost_nano=nano,
        currency=currency,
        started_at=timezone.now() - timedelta(days=days_ago),
    )


def test_the_balance_is_shown_with_the_days_that_it_lasts(owner, gateway):
    row = own("aitunnel", base_url=gateway.url, is_private_allowed=True, currency="RUB")
    spend(row, 70 * 10**9, days_ago=1)
    spend(row, 999 * 10**9, days_ago=8)
    spend(row, 999 * 10**9, currency="USD")
    gateway.refuse(200, {"balance": 123.45}, path="/v1/aitunnel/balance")
    assert command(owner, "balance", row) == ["Balance: 123.45 RUB."]
    for page in (address("changelist"), address("change", row.pk)):
        shown = owner.get(page).content.decode()
        assert "123.45 RUB · lasts 12 days" in shown


def test_check_refreshes_the_balance(owner, gateway):
    row = own("aitunnel", base_url=gateway.url, is_private_allowed=True, currency="RUB")
    gateway.refuse(200, {"balance": -3}, path="/v1/aitunnel/balance")
    assert command(owner, "check", row)[-1] == "Balance: -3 RUB."
    assert fresh(row).balance == -3


def test_a_gateway_without_a_way_to_ask_says_so(owner, reachable):
    assert command(owner, "balance", reachable) == [
        "This gateway has no way to ask for the balance."
    ]
    assert fresh(reachable).balance is None


def test_a_balance_that_is_unknown_is_a_dash(owner):
    shown = owner.get(address("change", own().pk)).content.decode()
    assert "None" not in shown


def test_nothing_spent_makes_no_days(owner):
    gateway = own()
    gateway.note_balance(Decimal(5))
    assert "5 USD" in owner.get(address("changelist")).content.decode()
    assert "lasts" not in owner.get(address("changelist")).content.decode()


def test_the_list_costs_no_query_more_for_each_gateway(owner, django_assert_max_num_queries):
    for number in range(8):
        gateway = own(f"g{number}")
        gateway.note_balance(Decimal(5))
        spend(gateway, 10**9, currency="USD")
    with django_assert_max_num_queries(6):
        assert "lasts 35 days" in owner.get(address("changelist")).content.decode()


# --- models -------------------------------------------------------------------------------------


def test_an_administrator_marks_models_and_keeps_them_to_groups(administrator):
    gateway = own()
    gateway.replace_models(["a", "b"])
    first, second = LanguageModel.objects.order_by("name")
    group = Group.objects.create(name="researchers")
    place = "admin:chat_languagemodel_change"
    marks = {"is_default": "on", "is_title_model": "on", "groups": [group.pk]}
    assert administrator.post(reverse(place, args=[first.pk]), marks).status_code == 302
    assert list(first.groups.all()) == [group]
    assert (
        administrator.post(reverse(place, args=[second.pk]), {"is_default": "on"}).status_code
        == 302
    )
    default, titles = (
        LanguageModel.objects.get(**{mark: True}).name for mark in ("is_default", "is_title_model")
    )
    assert (default, titles) == ("b", "a")
    gateway.replace_models(["b", "a"])
    assert LanguageModel.objects.get(is_title_model=True).groups.get() == group


def test_models_are_hidden_and_shown_by_the_dozen(administrator):
    gateway = own()
    gateway.replace_models(["a", "b", "c"])
    chosen = [model.pk for model in LanguageModel.objects.exclude(name="c")]
    place = reverse("admin:chat_languagemodel_changelist")
    for action, hidden in (("hide", {"a", "b"}), ("show", set())):
        sent = {"action": action, "_selected_action": chosen}
        assert administrator.post(place, sent).status_code == 302
        found = LanguageModel.objects.filter(is_hidden=True).values_list("name", flat=True)
        assert set(found) == hidden


def test_only_a_model_that_is_listed_no_more_may_be_deleted(administrator):
    gateway = own()
    gateway.replace_models(["a", "b"])
    LanguageModel.objects.update(is_hidden=True)
    gateway.replace_models(["b"])
    for name, status in (("a", 302), ("b", 403)):
        pk = LanguageModel.objects.get(name=name).pk
        place = reverse("admin:chat_languagemodel_delete", args=[pk])
        assert administrator.post(place, {"post": "yes"}).status_code == status


def test_the_list_of_models_is_a_page_and_not_a_query_each(
    administrator, django_assert_max_num_queries
):
    own().replace_models([f"m{number}" for number in range(60)])
    with django_assert_max_num_queries(14):
        page = administrator.get(reverse("admin:chat_languagemodel_changelist"))
    assert page.context["cl"].result_count == 60


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


# --- how it does --------------------------------------------------------------------------------


def failed(gateway, kind="server", hours_ago=1, **facts):
    """A call of today's, or of hours ago, that ended so."""
    caller = User.objects.first()
    call = Call.begin_check(caller, gateway, "m", Weight(1, 1))
    moment = timezone.now() - timedelta(hours=hours_ago)
    Call.objects.filter(pk=call.pk).update(started_at=moment)
    Call.end(CallEnd(call.pk, error_kind=kind, **facts))
    return call


def test_the_list_tells_todays_errors_and_the_last_one(owner):
    gateway = own()
    failed(gateway, "rate_limit", hours_ago=0)
    failed(gateway, "server", hours_ago=0)
    failed(gateway, "", hours_ago=0)
    failed(own("other"), "auth", hours_ago=24 * 8)
    shown = owner.get(address("changelist"))
    other, first = sorted(shown.context["cl"].result_list, key=lambda row: row.slug != "other")
    assert (first.failed_today, first.calls_today) == (2, 3)
    assert first.last_error_kind == "server"
    assert (other.calls_today, other.last_error_kind) == (None, None)
    assert "2 / 3" in shown.content.decode()


def test_a_gateways_page_lists_its_last_errors_without_their_words(owner, administrator):
    gateway = own()
    call = failed(gateway, "server", error_message="quotes a private word", http_status=503)
    for client in (owner, administrator):
        page = client.get(address("change", gateway.pk)).content.decode()
        assert "Errors of the last 7 days" in page
        assert f"/admin/chat/call/{call.pk}/change/" in page
        assert ">503<" in page
        assert "quotes a private word" not in page
    assert "Errors of the last" not in owner.get(address("change", own("b").pk)).content.decode()


def test_check_now_stands_in_the_list(administrator, gateway):
    row = own(base_url=gateway.url, is_private_allowed=True)
    gateway.reply("Hi")
    shown = administrator.get(address("changelist")).content.decode()
    place = address("check", row.pk)
    assert f'<button form="row-command" formaction="{place}" name="check">' in shown
    assert '<form id="row-command" method="post">' in shown
    assert administrator.post(place).status_code == 302


def test_a_balance_that_runs_out_is_marked(owner):
    gateway = own()
    gateway.note_balance(Decimal(5))
    assert 'class="bad"' not in owner.get(address("changelist")).content.decode()
    spend(gateway, 20 * 10**9, currency="USD")
    assert (
        '<span class="bad">5 USD · lasts 1 day' in owner.get(address("changelist")).content.decode()
    )


def test_each_balance_that_is_asked_is_kept(owner):
    gateway = own()
    gateway.note_balance(Decimal(5))
    gateway.note_balance(None)
    gateway.note_balance(Decimal("4.5"))
    assert [balance.amount for balance in gateway.balances.all()] == [5, Decimal("4.5")]
