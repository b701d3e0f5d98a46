"""Reading by staff: logged before it is shown, switched off for all, asked for its reason; verdicts."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import Call, Conversation, Feedback, Picture, ReadLog, User
from chat.models.calls import CallEnd
from chat.models.read_log import Seen
from tests import people
from tests.rows import answer, ask, gateway, person
from tests.test_pictures import SECRET, as_url, made

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]

STAFF = ("administrator", "reviewer", "analyst")


@pytest.fixture
def ann():
    return person("ann")


@pytest.fixture
def conversation(ann):
    """Ann's: a private question with an answer that cost something."""
    reply = answer(ask("A private matter"), "A private answer")
    call = Call.begin(reply.generation, reply.gateway, reply.model, 1)
    end = CallEnd(call.pk, total_tokens=30, cost_nano=2_500_000_000, currency="USD")
    Call.end(end)
    return reply.conversation


def staff(role):
    return people.browser(people.of_role(role))


@pytest.fixture
def reviewer(conversation):
    return staff("reviewer")


def at(name, *args):
    return reverse(f"admin:{name}", args=args)


def drawing(conversation):
    """An image that the model made for its last reply."""
    reply = conversation.messages.last()
    Picture.keep(reply.pk, [as_url(made("PNG"))])
    return reply.pictures.get()


def log():
    rows = ReadLog.objects.order_by("pk")
    return [(row.reader, row.what, row.conversation) for row in rows]


# --- the log --------------------------------------------------------------------------------------


def test_each_reading_is_logged(reviewer, conversation):
    call = Call.objects.get()
    picture = drawing(conversation)
    feedback = Feedback.objects.create(message=conversation.messages.last(), rating=-1)
    for address, what in [
        (at("chat_conversation_changelist"), "title"),
        (at("chat_conversation_changelist") + "?q=private", "snippet"),
        (at("chat_conversation_change", conversation.pk), "transcript"),
        (at("chat_conversation_picture", conversation.pk, picture.pk), "picture"),
        (at("chat_call_change", call.pk), "call"),
        (at("chat_feedback_change", feedback.pk), "feedback"),
    ]:
        before = len(log())
        assert reviewer.get(address).status_code == 200
        assert log()[before:] == [("the-reviewer", what, conversation.uuid)], address


def test_an_image_is_seen_from_the_transcript(reviewer, conversation, ann):
    picture = drawing(conversation)
    transcript = reviewer.get(at("chat_conversation_change", conversation.pk)).content.decode()
    address = at("chat_conversation_picture", conversation.pk, picture.pk)
    assert f'href="{address}"' in transcript
    image = reviewer.get(address)
    assert image["Content-Type"] == "image/png"
    assert SECRET not in image.content
    # Of another conversation it is none, and what its owner deleted is not for reviewers.
    other = Conversation.start(ann, "Another matter", "m", gateway("second"))
    elsewhere = at("chat_conversation_picture", other.conversation.pk, picture.pk)
    assert reviewer.get(elsewhere).status_code == 404
    conversation.messages.update(deleted_at=timezone.now())
    assert reviewer.get(address).status_code == 404


def test_what_runs_now_is_logged_by_its_titles(reviewer, conversation):
    running = ask("Another matter").conversation
    reviewer.get(at("chat_generation_changelist"))
    assert log() == [("the-reviewer", "title", running.uuid)]


def test_nothing_is_shown_where_the_log_cannot_be_written(reviewer, conversation):
    reviewer.raise_request_exception = False
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE chat_readlog RENAME TO elsewhere")
    try:
        for name, *args in (("change", conversation.pk), ("changelist",)):
            with transaction.atomic():
                page = reviewer.get(at(f"chat_conversation_{name}", *args))
                transaction.set_rollback(True)
            assert page.status_code == 500
            assert "private" not in page.content.decode()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO chat_readlog")


def test_ones_own_conversation_is_read_without_a_note(reviewer):
    own = Conversation.start(
        User.objects.get(username="the-reviewer"), "My own", "m", gateway("second")
    ).conversation
    reviewer.get(at("chat_conversation_change", own.pk))
    assert log() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda: ReadLog.objects.update(reader="nobody"),
        lambda: ReadLog.objects.all().delete(),
        lambda: ReadLog.objects.get().delete(),
        lambda: ReadLog.objects.get().save(),
    ],
    ids=["update", "delete all", "delete one", "save"],
)
def test_the_log_is_only_added_to(ann, change):
    ReadLog.note(person("bob"), "transcript", [Seen(uuid4(), ann.key)])
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic():
        change()
    assert ReadLog.objects.get().reader == "bob"


