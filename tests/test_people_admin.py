"""People and groups in the admin: what they have used, many switched off at once, a group's models."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from chat.models import Call, Conversation, Generation, LanguageModel, User
from chat.models.calls import CallEnd
from chat.models.language_models import NoAccess, destination
from chat.models.people import ROLES
from tests import people, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
NANO = 1_000_000_000
LIST = "/admin/chat/user/"


def browser(role):
    return people.browser(people.of_role(role, f"zz-{role}"))


def used(name, nano, currency="USD", days_ago=0, tokens=30):
    """A reply of theirs that cost so much."""
    person, _ = User.objects.get_or_create(username=name)
    reply = Conversation.start(person, "Why?", "m", rows.Gateway.objects.first() or rows.gateway())
    generation = rows.claim()
    call = Call.begin(generation, reply.gateway, "m", 1)
    moment = timezone.now() - timedelta(days=days_ago)
    Call.objects.filter(pk=call.pk).update(started_at=moment)
    Conversation.objects.filter(pk=reply.conversation.pk).update(active_at=moment)
    facts = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": tokens}
    facts |= {"confidence": "exact", "cost_confidence": "exact"}
    end = CallEnd(call.pk, cost_nano=nano, currency=currency, **facts)
    Generation.finish(generation.pk, generation.fence, rows.COMPLETE, end)
    return person


def listed(client, **query):
    answer = client.get(LIST, query)
    assert answer.status_code == 200, answer.get("Location")
    return answer


def names(answer):
    return [u.username for u in answer.context["cl"].result_list if not u.username.startswith("zz")]


def column(answer, title):
    """The number under which a list is sorted by this column."""
    headers = re.findall(r'<th scope="col".*?</th>', answer.content.decode(), re.DOTALL)
    titles = [" ".join(re.sub("<[^>]*>", " ", header).split()).lower() for header in headers]
    # The first is the check box.
    return titles.index(title)


# --- what they have used --------------------------------------------------------------------------


def test_people_are_sorted_by_cost_tokens_messages_and_last_activity():
    used("ann", 5 * NANO, tokens=10, days_ago=2)
    used("bob", 7 * NANO, tokens=20, days_ago=3)
    used("cem", NANO, tokens=40, days_ago=1)
    used("cem", NANO, tokens=40, days_ago=1)
    User.objects.create_user("dan")
    client = browser("owner")
    first = listed(client)
    orders = {
        "cost, usd": ["bob", "ann", "cem", "dan"],
        "tokens": ["cem", "bob", "ann", "dan"],
        "messages": ["cem", "bob", "ann", "dan"],
        "last active": ["cem", "ann", "bob", "dan"],
    }
    for title, order in orders.items():
        place = column(first, title)
        falling = names(listed(client, o=f"-{place}"))
        if title == "messages":
            falling[1:3] = sorted(falling[1:3], reverse=True)
        assert falling == order, title
        assert names(listed(client, o=str(place)))[0] == "dan", title


def test_each_currency_has_a_column_of_its_own():
    used("ann", 5 * NANO)
    used("ann", 7 * NANO)
    used("bob", 300 * NANO, currency="RUB")
    client = browser("owner")
    answer = listed(client)
    ann, bob = (u.used.costs for u in answer.context["cl"].result_list[:2])
    assert (ann, bob) == ({"USD": 12}, {"RUB": 300})
    assert names(listed(client, o=f"-{column(answer, 'cost, rub')}"))[0] == "bob"
    assert names(listed(client, o=f"-{column(answer, 'cost, usd')}"))[0] == "ann"


@pytest.mark.parametrize(("days", "cost"), [("1", 1), ("7", 3), ("", 7), ("30", 7), ("all", 15)])
def test_the_sums_are_those_of_the_chosen_days(days, cost):
    for nano, days_ago in ((NANO, 0), (2 * NANO, 6), (4 * NANO, 29), (8 * NANO, 31)):
        used("ann", nano, days_ago=days_ago)
    client = browser("administrator")
    answer = listed(client, **({"days": days} if days else {}))
    assert answer.context["cl"].result_list[0].used.costs == {"USD": cost}


def test_a_person_leads_to_their_spending_and_conversations():
    person = used("ann", NANO)
    client = browser("owner")
    shown = listed(client).content.decode()
    for place in (
        f"/admin/spend/?user={person.key.hex}",
        f"/admin/chat/conversation/?owner__id__exact={person.pk}",
    ):
        assert f'href="{place}"' in shown
        assert client.get(place).status_code == 200


def test_the_list_asks_the_same_queries_however_many_are_in_it(django_assert_max_num_queries):
    for number in range(8):
        used(f"p{number}", NANO)
    client = browser("owner")
    place = column(listed(client), "cost, usd")
    with django_assert_max_num_queries(11):
        listed(client, o=f"-{place}", days="all")


# --- many at once -----------------------------------------------------------------------------------


def act(client, action, *people):
    chosen = {"action": action, "_selected_action": [person.pk for person in people]}
    return client.post(LIST, chosen, follow=True)


def test_people_are_switched_off_and_on_together_and_what_runs_is_stopped():
    ann, bob = User.objects.create_user("ann"), User.objects.create_user("bob")
    reply = Conversation.start(ann, "Why?", "m", rows.gateway())
    running = rows.claim()
    client = browser("administrator")
    assert "2 people changed." in act(client, "switch_off", ann, bob).content.decode()
    assert not User.objects.filter(username__in=["ann", "bob"], is_active=True).exists()
    running.refresh_from_db()
    assert running.stop_requested
    assert rows.fresh(reply).status == "streaming"
    act(client, "switch_on", ann)
    ann.refresh_from_db()
    assert ann.is_active


def test_nobody_switches_off_themselves_the_last_owner_or_who_may_do_more():
    client = browser("administrator")
    owner = User.objects.create_superuser("last-owner")
    reviewer = User.objects.create_user("reviewer")
    reviewer.groups.add(Group.objects.get(name="reviewer"))
    me = User.objects.get(username="zz-administrator")
    shown = act(client, "switch_off", owner, reviewer, me).content.decode()
    assert "Left as they are" in shown
    assert User.objects.filter(is_active=True).count() == 3


def test_of_two_owners_one_stays():
    client = browser("owner")
    other = User.objects.create_superuser("other")
    me = User.objects.get(username="zz-owner")
    act(client, "switch_off", me, other)
    assert list(User.objects.filter(is_active=True)) == [me]


@pytest.mark.parametrize("role", ROLES)
def test_only_those_who_manage_people_switch_them_off(role):
    ann = User.objects.create_user("ann")
    act(browser(role), "switch_off", ann)
    ann.refresh_from_db()
    assert ann.is_active is (role not in ("owner", "administrator"))


# --- a group's models -------------------------------------------------------------------------------


@pytest.fixture
def model():
    return LanguageModel.objects.create(gateway=rows.gateway(), name="dear")


def test_a_model_is_kept_to_a_group_on_the_groups_own_page(model):
    client, ann = browser("administrator"), User.objects.create_user("ann")
    added = client.post(reverse("admin:auth_group_add"), {"name": "sales", "models": [model.pk]})
    assert added.status_code == 302
    sales = Group.objects.get(name="sales")
    assert list(model.groups.all()) == [sales]
    with pytest.raises(NoAccess):
        destination(ann, "dear")
    ann.groups.add(sales)
    assert destination(User.objects.get(pk=ann.pk), "dear").model == "dear"
    change = reverse("admin:auth_group_change", args=[sales.pk])
    page = client.get(change).content.decode()
    assert re.search(rf'value="{model.pk}"[^>]*checked', page)
    assert client.post(change, {"name": "sales"}).status_code == 302
    assert not model.groups.exists()


def test_a_model_that_is_listed_no_more_stays_kept(model):
    client, sales = browser("owner"), Group.objects.create(name="sales")
    model.groups.add(sales)
    LanguageModel.objects.update(is_listed=False)
    change = reverse("admin:auth_group_change", args=[sales.pk])
    assert "first · dear" in client.get(change).content.decode()
    assert "first · dear" not in client.get(reverse("admin:auth_group_add")).content.decode()


def test_the_list_of_groups_counts_people_and_models_apart(model):
    sales = Group.objects.create(name="sales")
    for number in range(3):
        User.objects.create_user(f"p{number}").groups.add(sales)
    model.groups.add(sales)
    LanguageModel.objects.create(gateway=model.gateway, name="other").groups.add(sales)
    found = browser("owner").get(reverse("admin:auth_group_changelist")).context["cl"].result_list
    assert [(g.people, g.model_count) for g in found if g.name == "sales"] == [(3, 2)]


def test_the_filter_names_roles_in_the_readers_language():
    Group.objects.create(name="Лаборатория")
    answer = browser("owner").get(LIST, headers={"Accept-Language": "ru"})
    listed = answer.context["cl"]
    (roles,) = [each for each in listed.filter_specs if "groups" in each.expected_parameters()[0]]
    named = [str(choice["display"]) for choice in roles.choices(listed)]
    assert {"проверяющий", "аналитик", "Лаборатория"} <= set(named)
