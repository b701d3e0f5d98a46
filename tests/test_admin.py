"""The admin: who may see what, that nobody changes history, and that what is shown is exact."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.admin.figures import money, total
from chat.admin.read_only import CappedPaginator
from chat.admin.search import fold
from chat.models import (
    Budget,
    Call,
    Conversation,
    Erasure,
    Feedback,
    Gateway,
    Generation,
    Hold,
    IdentityProvider,
    Invitation,
    LanguageModel,
    Message,
    Price,
    Rate,
    ReadLog,
    Retention,
    Scale,
    User,
    erasure,
)
from chat.models.calls import CallEnd
from chat.models.generations import Checkpoint, Outcome
from chat.models.people import ROLES
from tests.people import browser

pytestmark = pytest.mark.django_db

SECRET = "the-secret-of-the-gateway-7f3a"
NANO_UNIT = 1_000_000_000


@pytest.fixture(autouse=True)
def in_process(settings, tmp_path):
    """Static files under plain addresses, as none are collected; passwords that cost nothing."""
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": storage}
    settings.STATIC_ROOT = tmp_path
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def people():
    """One person of each role."""
    found = {"owner": User.create_owner("owner", "a-long-password-1")}
    for role in ROLES[1:]:
        found[role] = User.objects.create_user(role, password="a-long-password-1")
        found[role].groups.add(Group.objects.get(name=role))
    return found


@pytest.fixture
def gateway(settings):
    settings.GATEWAYS = [
        {
            "slug": "openai",
            "name": "OpenAI",
            "base_url": "https://gateway.example/v1",
            "key": SECRET,
            "currency": "USD",
        }
    ]
    Gateway.sync_environment()
    return Gateway.objects.get(slug="openai")


@pytest.fixture
def conversation(people, gateway):
    """The member's: a question, a first answer, and a second one that failed."""
    reply = ask(people["member"], "How do rivers begin?", gateway)
    answer(reply, "They begin **high up**.", **USAGE)
    answer(reply.regenerate(), "", Outcome("failed", "", "server", "upstream said no"))
    return reply.conversation


USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 30,
    "total_tokens": 42,
    "confidence": "exact",
    "cost_nano": 1_000_000_001,
    "cost_confidence": "exact",
    "currency": "USD",
    "usage_raw": '{"prompt_tokens": 12, "completion_tokens": 30}',
    "request_id": "req-1",
}


def ask(owner, text, gateway, model="gpt-4o"):
    return Conversation.start(owner, text, model, gateway)


def answer(reply, text, outcome=Outcome("complete", "stop"), currency="", **usage):  # noqa: B008
    """Run the queued reply to its end, as a runner would."""
    generation = Generation.claim("test")
    assert generation is not None
    assert generation.message_id == reply.pk
    call = Call.objects.create(
        generation=generation,
        message=reply,
        gateway=reply.gateway,
        gateway_slug=reply.gateway.slug,
        user=generation.user,
        user_key=generation.user.key,
        model=reply.model,
    )
    if text:
        Generation.checkpoint([Checkpoint(generation.pk, generation.fence, (0, 0), "", text, 5)])
    end = CallEnd(
        call.pk,
        error_kind=outcome.error_kind,
        error_message=outcome.error_message,
        finish_reason=outcome.finish_reason,
        currency=currency,
        **usage,
    )
    assert Generation.finish(generation.pk, generation.fence, outcome, end)
    reply.refresh_from_db()
    return reply


def address(name, *args):
    return reverse(f"admin:{name}", args=args)


# --- who may see what -------------------------------------------------------------------------