def test_the_log_outlives_those_whom_it_names(reviewer, conversation, ann):
    reviewer.get(at("chat_conversation_change", conversation.pk))
    conversation.delete()
    User.objects.filter(username="the-reviewer").delete()
    owner = Client()
    owner.force_login(User.objects.create_superuser("root"))
    page = owner.get(at("chat_readlog_changelist"))
    assert "the-reviewer" in page.content.decode()
    assert conversation.uuid.hex[:8] in page.content.decode()


def test_the_log_is_found_by_reader_and_by_whose_it_was(reviewer, conversation, ann):
    reviewer.get(at("chat_conversation_change", conversation.pk))
    client = staff("administrator")
    for query, count in [
        ({"reader": "the-reviewer"}, 1),
        ({"reader": "else"}, 0),
        ({"owner": "ann"}, 1),
        ({"owner": "else"}, 0),
        ({"what__exact": "transcript"}, 1),
        ({"what__exact": "export"}, 0),
    ]:
        page = client.get(at("chat_readlog_changelist"), query)
        assert len(page.context["cl"].result_list) == count, query
    # Who may not read sees that it was read, and not what.
    assert "private" not in page.content.decode()


def test_people_see_that_they_were_read_and_whether_they_can_be(
    settings, reviewer, conversation, ann
):
    client = Client()
    client.force_login(ann)
    assert "So far nobody has." in client.get("/settings/").content.decode()
    reviewer.get(at("chat_conversation_changelist"))  # titles alone
    assert "So far nobody has." in client.get("/settings/").content.decode()
    reviewer.get(at("chat_conversation_change", conversation.pk))
    assert "That was once" in client.get("/settings/").content.decode()
    settings.STAFF_READING = "0"
    assert "You alone." in client.get("/settings/").content.decode()


# --- the switch and the reason --------------------------------------------------------------------


def test_switched_off_nobody_reads_and_the_sums_stay(settings, reviewer, conversation):
    settings.STAFF_READING = "0"
    root = Client()
    root.force_login(User.objects.create_superuser("root"))
    feedback = Feedback.objects.create(
        message=conversation.messages.last(), rating=-1, comment="My private words"
    )
    ask("Another private matter")
    for client in (reviewer, root):
        for address in (
            at("chat_conversation_change", conversation.pk),
            at("chat_conversation_history", conversation.pk),
            at("chat_feedback_change", feedback.pk),
        ):
            page = client.get(address)
            assert page.status_code == 403
            assert "private" not in page.content.decode()
        for address in (
            at("chat_conversation_changelist"),
            at("chat_conversation_changelist") + "?q=matter",
            at("chat_generation_changelist"),
            at("chat_call_change", Call.objects.get().pk),
            at("chat_feedback_changelist"),
        ):
            page = client.get(address)
            assert page.status_code == 200
            assert "rivate" not in page.content.decode(), address
        shown = client.get(at("chat_conversation_changelist")).content.decode()
        assert "2.5 USD" in shown
        assert client.get(at("why")).status_code == 403
    assert log() == []


def test_a_reason_is_asked_and_stands_in_the_log(settings, reviewer, conversation):
    settings.STAFF_READING = "reason"
    goal = at("chat_conversation_change", conversation.pk)
    for address in (goal, at("chat_conversation_changelist"), at("chat_generation_changelist")):
        answer_ = reviewer.get(address)
        assert answer_.status_code == 302
        assert answer_["Location"].startswith(at("why"))
    assert log() == []
    assert reviewer.post(at("why"), {"why": " ", "next": goal}).status_code == 422
    assert reviewer.post(at("why"), {"why": "Ticket 7", "next": goal})["Location"] == goal
    assert "A private matter" in reviewer.get(goal).content.decode()
    assert ReadLog.objects.get().why == "Ticket 7"


def test_a_reason_leads_nowhere_else(settings, reviewer):
    settings.STAFF_READING = "reason"
    for goal in ("https://evil.example/", "//evil.example", "javascript:x", ""):
        answer_ = reviewer.post(at("why"), {"why": "Ticket 7", "next": goal})
        assert answer_["Location"] == at("index")


