"""The page about spending: its figures, what they lead to, and who is shown what."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from chat.admin.figures import SUMS, total
from chat.models import Call, DayTally, FirstToken, Gateway, Rate, User
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.people import ROLES
from tests import people, rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
USED = {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30,
    "confidence": "exact",
    "currency": "USD",
    "cost_confidence": "exact",
}
NANO = 1_000_000_000


@pytest.fixture(autouse=True)
def far_east(settings):
    """Days that aren't UTC's."""
    settings.TIME_ZONE = "Asia/Vladivostok"


def browser(role):
    return people.browser(people.of_role(role, f"a-{role}"))


def noon(days_ago=0):
    zone = timezone.get_default_timezone()
    day = timezone.localdate(timezone=zone) - timedelta(days=days_ago)
    return datetime.combine(day, datetime.min.time(), zone) + timedelta(hours=12)


def spent(name, nano, days_ago=0, model="m", group=None, waited_ms=None, **end):
    """A call of this person's that cost so much."""
    person, _ = User.objects.get_or_create(username=name)
    if group:
        person.groups.set([Group.objects.get_or_create(name=group)[0]])
    through = Gateway.objects.first() or rows.gateway()
    began = noon(days_ago)
    call = Call.begin_check(person, through, model, Weight(1, 1))
    Call.objects.filter(pk=call.pk).update(started_at=began, purpose="reply")
    first = began + timedelta(milliseconds=waited_ms) if waited_ms is not None else None
    Call.end(CallEnd(call.pk, first_delta_at=first, **USED | {"cost_nano": nano} | end))
    return call


def page(client=None, **query):
    answer = (client or browser("owner")).get(reverse("admin:spend"), query)
    assert answer.status_code == 200
    return answer


def figures(answer):
    """What stands in each row of each table, by its first cell."""
    found = {}
    for table in re.findall(r"<table>.*?</table>", answer.content.decode(), re.DOTALL):
        caption = text(re.search(r"<caption.*?</caption>", table, re.DOTALL)[0])
        for row in re.findall(r"<tr>.*?</tr>", table.split("</thead>")[1], re.DOTALL):
            name = text(
                re.search(r'<(?:a|span)[^>]*dir="auto">(.*?)<', row + '<a dir="auto">?<')[1]
            )
            cells = re.findall(r"<td.*?</td>", row, re.DOTALL)
            found.setdefault(caption, {})[name] = [text(cell) for cell in cells]
    return found


def text(html):
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def read(answer):
    """All of what is streamed."""

    async def whole():
        return b"".join([chunk async for chunk in answer.streaming_content])

    return async_to_sync(whole)().decode("utf-8-sig")


# --- the figures --------------------------------------------------------------------------------


def test_spending_is_told_by_day_and_by_all_that_tells_calls_apart():
    spent("ann", 2 * NANO, group="sales")
    spent("ann", NANO, days_ago=1, group="sales", model="big")
    spent("bob", 500_000_001, days_ago=6)
    spent("bob", 5 * NANO, days_ago=7)
    told = figures(page(days="7"))
    whole = ["3.500000001", "90", "3", "0.0 %"]
    assert told["By user"] == {
        "ann": ["3", "60", "2", "0.0 %"],
        "bob": ["0.500000001", "30", "1", "0.0 %"],
        "In all": whole,
    }
    assert told["By group"]["sales"][0] == "3"
    assert told["By group"]["no group"][0] == "0.500000001"
    assert told["By model"]["m"][0] == "2.500000001"
    assert told["By gateway"]["first"] == told["By purpose"]["reply"] == whole
    assert list(told["By day"].values()) == [
        ["2", "30", "1", "0.0 %"],
        ["1", "30", "1", "0.0 %"],
        ["0.500000001", "30", "1", "0.0 %"],
        whole,
    ]


def test_the_cards_tell_today_7_and_30_days_with_what_was_before():
    spent("ann", NANO)
    spent("ann", 2 * NANO, days_ago=1)
    spent("ann", 4 * NANO, days_ago=8)
    spent("ann", 8 * NANO, days_ago=31)
    cards = list(page().context["page"].cards())
    assert [card.sums.show_cost() for card in cards] == ["1 USD", "3 USD", "7 USD"]
    assert [card.before for card in cards] == [
        "yesterday: 2 USD",
        "the 7 days before: 4 USD",
        "the 30 days before: 8 USD",
    ]
    assert [card.is_here for card in cards] == [False, False, True]


