"""New accounts: closed, by invitation, open; and what a link is worth to whom and for how long."""

import logging
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import AccountPolicy, Invitation, User
from chat.models.invitations import InvitationGone
from chat.models.logins import SIGN_UPS
from tests.people import browser
from tests.server import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
FIELDS = {"username": "newcomer", "password1": PASSWORD, "password2": PASSWORD}
CLOSED, INVITATION, OPEN = AccountPolicy.SignUp.values


@pytest.fixture
def owner():
    return User.create_owner("owner", PASSWORD)


@pytest.fixture
def administrator(owner):
    person = User.objects.create_user("administrator", password=PASSWORD)
    person.groups.add(Group.objects.get(name="administrator"))
    return person


def decide(sign_up, **more):
    AccountPolicy.objects.update_or_create(pk=1, defaults={"sign_up": sign_up, **more})


def link_of(token):
    return f"/signup/?invitation={token}"


def accept(token, client=None, **fields):
    return (client or Client()).post("/signup/", {**FIELDS, "invitation": token, **fields})


# --- closed, by invitation, open ----------------------------------------------------------------


@pytest.mark.parametrize("verb", ["get", "post"])
def test_as_it_comes_the_door_is_closed_even_to_whoever_has_a_link(owner, verb):
    _invitation, token = Invitation.make(owner)
    client = Client()
    for data in ({}, {**FIELDS, "invitation": token}):
        assert getattr(client, verb)("/signup/", data).status_code == 404
    assert User.objects.count() == 1
    assert b"/signup/" not in client.get("/login/").content


def test_by_invitation_there_is_no_door_without_a_link(owner):
    decide(INVITATION)
    assert Client().get("/signup/").status_code == 404
    assert Client().post("/signup/", FIELDS).status_code == 404
    assert b"/signup/" not in Client().get("/login/").content
    wrong = Client().get(link_of("no-such-token"))
    assert wrong.status_code == 404
    assert b"Ask for a new one" in wrong.content


def test_open_to_anybody_with_the_group_that_the_owner_chose(owner):
    decide(OPEN, default_group=Group.objects.create(name="guests"))
    client = Client()
    assert b"/signup/" in client.get("/login/").content
    assert client.post("/signup/", FIELDS)["Location"] == "/"
    newcomer = User.objects.get(username="newcomer")
    assert [group.name for group in newcomer.groups.all()] == ["guests"]
    assert not newcomer.is_superuser
    assert client.get("/settings/").status_code == 200
    assert client.get("/admin/").status_code == 403
    assert client.get("/signup/")["Location"] == "/"


def test_a_group_that_has_got_rights_since_is_given_to_no_stranger(owner):
    group = Group.objects.get(name="reviewer")
    decide(OPEN, default_group=group)
    Client().post("/signup/", FIELDS)
    assert not User.objects.get(username="newcomer").groups.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"username": "OWNER"}, "username"),
        ({"username": ""}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"password1": "short1x", "password2": "short1x"}, "password"),
        ({"password1": "password123", "password2": "password123"}, "password"),
        ({"password1": "8375920174", "password2": "8375920174"}, "password"),
        ({"password1": "newcomer1", "password2": "newcomer1"}, "password"),
        ({"password2": "another one"}, "password"),
    ],
)
def test_what_will_not_do_is_said_and_the_name_is_kept(owner, fields, field):
    decide(OPEN)
    answer = Client().post("/signup/", {**FIELDS, **fields})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert 'role="alert"' in page
    assert re.search(rf'id="id_{field}\d?_error"', page)
    assert PASSWORD not in page
    assert User.objects.count() == 1


def test_one_address_makes_only_so_many(owner):
    decide(OPEN)
    for n in range(SIGN_UPS.failures):
        assert Client().post("/signup/", {**FIELDS, "username": f"n{n}"}).status_code == 302
    held = Client().post("/signup/", FIELDS)
    assert held.status_code == 429
    assert int(held["Retry-After"]) > 0
    invited = accept(Invitation.make(owner)[1])
    assert invited.status_code == 302


# --- a link -------------------------------------------------------------------------------------