def test_a_reason_is_forgotten_after_an_hour(settings, reviewer, conversation):
    settings.STAFF_READING = "reason"
    session = reviewer.session
    long_ago = timezone.now() - timedelta(minutes=61)
    session["reason_to_read"] = ("Ticket 7", long_ago.timestamp())
    session.save()
    assert reviewer.get(at("chat_conversation_change", conversation.pk)).status_code == 302


# --- who sees what of the list --------------------------------------------------------------------


def test_an_analyst_sees_sums_under_pseudonyms(conversation, ann):
    client = staff("analyst")
    shown = client.get(at("chat_conversation_changelist")).content.decode()
    assert "2.5 USD" in shown
    assert ann.key.hex[:8] in shown
    for words in ("ann<", "rivate", "/change/"):
        assert words not in shown
    assert log() == []


def test_an_administrator_sees_names_and_no_words(conversation):
    shown = staff("administrator").get(at("chat_conversation_changelist")).content.decode()
    assert "ann" in shown
    assert "rivate" not in shown


@pytest.mark.parametrize("role", STAFF)
@pytest.mark.parametrize(
    "query",
    [
        {"title__startswith": "A"},
        {"title": "A private matter"},
        {"messages__text__contains": "private"},
        {"owner__username": "ann"},
        {"owner__password__startswith": "x"},
    ],
)
def test_no_column_is_found_out_by_asking_for_it(conversation, role, query):
    client = staff(role)
    page = client.get(at("chat_conversation_changelist"), query)
    assert page.status_code == 400


@pytest.mark.parametrize("query", [{"owner": "ann"}, {"owner__id__exact": "1"}, {"group": "1"}])
def test_an_analyst_finds_nobody_by_name(conversation, query):
    client = staff("analyst")
    assert client.get(at("chat_conversation_changelist"), query).status_code == 400
    assert client.get(at("chat_call_changelist"), {"user__id__exact": "1"}).status_code == 400


# --- the list: filters and paging -----------------------------------------------------------------


def titles(client, **query):
    page = client.get(at("chat_conversation_changelist"), query)
    assert page.status_code == 200, page.get("Location")
    return [row.title for row in page.context["cl"].result_list]


def test_the_list_is_narrowed_by_owner_group_rating_and_cost(reviewer, conversation, ann):
    bob = person("Боб")
    bob.groups.add(Group.objects.get(name="member"))
    reply = Conversation.start(bob, "Of Bob", "m", conversation.messages.last().gateway)
    answer(reply)
    Feedback.objects.create(message=reply, rating=-1)
    member = Group.objects.get(name="member").pk
    private = ["A private matter"]
    for query, found in [
        ({"owner": "БОБ"}, ["Of Bob"]),
        ({"owner": "nobody"}, []),
        ({"group": member}, ["Of Bob"]),
        ({"group": "nonsense"}, []),
        ({"rating": "down"}, ["Of Bob"]),
        ({"rating": "up"}, []),
        ({"cost_from": "2.5", "currency": "USD"}, private),
        ({"cost_from": "2,500000001", "currency": "USD"}, []),
        ({"cost_to": "2.5", "currency": "USD"}, private),
        ({"cost_from": "1", "cost_to": "2", "currency": "USD"}, []),
        ({"cost_from": "1", "currency": "RUB"}, []),
        ({"cost_from": "nonsense", "currency": "USD"}, ["Of Bob", *private]),
        ({"owner__id__exact": ann.pk}, private),
    ]:
        assert titles(reviewer, **query) == found, query


def test_a_list_is_walked_there_and_back_by_its_rows(reviewer, conversation, ann):
    # Of one moment, so that only the key tells them apart.
    Conversation.objects.bulk_create(
        [Conversation(owner=ann, title=f"Number {number}") for number in range(119)]
    )
    Conversation.objects.update(active_at=timezone.now())
    everything = [f"Number {number}" for number in reversed(range(119))] + ["A private matter"]
    address, seen, pages = at("chat_conversation_changelist"), [], []
    query = "?"
    while query:
        pages.append(query)
        shown = reviewer.get(address + query).context["cl"]
        seen += [row.title for row in shown.result_list]
        query = shown.older
    assert seen == everything
    assert len(pages) == 3
    back = reviewer.get(address + shown.newer).context["cl"]
    assert [row.title for row in back.result_list] == everything[50:100]
    first = reviewer.get(address + back.newer).context["cl"]
    assert [row.title for row in first.result_list] == everything[:50]
    assert (first.newer, bool(first.older)) == ("", True)