NOBODY = set()
READERS = {"owner", "reviewer"}
PAGES = {
    "index": {"owner", "administrator", "reviewer", "analyst"},
    "why": READERS,
    "spend": {"owner", "administrator", "reviewer", "analyst"},
    "chat_conversation_changelist": {"owner", "administrator", "reviewer", "analyst"},
    "chat_conversation_export": {"owner", "administrator", "reviewer", "analyst"},
    "chat_conversation_change": READERS,
    "chat_conversation_history": READERS,
    "chat_conversation_replay": READERS,
    "chat_conversation_add": NOBODY,
    "chat_conversation_delete": NOBODY,
    "chat_feedback_changelist": READERS,
    "chat_feedback_export": READERS,
    "chat_feedback_change": READERS,
    "chat_feedback_history": READERS,
    "chat_feedback_add": NOBODY,
    "chat_feedback_delete": NOBODY,
    "chat_readlog_changelist": {"owner", "administrator"},
    "chat_readlog_export": {"owner", "administrator"},
    "chat_readlog_add": NOBODY,
    "chat_readlog_delete": NOBODY,
    "chat_generation_changelist": {"owner", "administrator", "reviewer"},
    "chat_generation_add": NOBODY,
    "chat_generation_delete": NOBODY,
    "chat_call_changelist": {"owner", "administrator", "reviewer", "analyst"},
    "chat_call_export": {"owner", "administrator", "reviewer", "analyst"},
    "chat_call_change": {"owner", "administrator", "reviewer", "analyst"},
    "chat_call_add": NOBODY,
    "chat_call_delete": NOBODY,
    "chat_user_changelist": {"owner", "administrator"},
    "chat_user_export": {"owner", "administrator"},
    "chat_user_change": {"owner", "administrator"},
    "chat_user_add": {"owner", "administrator"},
    "chat_user_delete": NOBODY,
    "chat_user_data": {"owner"},
    "chat_user_erase": {"owner", "administrator"},
    "chat_scale_changelist": {"owner", "administrator"},
    "chat_scale_add": {"owner", "administrator"},
    "chat_scale_change": {"owner", "administrator"},
    "chat_scale_delete": {"owner", "administrator"},
    "chat_retention_changelist": {"owner", "administrator"},
    "chat_retention_due": {"owner", "administrator"},
    "chat_retention_add": {"owner", "administrator"},
    "chat_retention_change": {"owner", "administrator"},
    "chat_retention_delete": {"owner", "administrator"},
    "chat_hold_changelist": {"owner", "administrator"},
    "chat_hold_add": {"owner", "administrator"},
    "chat_hold_change": {"owner", "administrator"},
    "chat_hold_delete": NOBODY,
    "chat_erasure_changelist": {"owner", "administrator"},
    "chat_erasure_change": {"owner", "administrator"},
    "chat_erasure_add": NOBODY,
    "chat_erasure_delete": NOBODY,
    "auth_user_password_change": {"owner", "administrator"},
    "chat_invitation_changelist": {"owner", "administrator"},
    "chat_invitation_add": {"owner", "administrator"},
    "chat_invitation_change": {"owner", "administrator"},
    "chat_invitation_delete": NOBODY,
    "chat_accountpolicy_changelist": {"owner"},
    "chat_accountpolicy_change": {"owner"},
    "chat_accountpolicy_add": NOBODY,
    "chat_accountpolicy_delete": NOBODY,
    "chat_identityprovider_changelist": {"owner"},
    "chat_identityprovider_add": {"owner"},
    "chat_identityprovider_change": {"owner"},
    "chat_identityprovider_delete": {"owner"},
    "auth_group_changelist": {"owner", "administrator"},
    "auth_group_add": {"owner", "administrator"},
    "auth_group_change": {"owner", "administrator"},
    "auth_group_delete": NOBODY,  # the role's group, see below
    "chat_gateway_changelist": {"owner", "administrator"},
    "chat_gateway_change": {"owner", "administrator"},
    "chat_gateway_add": {"owner", "administrator"},
    "chat_gateway_delete": NOBODY,  # one from the environment, see test_gateways_admin.py
    "chat_languagemodel_changelist": {"owner", "administrator"},
    "chat_languagemodel_change": {"owner", "administrator"},
    "chat_languagemodel_add": NOBODY,
    "chat_languagemodel_delete": NOBODY,
    "chat_budget_changelist": {"owner", "administrator", "analyst"},
    "chat_budget_change": {"owner", "administrator", "analyst"},
    "chat_budget_history": {"owner", "administrator", "analyst"},
    "chat_budget_add": {"owner", "administrator"},
    "chat_budget_delete": {"owner", "administrator"},
    "chat_price_changelist": {"owner", "administrator", "reviewer", "analyst"},
    "chat_price_add": {"owner", "administrator"},
    "chat_price_delete": NOBODY,
    "chat_rate_changelist": {"owner", "administrator", "reviewer", "analyst"},
    "chat_rate_add": {"owner", "administrator"},
    "chat_rate_delete": NOBODY,
}


