"""One ledger: whatever happened to calls, every screen, export and roll-up says the same Decimal."""

import csv
import io
import json
import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from chat.models import Call, Conversation, DayTally, Generation, Tally, User
from chat.models.budgets import Weight
from chat.models.calls import CallEnd
from chat.models.generations import Outcome
from chat.models.money import NANO
from chat.rendering.export import as_json
from chat.rendering.usage import of_conversation
from tests import rows
from tests.people import browser

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
# Sums of these leave what a float can hold.
COSTS = (0, 1, 7, 333_333_333, 10**9 + 1, 10**15 + 1, 9 * 10**16 + 3)
CURRENCIES = ("USD", "RUB", "EUR")
Costs = dict[str, Decimal]


@pytest.fixture(autouse=True)
def far_east(settings):
    """Days that aren't UTC's."""
    settings.TIME_ZONE = "Asia/Vladivostok"


@pytest.fixture(params=[1, 20, 300])
def client(request):
    """An owner's, after a month in which much happened."""
    happen(random.Random(request.param))
    assert Call.objects.filter(currency="RUB", cost_nano__gt=0).exists()
    return browser(User.objects.create_superuser("zz-owner"))


def happen(chance):
    gateways = [rows.gateway("dollars", currency="USD"), rows.gateway("roubles", currency="RUB")]
    people = [rows.person(name) for name in ("ann", "bob", "cem")]
    people[0].groups.add(Group.objects.create(name="sales"))
    people[1].groups.add(Group.objects.get(name="analyst"))
    ended = []
    for number in range(30):
        person, gateway = chance.choice(people), chance.choice(gateways)
        talks = list(person.conversations.all())
        if talks and chance.random() < 0.5:
            reply = chance.choice(talks).send(f"Question {number}", "m", gateway)
        else:
            reply = Conversation.start(person, f"Question {number}", "m", gateway)
        generation = rows.claim()
        for attempt in range(1, chance.choice((1, 1, 2, 3)) + 1):
            model = chance.choice(("m", "big", "x" * 200))
            call = Call.begin(generation, chance.choice(gateways), model, attempt)
            long_ago(chance, call)
            ended.append(told(chance, call))
            Call.end(ended[-1])
        outcome = chance.choice((rows.COMPLETE, Outcome("failed", error_kind="server")))
        assert Generation.finish(generation.pk, generation.fence, outcome, ended[-1])
        if chance.random() < 0.3:
            title = Call.begin_title(reply.conversation, gateway, "small", Weight(1, 1))
            long_ago(chance, title)
            Call.end(told(chance, title))
    for end in chance.sample(ended, 15):
        Call.correct(told(chance, Call.objects.get(pk=end.call)))
    # The answer to some got lost, so they are ended again.
    for end in chance.sample(ended, 5):
        Call.end(end)


def long_ago(chance, call):
    ago = timedelta(seconds=chance.randrange(28 * 24 * 3600))
    Call.objects.filter(pk=call.pk).update(started_at=timezone.now() - ago)


def told(chance, call):
    """How it ended; of some nothing is known."""
    began = Call.objects.get(pk=call.pk).started_at
    facts = {"error_kind": chance.choice(("", "", "", "rate_limit"))}
    if chance.random() < 0.8:
        facts["first_delta_at"] = began + timedelta(milliseconds=chance.randrange(100_000))
    if chance.random() < 0.8:
        sure = chance.choice(("exact", "estimated"))
        tokens = {"prompt_tokens": chance.randrange(10**9), "completion_tokens": 20}
        facts |= tokens | {"total_tokens": sum(tokens.values()), "confidence": sure}
        cost = {"cost_nano": chance.choice(COSTS), "currency": chance.choice(CURRENCIES)}
        facts |= cost | {"cost_confidence": sure}
    return CallEnd(call.pk, **facts)


# --- what each place says -----------------------------------------------------------------------


def added(*costs: Costs) -> Costs:
    """Currency by currency; what comes to nothing is as good as not there."""
    sums: Costs = {}
    for each in costs:
        for currency, amount in each.items():
            sums[currency] = sums.get(currency, Decimal()) + amount
    return {currency: amount for currency, amount in sorted(sums.items()) if amount}


def of_calls(**which) -> Costs:
    """The truth: the rows, added one by one."""
    priced = Call.objects.filter(cost_nano__isnull=False, **which)
    return added(*({call.currency: Decimal(call.cost_nano) / NANO} for call in priced))