def test_a_link_makes_one_account_with_its_roles(owner):
    decide(INVITATION)
    invitation, token = Invitation.make(owner, [Group.objects.get(name="reviewer")])
    client = Client()
    assert token.encode() in client.get(link_of(token)).content
    assert accept(token, client).status_code == 302
    assert client.get("/admin/").status_code == 200
    invitation.refresh_from_db()
    assert invitation.used_by.username == "newcomer"
    assert invitation.used_by.get_all_permissions() == {
        f"chat.{right}"
        for right in Group.objects.get(name="reviewer").permissions.values_list(
            "codename", flat=True
        )
    }
    again = accept(token, username="second")
    assert again.status_code == 404
    assert not User.objects.filter(username="second").exists()


def test_of_two_who_race_one_makes_the_account(owner):
    invitation, _token = Invitation.make(owner)
    invitation.accept(lambda: User.objects.create_user("first"))
    with pytest.raises(InvitationGone):
        invitation.accept(lambda: User.objects.create_user("second"))
    assert not User.objects.filter(username="second").exists()


def test_a_link_survives_a_form_that_was_refused(owner):
    decide(INVITATION)
    _invitation, token = Invitation.make(owner)
    refused = accept(token, password2="another one")
    assert refused.status_code == 422
    assert token.encode() in refused.content
    assert accept(token).status_code == 302


@pytest.mark.parametrize(
    "end", ["expired", "revoked", "closed", "inviter off", "inviter gone", "right lost"]
)
def test_a_link_is_worth_nothing_once(owner, administrator, end):
    decide(INVITATION)
    groups = [Group.objects.get(name="analyst")]
    invitation, token = Invitation.make(administrator, groups)
    assert Client().get(link_of(token)).status_code == 200
    match end:
        case "expired":
            past = timezone.now() - timedelta(seconds=1)
            Invitation.objects.filter(pk=invitation.pk).update(expires_at=past)
        case "revoked":
            assert Invitation.revoke(Invitation.objects.all()) == 1
        case "closed":
            decide(CLOSED)
        case "inviter off":
            User.objects.filter(pk=administrator.pk).update(is_active=False)
        case "inviter gone":
            Invitation.objects.filter(pk=invitation.pk).update(made_by=None)
        case "right lost":
            administrator.groups.clear()
    assert Client().get(link_of(token)).status_code == 404
    assert accept(token).status_code == 404
    assert not User.objects.filter(username="newcomer").exists()


def test_a_link_hands_on_no_right_that_its_maker_has_lost(owner, administrator):
    decide(INVITATION)
    _invitation, token = Invitation.make(administrator, [Group.objects.get(name="reviewer")])
    assert accept(token).status_code == 404


def test_the_token_is_kept_nowhere(owner):
    invitation, token = Invitation.make(owner)
    row = Invitation.objects.filter(pk=invitation.pk).values().get()
    assert len(token) > 40
    assert token not in str(row)


# --- in the administration ----------------------------------------------------------------------


def invite(client, **fields):
    return client.post(reverse("admin:chat_invitation_add"), {"note": "Bob", "days": "7", **fields})


def test_an_administrator_invites_and_the_link_is_shown_once(administrator):
    decide(INVITATION)
    client = browser(administrator)
    analyst = Group.objects.get(name="analyst")
    page = invite(client, groups=[analyst.pk]).content.decode()
    (link,) = re.findall(r'value="(http://testserver/signup/\?invitation=[\w-]+)"', page)
    invitation = Invitation.objects.get()
    assert list(invitation.groups.all()) == [analyst]
    assert invitation.made_by == administrator
    token = link.partition("=")[2]
    for name, *pk in (
        ["admin:chat_invitation_changelist"],
        ["admin:chat_invitation_change", invitation.pk],
    ):
        assert token not in client.get(reverse(name, args=pk)).content.decode()
    assert accept(token).status_code == 302


@pytest.mark.parametrize("role", ["owner", "reviewer"])
def test_nobody_invites_to_more_than_they_have(administrator, role):
    answer = invite(browser(administrator), groups=[Group.objects.get(name=role).pk])
    assert answer.status_code == 200
    assert not Invitation.objects.exists()