@pytest.fixture
def url_of(people, conversation, gateway):
    ask(people["member"], "Still running", gateway)
    pks = {
        "conversation": conversation.pk,
        "feedback": Feedback.objects.create(
            message=conversation.messages.last(), rating=Feedback.Rating.DOWN
        ).pk,
        "readlog": 1,
        "generation": Generation.objects.last().pk,
        "call": Call.objects.first().pk,
        "user": people["member"].pk,
        "group": Group.objects.get(name="analyst").pk,
        "invitation": Invitation.make(people["owner"])[0].pk,
        "accountpolicy": 1,
        "identityprovider": IdentityProvider.objects.create(
            slug="id", issuer="https://id.example"
        ).pk,
        "gateway": gateway.pk,
        "languagemodel": LanguageModel.objects.create(gateway=gateway, name="gpt-4o").pk,
        "budget": Budget.objects.create(tokens=1000).pk,
        "price": Price.objects.create(
            gateway=gateway, model="gpt-4o", currency="USD", prompt=1, completion=2
        ).pk,
        "rate": Rate.objects.create(currency="USD", into="RUB", rate=90).pk,
        "retention": Retention.objects.get_or_create(group=None)[0].pk,
        "scale": Scale.objects.create(name="accuracy").pk,
        "hold": Hold.place("A dispute", None, person=people["analyst"]).pk,
        "erasure": erasure.erase(User.objects.create_user("gone"), by=people["owner"]).pk,
    }

    def url(page):
        if page in ("index", "why", "spend") or page.endswith(("_changelist", "_add", "_due")):
            return address(page)
        if page.endswith("_replay"):
            return address(page, conversation.pk, conversation.messages.last().uuid)
        if page.endswith("_export"):
            return address(page, "csv")
        return address(page, pks[page.split("_")[1]])

    return url


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_for_its_roles_and_for_nobody_else(page, people, url_of):
    url = url_of(page)
    for role, person in people.items():
        expected = 200 if role in PAGES[page] else 403
        assert browser(person).get(url).status_code == expected, role
    stranger = Client().get(url)
    assert stranger.status_code == 302
    assert stranger["Location"] == f"/login/?next={url}"


def test_every_page_of_the_admin_is_in_the_table_of_roles():
    from django.contrib import admin

    names = {
        f"{model._meta.app_label}_{model._meta.model_name}_{kind}"
        for model in admin.site._registry
        for kind in ("changelist", "change", "add", "delete")
    }
    # Of these there is a list and no page each.
    lists = {f"chat_{model}_change" for model in ("generation", "price", "rate", "readlog")}
    assert names - lists <= set(PAGES)


def test_a_person_who_is_switched_off_sees_nothing(people):
    client = browser(people["reviewer"])
    User.objects.filter(pk=people["reviewer"].pk).update(is_active=False)
    assert client.get(address("index")).status_code == 302


def test_login_and_password_are_the_products_own(people):
    assert Client().get(address("login"))["Location"] == reverse("login")
    client = browser(people["owner"])
    assert client.get(address("password_change"))["Location"] == reverse("password")


# --- nobody changes history -------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("kind", ["changelist", "change", "add", "delete"])
@pytest.mark.parametrize("model", ["conversation", "generation", "call", "readlog", "erasure"])
def test_a_forged_post_changes_nothing(model, kind, role, people, url_of):
    def state():
        return (
            list(Conversation.objects.order_by("pk").values_list("pk", "title", "deleted_at")),
            list(Call.objects.order_by("pk").values_list("pk", "cost_nano", "prompt_tokens")),
            list(Generation.objects.order_by("pk").values_list("pk", "status")),
            Message.objects.count(),
            ReadLog.objects.count(),
            list(Erasure.objects.values()),
        )

    url, before = url_of(f"chat_{model}_{kind}"), state()
    rows = {"conversation": Conversation, "generation": Generation, "call": Call}
    rows |= {"erasure": Erasure}
    row = rows.get(model, ReadLog)
    forged = {
        "title": "changed",
        "cost_nano": "1",
        "status": "complete",
        "post": "yes",
        "action": "delete_selected",
        "_selected_action": [str(pk) for pk in row.objects.values_list("pk", flat=True)],
    }
    assert browser(people[role]).post(url, forged).status_code == 403
    assert state() == before