def of_nanos(pairs) -> Costs:
    return added(*({currency: Decimal(nano) / NANO} for currency, nano in pairs))


def page(client, name, **query):
    answer = client.get(reverse(f"admin:{name}"), query)
    assert answer.status_code == 200
    return answer.context


def exported(client, name, form):
    answer = client.get(reverse(f"admin:{name}_export", args=[form]))

    async def whole():
        return b"".join([chunk async for chunk in answer.streaming_content])

    text = async_to_sync(whole)().decode("utf-8-sig")
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


def test_the_roll_ups_say_what_calls_say(client):
    assert DayTally.differences() == Tally.differences() == 0
    assert of_nanos(DayTally.objects.values_list("currency", "cost_nano")) == of_calls()
    assert of_nanos(Tally.objects.values_list("currency", "cost_nano")) == of_threads()


def test_the_page_about_spending_says_it_in_all_and_in_every_table(client):
    spend = page(client, "spend", days="30")["page"]
    truth = of_calls()
    assert added(spend.total.costs) == truth
    assert added(*(line.sums.costs for line in spend.by_day)) == truth
    for table in spend.tables():
        assert added(*(line.sums.costs for line in table.lines)) == truth, table.title
    tokens = sum(filter(None, Call.objects.values_list("total_tokens", flat=True)))
    assert spend.total.tokens == tokens
    assert sum(line.sums.tokens or 0 for line in spend.by_day) == tokens


def test_the_list_of_calls_says_it_and_so_do_its_exports(client):
    truth = of_calls()
    assert added(page(client, "chat_call_changelist", sum="1")["cl"].total.costs) == truth
    for form in ("csv", "jsonl"):
        found = exported(client, "chat_call", form)
        assert len(found) == Call.objects.count()
        costs = [{row["currency"]: Decimal(row["cost"])} for row in found if row["cost"]]
        assert added(*costs) == truth, form


def test_conversations_say_it_in_their_list_transcripts_and_exports(client):
    truth = of_threads()
    listed = page(client, "chat_conversation_changelist")["cl"].result_list
    assert len(listed) == Conversation.objects.count()
    assert added(*(each.total.costs for each in listed)) == truth
    for each in listed:
        url = reverse("admin:chat_conversation_change", args=[each.pk])
        assert added(client.get(url).context["total"].costs) == of_threads(each)
    for form in ("csv", "jsonl"):
        told = [cost for row in exported(client, "chat_conversation", form) for cost in parts(row)]
        assert added(*told) == truth, form


def test_readers_are_told_it_of_their_conversations_and_of_each_message(client):
    messages = 0
    for each in Conversation.objects.all():
        total = of_conversation(each)
        costs = [{currency: cost} for cost, currency in total.costs] if total else []
        assert added(*costs) == of_threads(each)
        for message in as_json(each)["messages"]:
            # Of several currencies, or where one is unknown, none is told.
            if message["usage"] and message["usage"]["cost"]:
                cost = {message["usage"]["currency"]: Decimal(message["usage"]["cost"])}
                assert added(cost) == of_calls(message__uuid=message["id"])
                messages += 1
    assert messages > 5


def of_threads(conversation=None) -> Costs:
    """What calls for replies and for titles have cost, of one conversation or of all."""
    if conversation is None:
        of_replies, of_titles = {"message__isnull": False}, {"conversation__isnull": False}
    else:
        of_replies, of_titles = (
            {"message__conversation": conversation},
            {"conversation": conversation},
        )
    return added(of_calls(**of_replies), of_calls(**of_titles))


def parts(row):
    costs = row["cost"] if isinstance(row["cost"], list) else filter(None, row["cost"].split(", "))
    for cost in costs:
        amount, currency = cost.split(" ")
        yield {currency: Decimal(amount)}


def test_people_say_it_each_for_themselves(client):
    people = page(client, "chat_user_changelist")["cl"].result_list
    for person in people:
        assert added(person.used.costs) == of_calls(user_key=person.key)
    assert added(*(person.used.costs for person in people)) == of_calls()


def test_a_rebuild_changes_nothing(client):
    before = Counter(DayTally.objects.filter(calls__gt=0).values_list(*DayTally.KEYS, "cost_nano"))
    DayTally.rebuild()
    after = Counter(DayTally.objects.values_list(*DayTally.KEYS, "cost_nano"))
    assert before == after