def test_currencies_stand_apart_each_with_its_own_column_and_chart():
    spent("ann", 2 * NANO)
    spent("ann", 100 * NANO, currency="RUB")
    spent("ann", NANO)
    answer = page()
    assert figures(answer)["By user"]["ann"][:2] == ["3", "100"]
    names = [chart.name for chart in answer.context["page"].charts()]
    assert names == ["Cost a day, USD", "Cost a day, RUB", "Tokens a day"]
    assert "≈" not in answer.content.decode()


def test_unknown_and_estimated_are_marked_where_they_are():
    spent("ann", None, currency="", confidence="unknown", total_tokens=None)
    spent("ann", NANO)
    spent("bob", NANO, cost_confidence="estimated", confidence="estimated")
    told = figures(page())["By user"]
    assert told["ann"][:2] == ["≥ 1", "≥ 30"]
    assert told["bob"][:2] == ["≈ 1", "≈ 30"]
    assert told["In all"][:2] == ["≥ 2", "≥ 60"]


def test_each_table_adds_up_to_the_total_in_each_currency():
    for number in range(12):
        more = {"group": f"g{number % 4}", "model": f"m{number % 5}", "days_ago": number % 3}
        spent(
            f"p{number % 7}",
            number * 333_333_333,
            currency=("USD", "RUB", "EUR")[number % 3],
            **more,
        )
    shown = page().context["page"]
    assert set(shown.currencies) == {"USD", "RUB", "EUR"}
    lines = [shown.by_day, *(table.lines for table in shown.tables())]
    assert len(lines) == 6
    for each in lines:
        assert sum(line.sums.calls for line in each) == shown.total.calls == 12
        for code, cost in shown.total.costs.items():
            assert sum(line.sums.costs.get(code, 0) for line in each) == cost
    assert sum(shown.total.costs.values()) == Decimal(sum(range(12)) * 333_333_333) / NANO