def test_not_even_an_owner_invites_an_owner(owner):
    invite(browser(owner), groups=[Group.objects.get(name="owner").pk])
    assert not Invitation.objects.exists()


@pytest.mark.parametrize("days", ["0", "-1", "91", "x", ""])
def test_a_link_lives_from_a_day_to_three_months(administrator, days):
    invite(browser(administrator), days=days)
    assert not Invitation.objects.exists()


def test_a_link_is_taken_back_from_the_list(administrator):
    decide(INVITATION)
    _invitation, token = Invitation.make(administrator)
    used, _other = Invitation.make(administrator)
    used.accept(lambda: User.objects.create_user("bob"))
    client = browser(administrator)
    picked = {"action": "revoke", "_selected_action": [i.pk for i in Invitation.objects.all()]}
    assert client.post(reverse("admin:chat_invitation_changelist"), picked).status_code == 302
    assert Client().get(link_of(token)).status_code == 404
    used.refresh_from_db()
    assert used.revoked_at is None


def test_the_list_costs_no_query_more_for_each_invitation(
    administrator, django_assert_max_num_queries
):
    for _ in range(20):
        Invitation.make(administrator, [Group.objects.get(name="analyst")])
    client = browser(administrator)
    with django_assert_max_num_queries(9):
        client.get(reverse("admin:chat_invitation_changelist"))


def test_the_owner_opens_and_closes_the_door(owner):
    client = browser(owner)
    address = reverse("admin:chat_accountpolicy_changelist")
    assert client.post(address, {"sign_up": "open", "default_group": ""})["Location"] == address
    assert AccountPolicy.current().is_open
    staff = Group.objects.get(name="reviewer")
    refused = client.post(address, {"sign_up": "open", "default_group": staff.pk})
    assert refused.status_code == 200
    assert AccountPolicy.current().default_group is None


# --- what is written down ------------------------------------------------------------------------


def test_the_security_log_tells_of_each_invitation_and_of_no_link(administrator, caplog):
    decide(INVITATION)
    logger = logging.getLogger("chat.security")
    logger.addHandler(caplog.handler)
    client = browser(administrator)
    page = invite(client, groups=[Group.objects.get(name="analyst").pk]).content.decode()
    token = re.search(r"invitation=([\w-]+)", page)[1]
    accept(token)
    invite(client)
    left = Invitation.objects.get(used_at=None)
    picked = {"action": "revoke", "_selected_action": [left.pk]}
    client.post(reverse("admin:chat_invitation_changelist"), picked)
    logger.removeHandler(caplog.handler)
    told = [record for record in caplog.records if record.name == "chat.security"]
    events = [record.event for record in told if record.event.startswith("invitation")]
    made = "invitation_made"
    assert events == [made, "invitation_used", made, "invitations_revoked"]
    by = {record.event: record.by for record in told}
    assert by["invitation_made"] == "administrator"
    assert next(record.roles for record in told if record.event == made) == "analyst"
    assert token not in str([vars(record) for record in told])


# --- the administration takes a two-step login --------------------------------------------------


def strong(person):
    client = browser(person)
    session = client.session
    session["entered_by"] = "code"
    session.save()
    return client


def test_nobody_locks_himself_out_by_asking_for_two_steps(owner):
    address = reverse("admin:chat_accountpolicy_changelist")
    wanted = {"sign_up": "closed", "staff_takes_two_steps": "on"}
    assert browser(owner).post(address, wanted).status_code == 200
    assert not AccountPolicy.current().staff_takes_two_steps
    assert strong(owner).post(address, wanted).status_code == 302
    assert AccountPolicy.current().staff_takes_two_steps


def test_a_password_alone_opens_the_chat_and_not_the_administration(administrator):
    decide(CLOSED, staff_takes_two_steps=True)
    client = browser(administrator)
    assert client.get("/settings/").status_code == 200
    for path in ("/admin/", reverse("admin:chat_user_changelist"), "/admin/why/"):
        assert client.get(path)["Location"] == "/settings/second-factor/?needed", path
        assert client.post(path).status_code == 302
    assert b'role="alert"' in client.get("/settings/second-factor/?needed").content
    assert strong(administrator).get("/admin/").status_code == 200
