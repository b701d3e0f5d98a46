"""Budgets in the admin: who sets them, checked as they are entered, shown with what is used."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.models import Allowance, Budget, User
from chat.models.people import ROLES
from tests.administration import address, people
from tests.people import browser
from tests.rows import queries_of

__all__ = ["people"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static", "cheap_passwords")]
FORM = {"period": "month", "money": "50", "currency": "rub", "is_hard": "on"}


def add(person, **form):
    return browser(person).post(address("chat_budget_add"), FORM | form)


def errors(response):
    assert response.status_code == 200
    return response.context["adminform"].form.errors


def test_a_budget_is_set_for_a_person_a_group_or_everybody(people):
    for form in (
        {"user": "member", "is_each": "on"},
        {"group": Group.objects.get(name="member").pk, "is_each": "on"},
        {"money": "", "tokens": "1000"},
    ):
        assert add(people["administrator"], **form).status_code == 302
    own, of_group, of_all = Budget.objects.all()
    assert (own.user.username, own.money, own.currency) == ("member", 50, "RUB")
    assert not own.is_each
    assert (of_group.group.name, of_group.is_each) == ("member", True)
    assert (of_all.user, of_all.group, of_all.tokens, of_all.currency) == (None, None, 1000, "")


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"user": "nobody"}, "user"),
        ({"money": ""}, "money"),
        ({"currency": ""}, "currency"),
        ({"currency": "roubles"}, "currency"),
        ({"money": "-1"}, "money"),
        ({"money": "", "tokens": "-1"}, "tokens"),
        ({"emails": "a@example.org, nobody"}, "emails"),
        ({"webhook": "http://hooks.example/one"}, "webhook"),
        ({"webhook": "javascript:alert(1)"}, "webhook"),
        ({"webhook": "https://user:secret@hooks.example/"}, "webhook"),
    ],
)
def test_what_cannot_be_a_budget_is_refused(people, form, field):
    assert list(errors(add(people["owner"], **form))) == [field]
    assert not Budget.objects.exists()


def test_a_person_and_a_group_are_not_both_meant(people):
    group = Group.objects.get(name="member").pk
    assert "group" in errors(add(people["owner"], user="member", group=group))


def test_a_webhook_over_plain_http_needs_the_operators_word(people, settings):
    settings.PRIVATE_WEBHOOKS = True
    assert add(people["owner"], webhook="http://chat.local/hook").status_code == 302


def test_a_budgets_page_is_called_after_the_person_by_those_who_know_names(people):
    made = Budget.objects.create(tokens=1000, user=people["member"])
    page = address("chat_budget_change", made.pk)
    assert (
        '<h1 dir="auto">member, month</h1>' in browser(people["owner"]).get(page).content.decode()
    )
    seen = browser(people["analyst"]).get(page).content.decode()
    assert f'<h1 dir="auto">{people["member"].key.hex[:8]}, month</h1>' in seen


@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("owner", "administrator")])
def test_nobody_else_sets_changes_or_takes_one_away(people, role):
    made = Budget.objects.create(tokens=1000)
    client = browser(people[role])
    for url in (
        address("chat_budget_add"),
        address("chat_budget_change", made.pk),
        address("chat_budget_delete", made.pk),
    ):
        assert client.post(url, FORM | {"post": "yes"}).status_code == 403
    assert list(Budget.objects.values_list("tokens", "money")) == [(1000, None)]


def test_an_administrator_changes_a_limit_and_what_was_used_stays(people):
    made = Budget.objects.create(money=Decimal(10), currency="RUB")
    Allowance.objects.create(budget=made, starts_on=made.starts_on, spent_nano=7)
    client = browser(people["administrator"])
    assert client.post(address("chat_budget_change", made.pk), FORM).status_code == 302
    made.refresh_from_db()
    assert (made.money, made.allowances.get().spent_nano) == (50, 7)
    assert client.post(address("chat_budget_delete", made.pk), {"post": "yes"}).status_code == 302
    assert not Budget.objects.exists()


def test_who_only_looks_sees_no_address_that_may_hold_a_secret(people):
    hook = "https://hooks.example/T0/secret"
    made = Budget.objects.create(tokens=1000, webhook=hook, emails="a@example.org")
    for role in ("owner", "administrator", "analyst"):
        page = browser(people[role]).get(address("chat_budget_change", made.pk)).content.decode()
        assert (hook in page) == (role != "analyst")
        assert ("a@example.org" in page) == (role != "analyst")


def test_the_list_shows_what_is_used_of_each_and_asks_as_little_for_many(people):
    client = browser(people["administrator"])

    def page() -> tuple[str, int]:
        with CaptureQueriesContext(connection) as captured:
            response = client.get(address("chat_budget_changelist"))
        assert response.status_code == 200
        return response.content.decode(), len(captured)

    def make(n: int) -> None:
        made = Budget.objects.create(money=Decimal(100), currency="RUB", is_each=True, tokens=1000)
        for spent, name in ((20, f"ann{n}"), (80, f"bob{n}")):
            Allowance.objects.create(
                budget=made,
                user=User.objects.create_user(name),
                starts_on=made.starts_on,
                spent_nano=spent * 10**9,
                spent_tokens=spent,
            )

    make(1)
    Budget.objects.create(tokens=5, period="day")
    Budget.objects.create(tokens=5, period="week")
    few, asked = page()
    assert "bob1: " in few
    assert "ann1: " not in few
    assert '<meter value="80" max="100"' in few
    assert "80 RUB used, 20 RUB left (80 %)" in few
    assert "80 used, 920 left (8 %)" in few
    for n in range(2, 8):
        make(n)
    assert page()[1] == asked


def test_a_budgets_page_asks_as_little_for_many_people(people):
    made = Budget.objects.create(tokens=1000, is_each=True)
    client = browser(people["administrator"])

    def use(names):
        for name in names:
            user = User.objects.create_user(name)
            Allowance.objects.create(budget=made, user=user, starts_on=made.starts_on)
        return queries_of(lambda: client.get(address("chat_budget_change", made.pk)))

    asked = use(["ann"])
    assert use(f"p{number}" for number in range(30)) <= asked <= 20


def test_who_sees_sums_only_sees_keys_for_names_and_finds_nothing_out_by_guessing(people):
    member = people["member"]
    own = Budget.objects.create(tokens=1000, user=member, webhook="https://hooks.example/secret")
    each = Budget.objects.create(tokens=1000, is_each=True)
    for made, user in ((own, None), (each, member)):
        Allowance.objects.create(budget=made, user=user, starts_on=made.starts_on, spent_tokens=5)
    client = browser(people["analyst"])
    pages = [address("chat_budget_changelist")]
    pages += [address("chat_budget_change", made.pk) for made in (own, each)]
    for url in pages:
        page = client.get(url).content.decode()
        assert member.key.hex[:8] in page
        assert ">member" not in page
        assert "member:" not in page
    for guess in ("webhook__startswith", "emails__startswith", "user__username", "tokens__gt"):
        assert client.get(pages[0], {guess: "https"}).status_code in (302, 400)


def test_a_budgets_page_lists_its_people_the_fullest_first(people):
    made = Budget.objects.create(tokens=1000, is_each=True)
    for spent, name in ((20, "ann"), (80, "bob")):
        user = User.objects.create_user(name)
        Allowance.objects.create(
            budget=made, user=user, starts_on=made.starts_on, spent_tokens=spent
        )
    page = browser(people["owner"]).get(address("chat_budget_change", made.pk))
    rows = page.context["people"]
    assert [who for who, _ in rows] == ["bob", "ann"]
    assert "style=" not in page.content.decode().partition('class="used"')[2]