def test_the_dearest_come_first_and_of_models_those_that_were_called_most():
    spent("ann", NANO, model="dear")
    for _ in range(3):
        spent("bob", None, currency="", model="free")
    spent("cid", 2 * NANO, currency="RUB", model="other")
    spent("cid", NANO // 2, model="other")
    users, _groups, _gateways, models, _purposes = page().context["page"].tables()
    assert [line.name for line in users.lines] == ["ann", "cid", "bob"]
    assert [line.name for line in models.lines] == ["dear", "other", "free"]
    assert [speed.model for speed in page().context["page"].speeds] == ["free", "other", "dear"]


def test_what_is_beyond_twenty_lines_is_told_together():
    for number in range(1, 24):
        spent(f"p{number:02}", number * NANO)
    told = figures(page())["By user"]
    assert len(told) == 22
    assert told["others"] == ["6", "90", "3", "0.0 %"]
    assert told["In all"][0] == str(sum(range(1, 24)))


def test_errors_and_speed_are_told_by_model_and_gateway():
    for waited_ms in (200, 250, 300, 4_000):
        spent("ann", NANO, waited_ms=waited_ms)
    spent("ann", None, error_kind="server", total_tokens=None, completion_tokens=None)
    DayTally.objects.update(timed_ms=4_000, timed_tokens=80)
    (speed,) = page().context["page"].speeds
    assert (speed.gateway, speed.model) == ("first", "m")
    assert list(speed.first_ms) == [250, 4_000]
    assert speed.show_first() == ["0.25 s", "4.0 s"]
    assert (speed.sums.show_errors(), speed.sums.show_speed()) == ("20.0 %", "20.0")


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 100])
def test_a_percentile_is_the_wait_within_which_so_many_had_begun(count):
    for number in range(1, count + 1):
        key = {"day": date(2026, 3, 1), "gateway_slug": "g", "model": "m"}
        FirstToken.objects.create(**key, ms=number, calls=1)
    found = FirstToken.percentiles(date(2026, 3, 1), date(2026, 3, 2), (50, 95, 100))
    # By definition the smallest of which at least so many are no greater.
    smallest = [-(-count * share // 100) for share in (50, 95, 100)]
    assert found == {("g", "m"): smallest}


def test_a_day_without_calls_has_its_place_in_the_chart():
    spent("ann", NANO, days_ago=2)
    spent("ann", 2 * NANO)
    cost, tokens = page(days="7").context["page"].charts()
    assert [bar.height for bar in cost.bars] == ["50.00", "100.00"]
    assert [bar.x for bar in cost.bars] == ["58.57", "87.14"]
    assert (cost.most, tokens.most) == ("2 USD", "30")


def test_a_year_is_drawn_by_weeks_that_can_be_told_apart():
    spent("ann", NANO, days_ago=6)
    spent("ann", 2 * NANO)
    spent("ann", 6 * NANO, days_ago=7)
    days = {"from": noon(364).date().isoformat(), "to": noon().date().isoformat()}
    cost, tokens = page(**days).context["page"].charts()
    assert (cost.name, tokens.name) == ("Cost a week, USD", "Tokens a week")
    assert [bar.height for bar in cost.bars] == ["100.00", "50.00"]
    assert [bar.height for bar in tokens.bars] == ["50.00", "100.00"]
    assert cost.bars[-1].width == "1.51"  # of 53
    assert re.fullmatch(r"[\d/]+ – [\d/]+: 3 USD", cost.bars[-1].told)


def test_one_day_is_numbers_and_no_bar_as_wide_as_the_page():
    spent("ann", NANO)
    shown = page(days="1")
    assert shown.context["page"].charts() == []
    assert "By day" not in shown.content.decode()


def test_a_chart_is_an_image_with_a_name_and_its_table_stands_under_it():
    spent("ann", NANO)
    shown = page().content.decode()
    assert (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="Cost a'
        in shown
    )
    assert shown.index("<svg viewBox") < shown.index('<caption class="visually-hidden">By day')
    assert "style=" not in shown


def test_nothing_spent_is_said_in_words():
    rows.gateway()
    assert "No call ended in these days." in page().content.decode()


# --- in one currency ----------------------------------------------------------------------------


def test_a_converted_total_stands_beside_at_the_rates_of_its_days():
    spent("ann", 2 * NANO, days_ago=3)
    spent("ann", 10 * NANO, days_ago=1)
    spent("ann", 100 * NANO, currency="RUB")
    today = timezone.localdate(timezone=timezone.get_default_timezone())
    Rate.objects.create(currency="USD", into="RUB", rate=80, day=today - timedelta(days=9))
    Rate.objects.create(currency="USD", into="RUB", rate=1, day=today - timedelta(days=1))
    Rate.objects.create(currency="USD", into="RUB", rate=Decimal("90.5"), day=today - timedelta(1))
    answer = page()
    assert answer.context["page"].converted.amount == 2 * 80 + Decimal("905") + 100
    assert "≈ 1,165 RUB" in answer.content.decode()
    assert figures(answer)["By user"]["ann"][:2] == ["12", "100"]


def test_what_has_no_rate_is_named_and_left_out():
    spent("ann", 2 * NANO, currency="EUR")
    spent("ann", NANO)
    Rate.objects.create(currency="USD", into="RUB", rate=90, day=date(2020, 1, 1))
    answer = page()
    assert answer.context["page"].converted.amount == 90
    assert "Without 2 EUR" in answer.content.decode()


def test_one_currency_is_not_converted_into_itself():
    spent("ann", NANO)
    assert page().context["page"].converted is None
    Rate.objects.create(currency="RUB", into="USD", rate=Decimal("0.011"))
    assert page().context["page"].converted is None


def test_a_rate_is_added_and_never_changed():
    client = browser("administrator")
    url = reverse("admin:chat_rate_add")
    form = {"currency": "usd", "into": "rub", "rate": "78.5", "day": "2026-03-01"}
    assert client.post(url, form).status_code == 302
    rate = Rate.objects.get()
    assert (rate.currency, rate.into, rate.rate) == ("USD", "RUB", Decimal("78.5"))
    assert client.post(url, form | {"into": "usd"}).status_code == 200
    assert client.post(url, form | {"currency": "roubles"}).status_code == 200
    assert Rate.objects.count() == 1
    change = reverse("admin:chat_rate_change", args=[rate.pk])
    assert client.post(change, form | {"rate": "1"}).status_code == 403
    assert "78.5" in browser("analyst").get(reverse("admin:chat_rate_changelist")).content.decode()


# --- all calls of a list added up ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "is_of_days"),
    [
        ({}, True),
        ({"started_at_from": 3}, True),
        ({"started_at_to": 1, "model_name": "M1"}, True),
        ({"started_at_from": "nonsense", "model": "m1"}, True),
        ({"group": "sales", "purpose__exact": "reply"}, True),
        ({"gateway": "first", "purpose__exact": "title"}, True),
        ({"user": "ann"}, True),
        ({"outcome": "errors"}, False),
        ({"confidence__exact": "estimated", "model": "m1"}, False),
        ({"cost_confidence": "estimated"}, False),
    ],
)
def test_calls_are_added_up_by_days_to_what_they_are_one_by_one(query, is_of_days):
    for number in range(9):
        more = {"group": ("sales", "help")[number % 2], "model": f"m{number % 3}"}
        end = {"currency": ("USD", "RUB")[number % 2], "days_ago": number % 5}
        spent(("ann", "bob")[number % 2], number * 333_333_333, **more, **end)
    spent("ann", None, total_tokens=None, confidence="unknown", cost_confidence="unknown")
    spent("ann", 1, confidence="estimated", cost_confidence="estimated", model="m1")
    spent("bob", None, total_tokens=None, error_kind="server")
    Call.begin_check(User.objects.get(username="ann"), Gateway.objects.get(), "m1", Weight(1, 1))
    days = {name: str(noon(n).date()) for name, n in query.items() if isinstance(n, int)}
    ann = {"user": User.objects.get(username="ann").key.hex} if "user" in query else {}
    query = query | days | ann
    client = browser("owner")
    with CaptureQueriesContext(connection) as asked:
        listed = client.get(reverse("admin:chat_call_changelist"), query).context["cl"]
    one_by_one = total(listed.queryset.order_by().values("currency").annotate(**SUMS))
    assert one_by_one.calls or query.get("purpose__exact") == "title"
    for name in vars(one_by_one):
        assert getattr(listed.total, name) == getattr(one_by_one, name), name
    assert is_of_days == any("chat_daytally" in query["sql"] for query in asked)


def test_calls_that_have_not_ended_are_found_by_an_index():
    running = Call.objects.filter(ended_at=None).order_by().values("currency").annotate(**SUMS)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # of a few rows it is the quickest way
    assert "call_running" in running.explain()


# --- what a line leads to -------------------------------------------------------------------------


@pytest.mark.parametrize("table", range(5))
def test_a_lines_calls_add_up_to_what_it_says(table):
    spent("ann", NANO, group="sales")
    spent("ann", 2 * NANO, group="sales", model="big")
    spent("bob", 4 * NANO)
    spent("bob", 8 * NANO, days_ago=31)
    client = browser("owner")
    tables = list(page(client).context["page"].tables())
    lines = tables[table].lines
    assert lines
    for line in lines:
        listed = client.get(line.calls).context["cl"].total
        assert listed.costs == line.sums.costs, line.name
        narrowed = client.get(line.href).context["page"].total
        assert narrowed.costs == line.sums.costs, line.name


def test_a_day_leads_to_its_calls():
    spent("ann", NANO)
    spent("ann", 2 * NANO, days_ago=1)
    client = browser("owner")
    for line in page(client).context["page"].by_day:
        assert client.get(line.calls).context["cl"].total.costs == line.sums.costs
        assert client.get(line.href).context["page"].total.costs == line.sums.costs


def test_a_year_is_told_by_weeks_that_lead_to_their_days():
    for days_ago in (0, 3, 6, 7, 200):
        spent("ann", NANO, days_ago=days_ago)
    client, today = browser("owner"), timezone.localdate()
    query = {"from": f"{today - timedelta(days=365)}", "to": f"{today}"}
    shown = page(client, **query).context["page"]
    assert [line.sums.calls for line in shown.by_day] == [3, 1, 1]
    newest = client.get(shown.by_day[0].href).context["page"]
    assert (newest.span.days, newest.total.costs) == (7, shown.by_day[0].sums.costs)
    assert [line.sums.calls for line in newest.by_day] == [1, 1, 1]


def test_the_calls_say_what_narrows_them_and_let_go_of_it():
    spent("ann", NANO, group="sales")
    client = browser("owner")
    (line,) = next(iter(page(client).context["page"].tables())).lines
    shown = client.get(line.calls)
    assert [text(found) for found in only_filters(shown)] == ["All ann"]
    group = page(client).context["page"].view.narrowed_to("group", "sales").calls()
    assert [text(found) for found in only_filters(client.get(group))] == ["All sales"]


def only_filters(answer):
    filters = re.findall(
        r"<details data-filter-title=\"(?:user|group)\".*?</details>",
        answer.content.decode(),
        re.DOTALL,
    )
    return [re.search(r"<ul>.*</ul>", each, re.DOTALL)[0] for each in filters]


def test_a_person_leads_to_their_conversations_and_one_who_is_gone_does_not():
    spent("ann", 2 * NANO)
    spent("bob", NANO)
    client = browser("owner")
    key = User.objects.get(username="bob").key.hex[:8]
    User.objects.get(username="bob").delete()
    ann, bob = next(iter(page(client).context["page"].tables())).lines
    assert (ann.name, bob.name) == ("ann", key)
    assert client.get(ann.conversations).status_code == 200
    assert bob.conversations == ""
    assert client.get(bob.calls).context["cl"].total.costs == {"USD": 1}


def test_narrowings_add_up_and_each_may_be_taken_away():
    spent("ann", NANO, model="big")
    spent("ann", 2 * NANO)
    spent("bob", 4 * NANO)
    ann = User.objects.get(username="ann").key.hex
    view = page(user=ann, model="m", days="7").context["page"]
    assert view.total.costs == {"USD": 2}
    assert [(what, name) for what, name, _href in view.narrowings] == [
        ("user", "ann"),
        ("model", "m"),
    ]
    (_, _, without), _model = view.narrowings
    assert parse_qs(urlsplit(without).query) == {"days": ["7"], "model": ["m"]}
    # How quickly models answer is not kept by person.
    assert view.speeds == []


@pytest.mark.parametrize(
    ("query", "days"),
    [
        ({}, 30),
        ({"days": "1"}, 1),
        ({"days": "8"}, 30),
        ({"from": "2026-03-01", "to": "2026-03-05"}, 5),
        ({"from": "2026-03-05"}, None),
        ({"from": "2026-03-05", "to": "2026-03-01"}, 0),
        ({"from": "1990-01-01", "to": "2026-03-01"}, 366),
        ({"from": "nonsense", "to": "2026-13-01"}, 30),
    ],
)
def test_a_span_is_what_the_address_says_or_30_days(query, days):
    spent("ann", NANO)
    span = page(**query).context["page"].span
    assert days is None or span.days == days


# --- who is shown what ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_the_page_opens_for_who_sees_sums_and_names_people_to_who_may_know(role):
    spent("ann-private", NANO, group="of-one")
    client = browser(role)
    answer = client.get(reverse("admin:spend"))
    if role == "member":
        assert answer.status_code == 403
        return
    shown = answer.content.decode()
    key = User.objects.get(username="ann-private").key.hex[:8]
    assert ("ann-private" in shown) == (role != "analyst")
    assert (f">{key}<" in shown) == (role == "analyst")


def test_an_analyst_is_not_led_to_who_is_in_a_group():
    spent("ann-private", NANO, group="of-one")
    client = browser("analyst")
    answer = page(client)
    lines = {line.name: line for table in answer.context["page"].tables() for line in table.lines}
    assert (lines["of-one"].href, lines["of-one"].calls) == ("", "")
    assert client.get(reverse("admin:spend"), {"group": "of-one"}).status_code == 403
    calls = reverse("admin:chat_call_changelist")
    assert client.get(calls, {"group": "of-one"}).status_code == 400
    export = reverse("admin:chat_call_export", args=["csv"])
    assert "of-one" not in read(client.get(export))
    assert "of-one" in read(browser("reviewer").get(export))


def test_a_stranger_is_sent_to_log_in():
    assert Client().get(reverse("admin:spend"))["Location"] == "/login/?next=/admin/spend/"


def test_no_post_is_taken_and_no_key_that_is_none():
    client = browser("owner")
    assert client.post(reverse("admin:spend")).status_code == 403
    for key in ("nonsense", "", "1"):
        assert client.get(reverse("admin:spend"), {"user": key}).status_code == 404


def test_the_page_asks_the_same_few_queries_whatever_there_is(django_assert_max_num_queries):
    for number in range(30):
        spent(f"p{number}", NANO, days_ago=number, model=f"m{number}", waited_ms=number * 100)
    Rate.objects.create(currency="EUR", into="RUB", rate=90)
    client = browser("reviewer")
    with django_assert_max_num_queries(14) as asked:
        page(client)
    # The days of the cards once, those that are shown twice: by day, and for all tables.
    sums = [query for query in asked.captured_queries if "chat_daytally" in query["sql"]]
    assert len(sums) == 3


def test_the_first_page_of_the_admin_leads_here():
    shown = browser("analyst").get("/admin/").content.decode()
    assert 'class="button" href="/admin/spend/"' in shown