def test_a_role_is_not_changed(people):
    client = browser(people["owner"])
    role = Group.objects.get(name="analyst")
    for url in (
        address("auth_group_change", role.pk),
        address("auth_group_delete", role.pk),
    ):
        assert client.post(url, {"name": "other", "post": "yes"}).status_code == 403
    assert Group.objects.filter(name="analyst").exists()


# --- roles ------------------------------------------------------------------------------------


def person_form(person, *groups, active=True):
    form = {
        "username": person.username,
        "email": "",
        "first_name": "",
        "last_name": "",
        "groups": [Group.objects.get(name=name).pk for name in groups],
    }
    return form | ({"is_active": "on"} if active else {})


def test_an_owner_gives_and_takes_roles(people):
    client, member = browser(people["owner"]), people["member"]
    url = address("chat_user_change", member.pk)
    assert client.post(url, person_form(member, "reviewer")).status_code == 302
    assert browser(member).get(address("chat_conversation_changelist")).status_code == 200
    assert client.post(url, person_form(member, "owner")).status_code == 302
    member.refresh_from_db()
    assert member.is_superuser
    assert client.post(url, person_form(member)).status_code == 302
    member.refresh_from_db()
    assert not member.is_superuser


def test_an_administrator_gives_no_right_that_they_lack(people):
    client, member = browser(people["administrator"]), people["member"]
    url = address("chat_user_change", member.pk)
    for role in ("owner", "reviewer"):
        response = client.post(url, person_form(member, role))
        assert response.status_code == 200
        assert "groups" in response.context["adminform"].form.errors
    forged = person_form(member, "analyst") | {"is_superuser": "on", "is_staff": "on"}
    assert client.post(url, forged).status_code == 302
    member.refresh_from_db()
    assert [group.name for group in member.groups.all()] == ["analyst"]
    assert not member.is_superuser


@pytest.mark.parametrize("role", ["owner", "reviewer"])
def test_an_administrator_changes_nobody_who_may_do_more(people, role):
    client, other = browser(people["administrator"]), people[role]
    before = other.password
    form = person_form(other, "administrator")
    assert client.post(address("chat_user_change", other.pk), form).status_code == 403
    password = {"password1": "another-password-2", "password2": "another-password-2"}
    url = address("auth_user_password_change", other.pk)
    assert client.post(url, password | {"usable_password": "true"}).status_code == 403
    other.refresh_from_db()
    assert other.password == before


@pytest.mark.parametrize("form", [{"groups": ()}, {"groups": ("owner",), "active": False}])
def test_the_last_owner_stays(people, form):
    owner = people["owner"]
    body = person_form(owner, *form["groups"], active=form.get("active", True))
    response = browser(owner).post(address("chat_user_change", owner.pk), body)
    assert "last owner" in str(response.context["adminform"].form.errors)
    owner.refresh_from_db()
    assert owner.is_superuser
    assert owner.is_active


def test_an_owner_made_on_the_command_line_is_seen_as_one(people):
    other = User.objects.create_superuser("root", password="a-long-password-1")
    response = browser(people["owner"]).get(address("chat_user_change", other.pk))
    chosen = response.context["adminform"].form.initial["groups"]
    assert [group.name for group in chosen] == ["owner"]


def test_an_administrator_adds_a_person(people):
    form = {"username": "new", "usable_password": "true"}
    form |= {"password1": "a-fresh-password-3", "password2": "a-fresh-password-3"}
    response = browser(people["administrator"]).post(address("chat_user_add"), form)
    assert response.status_code == 302
    assert User.objects.get(username="new").check_password("a-fresh-password-3")
    assert browser(User.objects.get(username="new")).get("/admin/").status_code == 403


# --- conversations ----------------------------------------------------------------------------


def titles(client, **query):
    response = client.get(address("chat_conversation_changelist"), query)
    assert response.status_code == 200, response.get("Location")
    return [conversation.title for conversation in response.context["cl"].result_list]


