"""The admin: who comes in, what stays, and who gives which role; who may what is in test_access.py."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from chat.models import User
from tests.administration import address, gateway, people
from tests.people import browser

__all__ = ["gateway", "people"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]


# --- who may come in --------------------------------------------------------------------------


def test_a_person_who_is_switched_off_sees_nothing(people):
    client = browser(people["reviewer"])
    User.objects.filter(pk=people["reviewer"].pk).update(is_active=False)
    assert client.get(address("index")).status_code == 302


def test_login_and_password_are_the_products_own(people):
    assert Client().get(address("login"))["Location"] == reverse("login")
    client = browser(people["owner"])
    assert client.get(address("password_change"))["Location"] == reverse("password")


# --- what stays -------------------------------------------------------------------------------


def test_a_role_is_not_changed(people):
    client = browser(people["owner"])
    role = Group.objects.get(name="analyst")
    for url in (
        address("auth_group_change", role.pk),
        address("auth_group_delete", role.pk),
    ):
        assert client.post(url, {"name": "other", "post": "yes"}).status_code == 403
    assert Group.objects.filter(name="analyst").exists()


# Other groups, and gateways that somebody entered, are deleted by whom tests/access.py says.


def test_nobody_is_offered_to_delete_a_role(people):
    url = address("auth_group_delete", Group.objects.get(name="analyst").pk)
    assert {browser(person).get(url).status_code for person in people.values()} == {403}


def test_nobody_is_offered_to_delete_a_gateway_of_the_environment(people, gateway):
    assert gateway.is_from_environment
    url = address("chat_gateway_delete", gateway.pk)
    assert {browser(person).get(url).status_code for person in people.values()} == {403}


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
