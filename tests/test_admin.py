"""The admin: who may see what, that nobody changes history, and who gives which role."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from chat.models import (
    Budget,
    Call,
    Conversation,
    Erasure,
    Feedback,
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
from chat.models.people import ROLES
from tests.administration import address, ask, conversation, gateway, in_process, people
from tests.people import browser

__all__ = ["conversation", "gateway", "in_process", "people"]
pytestmark = pytest.mark.django_db


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