@pytest.fixture
def reviewer(people):
    return browser(people["reviewer"])


def test_the_list_tells_owner_models_messages_tokens_cost_and_errors(reviewer, conversation):
    page = reviewer.get(address("chat_conversation_changelist"))
    row = page.context["cl"].result_list[0]
    shown = page.content.decode()
    assert row.models == ["gpt-4o"]
    assert (row.message_count, row.error_count) == (3, 1)
    assert row.total.tokens == 42
    for words in ("member", ">3<", ">42<", "1.000000001 USD", "errors: 1"):
        assert words in shown


def test_currencies_are_never_added_together(reviewer, people, gateway):
    reply = answer(ask(people["member"], "First", gateway), "One", **USAGE)
    more = reply.conversation.send("Second", "gpt-4o", gateway)
    answer(more, "Two", **USAGE | {"currency": "RUB", "cost_nano": 2 * NANO_UNIT})
    shown = reviewer.get(address("chat_conversation_changelist")).content.decode()
    assert "2 RUB + 1.000000001 USD" in shown


def test_unknown_usage_is_told_apart_from_none(reviewer, people, gateway):
    reply = answer(ask(people["member"], "First", gateway), "One", **USAGE)
    answer(reply.conversation.send("Second", "gpt-4o", gateway), "Two")
    answer(ask(people["member"], "Third", gateway), "Three")
    page = reviewer.get(address("chat_conversation_changelist"))
    third, first = page.context["cl"].result_list
    assert first.total.show_tokens() == "≥ 42"
    assert first.total.show_cost() == "≥ 1.000000001 USD"
    assert third.total.show_tokens() is None
    assert third.total.show_cost() is None


@pytest.mark.parametrize(
    "query",
    ["ежик", "ЁЖИК", "Ёжик тумане", "100%", '"в тумане"', "РЕКИ"],
)
def test_search_finds_titles_and_messages_in_any_case(reviewer, people, gateway, query):
    answer(ask(people["member"], "Ёжик в тумане, на 100%", gateway), "Там текут реки")
    answer(ask(people["analyst"], "Something else_", gateway), "Nothing of the kind")
    assert titles(reviewer, q=query) == ["Ёжик в тумане, на 100%"]


def test_search_takes_wildcards_and_quotes_as_letters(reviewer, people, gateway):
    answer(ask(people["member"], "Plain words", gateway), "An answer")
    for query in ("%", "_", '"', "'", "\\", "P%n"):
        assert titles(reviewer, q=query) == []


def test_filters_narrow_by_day_gateway_model_status_and_deletion(
    reviewer, people, gateway, settings
):
    settings.TIME_ZONE = "Europe/Moscow"
    answer(ask(people["member"], "Old", gateway, "gpt-4o"), "An answer")
    failed = ask(people["member"], "Failed", gateway, "claude")
    answer(failed, "", Outcome("failed", "", "server"))
    deleted = answer(ask(people["member"], "Deleted", gateway, "gpt-4o"), "An answer")
    deleted.conversation.delete_for_owner()
    # 22:30 UTC of the 1st is the 2nd in Moscow.
    when = timezone.now().replace(year=2026, month=3, day=1, hour=22, minute=30)
    Conversation.objects.filter(title="Old").update(active_at=when)
    assert titles(reviewer, active_at_from="2026-03-02", active_at_to="2026-03-02") == ["Old"]
    assert titles(reviewer, active_at_to="2026-03-01") == []
    assert titles(reviewer, status="errors") == ["Failed"]
    assert titles(reviewer, model="CLAU") == ["Failed"]
    # What people deleted is not for everybody who reads.
    assert titles(reviewer) == ["Failed", "Old"]
    owner = browser(people["owner"])
    assert titles(owner, deleted="yes") == ["Deleted"]
    assert titles(owner, deleted="no") == ["Failed", "Old"]
    assert len(titles(owner, gateway="openai")) == 3
    assert titles(reviewer, gateway="other") == []


@pytest.mark.parametrize("day", ["yesterday", "2026-02-31", "0001-01-01", "9999-12-31", ""])
def test_a_day_that_is_none_narrows_nothing(reviewer, conversation, day):
    assert titles(reviewer, active_at_from=day, active_at_to=day) == [conversation.title]