@pytest.mark.parametrize(
    "place", ["2", "o", "o1", "n-1.2", "o99999999999999999.1", "x1.1", "o1.1.1"]
)
def test_a_place_that_is_none_breaks_nothing(reviewer, conversation, place):
    assert titles(reviewer, p=place) in (["A private matter"], [])


def test_a_search_shows_where_it_found_what(reviewer, conversation):
    page = reviewer.get(at("chat_conversation_changelist"), {"q": "answer"}).content.decode()
    assert "A private <mark>answer</mark>" in page


# --- problems -------------------------------------------------------------------------------------


def test_a_transcript_leads_to_thumbs_down_as_well(reviewer, conversation):
    reply = conversation.messages.last()
    Feedback.objects.create(message=reply, rating=-1)
    page = reviewer.get(at("chat_conversation_change", conversation.pk))
    assert page.context["problems"] == [{"href": f"#m-{reply.uuid}", "label": "thumbs down"}]
    assert "Jump to the problem" in page.content.decode()


# --- feedback -------------------------------------------------------------------------------------


@pytest.fixture
def queue(conversation):
    """Thumbs up and down, one of the latter done already."""
    found = {}
    for name, rating in (("up", 1), ("down", -1), ("done", -1)):
        reply = answer(ask(f"About {name}"), f"Answer {name}")
        found[name] = Feedback.objects.create(message=reply, rating=rating, comment=name)
    Feedback.objects.filter(pk=found["done"].pk).update(done_at=timezone.now())
    return found


def listed(client, **query):
    page = client.get(at("chat_feedback_changelist"), query)
    assert page.status_code == 200
    return [row.comment for row in page.context["cl"].result_list]


def test_the_queue_has_thumbs_down_first_and_what_is_done_apart(reviewer, queue):
    assert listed(reviewer) == ["down", "up"]
    assert listed(reviewer, state="all") == ["down", "up", "done"]
    assert listed(reviewer, state="done") == ["done"]
    assert listed(reviewer, rating__exact="1") == ["up"]
    page = reviewer.get(at("chat_feedback_changelist")).content.decode()
    assert '<td class="field-of_model">m</td>' in page


def verdict(client, feedback, **form):
    return client.post(at("chat_feedback_change", feedback.pk), form)


def test_a_verdict_is_kept_with_its_reviewer(reviewer, queue):
    row = queue["down"]
    assert (
        verdict(reviewer, row, verdict="wrong", note="Off by one", is_done="on").status_code == 302
    )
    row.refresh_from_db()
    assert (row.verdict, row.note, row.reviewer.username) == ("wrong", "Off by one", "the-reviewer")
    assert row.done_at is not None
    assert listed(reviewer) == ["up"]
    verdict(reviewer, row, verdict="wrong", note="Not yet")
    row.refresh_from_db()
    assert row.done_at is None


def test_a_reader_who_changes_their_mind_is_reviewed_anew(queue):
    row = queue["done"]
    Feedback.give(row.message, -1)
    row.refresh_from_db()
    assert row.done_at is not None
    Feedback.give(row.message, -1, "Something new")
    row.refresh_from_db()
    assert (row.done_at, row.comment) == (None, "Something new")


def test_a_verdict_that_is_none_is_refused_with_what_was_typed(reviewer, queue):
    page = verdict(reviewer, queue["down"], note="Kept words", verdict="nonsense")
    assert page.status_code == 200
    assert "Kept words" in page.content.decode()
    assert re.search('class="(field-error|errorlist)', page.content.decode())
    queue["down"].refresh_from_db()
    assert queue["down"].note == ""


@pytest.mark.parametrize("role", ["administrator", "analyst", "member"])
def test_nobody_else_gives_a_verdict(queue, role):
    assert verdict(staff(role), queue["down"], verdict="fine").status_code == 403
    queue["down"].refresh_from_db()
    assert queue["down"].verdict == ""


def test_no_verdict_is_given_without_reading(settings, reviewer, queue):
    settings.STAFF_READING = "0"
    assert verdict(reviewer, queue["down"], verdict="fine").status_code == 403