def test_a_list_of_many_costs_no_more_queries_than_a_list_of_one(
    reviewer, people, gateway, django_assert_max_num_queries
):
    for number in range(12):
        reply = ask(people["member"], f"Question {number}", gateway, f"model-{number}")
        answer(reply, "An answer", **USAGE)
    for page in ("chat_conversation_changelist", "chat_call_changelist"):
        # Session, person and rights (4), the rows, what they add up to (3), the filters (4), the log.
        with django_assert_max_num_queries(14):
            assert reviewer.get(address(page)).context["cl"].result_count == 12


def test_a_list_is_counted_no_further_than_it_is_paged(people, django_assert_num_queries):
    class Paginator(CappedPaginator):
        most = 3

    listed = Paginator(User.objects.order_by("pk"), 2)
    with django_assert_num_queries(1):
        assert (listed.count, listed.num_pages, listed.is_capped) == (3, 2, True)
    assert not CappedPaginator(User.objects.order_by("pk"), 2).is_capped
    assert CappedPaginator(User.objects.order_by("pk"), 2).count == len(people)


# --- a transcript -----------------------------------------------------------------------------


def transcript(client, conversation, **query):
    return client.get(address("chat_conversation_change", conversation.pk), query)


def test_a_transcript_shows_the_readers_view_and_each_call(reviewer, conversation):
    page = transcript(reviewer, conversation).content.decode()
    question, first, second = conversation.messages.order_by("pk")
    for message in (question, first, second):
        assert f'data-message="{message.uuid}"' in page
    for words in (
        "How do rivers begin?",
        "<strong>high up</strong>",
        'data-part="error" data-kind="server"',
        "upstream said no",
        "req-1",
        "1.000000001 USD",
        "{&quot;prompt_tokens&quot;: 12, &quot;completion_tokens&quot;: 30}",
    ):
        assert words in page


def test_a_transcript_offers_no_command(reviewer, conversation, gateway):
    conversation.send("Another, still running", "gpt-4o", gateway)
    page = transcript(reviewer, conversation).content.decode()
    commands = ("stop", "retry", "continue", "regenerate", "edit", "delete")
    assert [name for name in commands if f'name="{name}"' in page] == []
    # One form is left: to log out.
    assert page.count("<form") == 1


def test_a_transcript_keeps_branches_together_and_links_versions(reviewer, conversation, gateway):
    question, first, second = conversation.messages.order_by("pk")
    edited = question.edit("Asked otherwise", "gpt-4o", gateway)
    answer(edited, "Answered otherwise")
    entries = transcript(reviewer, conversation).context["entries"]
    assert [entry.row.pk for entry in entries] == [
        edited.parent_id,
        edited.pk,
        question.pk,
        first.pk,
        second.pk,
    ]
    assert [entry.begins_branch for entry in entries] == [False, False, True, False, True]
    assert entries[4].forks_from == f"#m-{question.uuid}"
    versions = [(v.number, v.href, v.is_here) for v in entries[3].versions]
    assert versions == [(1, f"#m-{first.uuid}", True), (2, f"#m-{second.uuid}", False)]


def test_a_transcript_leads_to_what_went_wrong(reviewer, conversation):
    second = conversation.messages.order_by("pk").last()
    problems = transcript(reviewer, conversation).context["problems"]
    assert problems == [{"href": f"#m-{second.uuid}", "label": "failed: server"}]


def test_a_deleted_message_and_conversation_are_marked(people, reviewer, conversation):
    last = conversation.messages.order_by("pk").last()
    last.delete_for_owner()
    assert len(transcript(reviewer, conversation).context["entries"]) == 2
    conversation.delete_for_owner()
    assert transcript(reviewer, conversation).status_code == 404
    page = transcript(browser(people["owner"]), conversation)
    assert [e.row.deleted_at is not None for e in page.context["entries"]] == [False, False, True]
    # Of the conversation in its facts, and of the message at its foot.
    assert page.content.decode().count("deleted by the owner") == 2


def test_a_long_transcript_comes_in_pages(reviewer, people, gateway, django_assert_max_num_queries):
    conversation = answer(ask(people["member"], "Question 0", gateway), "Answer").conversation
    for number in range(1, 60):
        reply = conversation.send(f"Question {number}", "gpt-4o", gateway)
        answer(reply, f"Answer {number}", **USAGE)
    with django_assert_max_num_queries(18):
        first = transcript(reviewer, conversation)
    assert len(first.context["entries"]) == 100
    second = transcript(reviewer, conversation, p="2")
    assert [entry.m.text for entry in second.context["entries"]][-1] == "Answer 59"
    assert second.context["total"].tokens == 42 * 59
    assert transcript(reviewer, conversation, p="nonsense").status_code == 200


def test_a_conversation_that_is_none_is_not_found(reviewer):
    for pk in ("0", "999999", "nonsense", "1e5"):
        assert reviewer.get(address("chat_conversation_change", pk)).status_code == 404


# --- calls and running replies ----------------------------------------------------------------


def test_calls_add_up_to_the_same_decimal_whatever_the_filter(people, gateway):
    for number in range(1, 8):
        usage = USAGE | {"cost_nano": number * 333_333_333}
        answer(ask(people["member"], f"Question {number}", gateway, f"m{number % 2}"), "A", **usage)
    client, url = browser(people["analyst"]), address("chat_call_changelist")
    whole, odd, even = (
        client.get(url, query).context["cl"].total.costs["USD"]
        for query in ({}, {"model_name": "m1"}, {"model_name": "m0"})
    )
    assert whole == odd + even == Decimal(28 * 333_333_333) / NANO_UNIT


def test_calls_are_added_up_as_well_when_that_is_asked_for(people, conversation):
    page = browser(people["analyst"]).get(address("chat_call_changelist"), {"sum": "1"})
    assert page.context["cl"].total.tokens == 42
    assert "1.000000001 USD" in page.content.decode()


def test_an_analyst_sees_sums_and_neither_names_nor_words(people, conversation):
    client = browser(people["analyst"])
    pages = [address("chat_call_changelist")]
    pages += [address("chat_call_change", call.pk) for call in Call.objects.all()]
    key = people["member"].key.hex[:8]
    for page in pages:
        shown = client.get(page).content.decode()
        assert key in shown
        for words in ("member", "rivers", "upstream said no"):
            assert words not in shown


def test_a_reviewer_goes_from_a_call_to_its_message(reviewer, conversation):
    call = Call.objects.last()
    page = reviewer.get(address("chat_call_change", call.pk)).content.decode()
    place = address("chat_conversation_change", conversation.pk)
    assert f'href="{place}#m-{call.message.uuid}"' in page
    assert "upstream said no" in page


def test_calls_outlive_the_conversation(people, conversation):
    conversation.delete()
    client = browser(people["reviewer"])
    page = client.get(address("chat_call_changelist"))
    assert page.context["cl"].total.tokens == 42
    assert client.get(address("chat_call_change", Call.objects.first().pk)).status_code == 200


def test_running_replies_are_listed_without_titles_for_who_may_not_read(people, gateway):
    ask(people["member"], "A private question", gateway)
    url = address("chat_generation_changelist")
    shown = browser(people["reviewer"]).get(url).content.decode()
    assert "A private question" in shown
    assert ">gpt-4o<" in shown
    shown = browser(people["administrator"]).get(url).content.decode()
    assert "member" in shown
    assert "A private question" not in shown
    answer(Message.objects.last(), "Done")
    assert browser(people["reviewer"]).get(url).context["cl"].result_count == 0


# --- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "0 USD"),
        ("0.000000001", "0.000000001 USD"),
        ("1234567.500000000", "1,234,567.5 USD"),
        ("9223372036.854775807", "9,223,372,036.854775807 USD"),
        ("1E+3", "1,000 USD"),
    ],
)
def test_money_is_shown_to_its_last_digit(amount, shown):
    assert money(Decimal(amount), "USD") == shown


def test_unknown_money_is_not_nothing():
    assert money(None, "USD") is None
    assert total([]).show_cost() is None
    assert total([]).show_tokens() is None


def test_folding_knows_cyrillic():
    assert fold("ЁЖИК Ёжик Ёлка") == "ежик ежик елка"
