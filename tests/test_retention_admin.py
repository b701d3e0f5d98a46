"""Retention, holds and erasure in the admin: who may what, and what each action tells and does."""

import io
import json
import zipfile
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from chat.models import (
    Call,
    Conversation,
    Erasure,
    Feedback,
    Generation,
    Hold,
    Message,
    Purge,
    ReadLog,
    Retention,
    User,
)
from chat.models.calls import CallEnd
from chat.models.people import ROLES
from tests import people
from tests.rows import answer, ask, person, queries_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]


@pytest.fixture
def ann():
    """With a conversation, a call and a comment."""
    ann = person("ann")
    reply = answer(ask("A private matter"), "A private answer")
    call = Call.begin(reply.generation, reply.gateway, "m", 1)
    Call.end(CallEnd(call.pk, total_tokens=3, cost_nano=2_500_000_000, currency="USD"))
    Feedback.give(reply, -1, "A private word")
    return ann


def as_(role):
    return people.browser(people.of_role(role))


def at(name, *args):
    return reverse(f"admin:chat_{name}", args=args)


def notices(page):
    return [str(each) for each in page.context["messages"]]


# --- who may ---------------------------------------------------------------------------------------

MAY = {"owner", "administrator"}


@pytest.mark.parametrize("role", ROLES)
def test_each_action_is_for_its_roles_and_for_nobody_else(ann, role):
    Retention.objects.all().delete()
    old = Conversation.objects.create(
        owner=ann, title="Old", active_at=timezone.now() - timedelta(days=9)
    )
    hold = Hold.place("A dispute", None, person=person("bob"))
    client, may = as_(role), role in MAY
    rule = {"group": "", "idle_days": "5", "deleted_days": ""}
    assert client.post(at("retention_add"), rule).status_code == (302 if may else 403)
    assert Retention.objects.exists() == may
    Retention.objects.get_or_create(group=None, defaults={"idle_days": 5})
    assert client.post(at("retention_due")).status_code == (302 if may else 403)
    assert Conversation.objects.filter(pk=old.pk).exists() != may
    form = {"person": "ann", "conversation": "", "why": "Another"}
    assert client.post(at("hold_add"), form).status_code == (302 if may else 403)
    assert Hold.objects.filter(person=ann).exists() == may
    Hold.objects.filter(person=ann).delete()
    assert client.post(at("hold_change", hold.pk)).status_code == (302 if may else 403)
    assert Hold.objects.standing().exists() != may
    erased = client.post(at("user_erase", ann.pk), {"username": "ann"})
    assert erased.status_code == (302 if may else 403)
    assert User.objects.filter(pk=ann.pk).exists() != may


@pytest.mark.parametrize("role", ["owner", "reviewer"])
def test_an_administrator_erases_nobody_who_may_do_more(role):
    as_(role)
    target = User.objects.get(username=f"the-{role}")
    url = at("user_erase", target.pk)
    for answer_ in (as_("administrator").get(url), as_("administrator").post(url)):
        assert answer_.status_code == 403
    assert User.objects.filter(pk=target.pk).exists()


# --- rules ----------------------------------------------------------------------------------------


def test_a_rule_is_refused_where_there_is_one_or_it_has_no_days(ann):
    client = as_("administrator")
    Retention.objects.get_or_create(group=None)
    for form in (
        {"group": "", "idle_days": "5"},
        {"group": Group.objects.get(name="member").pk, "idle_days": "0"},
        {"group": Group.objects.get(name="member").pk, "deleted_days": "99999999"},
    ):
        page = client.post(at("retention_add"), form)
        assert page.status_code == 200
        assert "errorlist" in page.content.decode()
    assert Retention.objects.count() == 1


def test_what_would_go_is_told_without_a_word_and_goes_when_that_is_asked(ann):
    Retention.objects.all().delete()
    Retention.objects.create(idle_days=5, deleted_days=2)
    long_ago = timezone.now() - timedelta(days=9)
    for title in ("One", "Two"):
        Conversation.objects.create(owner=ann, title=f"Private {title}", active_at=long_ago)
    held = Conversation.objects.create(owner=ann, title="Held", active_at=long_ago)
    Hold.place("A dispute", None, conversation=held)
    client = as_("administrator")
    page = client.get(at("retention_due"))
    assert page.context["lines"] == [("all others", (2, 0, 0, 1))]
    assert "1 more would go if no legal hold stood on it" in page.content.decode()
    assert "rivate" not in page.content.decode()
    assert Conversation.objects.count() == 4
    page = client.post(at("retention_due"), follow=True)
    assert notices(page) == ["2 conversations are gone. 0 messages in all."]
    assert Purge.objects.get().by_key == User.objects.get(username="the-administrator").key
    assert Conversation.objects.filter(title="Held").exists()


def test_a_message_that_goes_alone_is_told_of(ann):
    Retention.objects.all().delete()
    Retention.objects.create(deleted_days=2)
    Message.objects.filter(role="assistant").update(deleted_at=timezone.now() - timedelta(days=9))
    client = as_("administrator")
    assert client.get(at("retention_due")).context["lines"] == [("all others", (0, 0, 1, 0))]
    page = client.post(at("retention_due"), follow=True)
    assert notices(page) == ["0 conversations are gone. 1 message in all."]


def test_what_would_go_is_told_in_as_few_queries_for_much_as_for_little(ann):
    def grow(count):
        reply = Message.objects.filter(role="assistant").first()
        for _ in range(count):
            old = {"owner": ann, "title": "Old", "active_at": timezone.now() - timedelta(days=99)}
            Conversation.objects.create(**old)
            Conversation.objects.create(**old, deleted_at=timezone.now() - timedelta(days=99))
            Hold.place("A dispute", None, conversation=Conversation.objects.create(**old))
            Message.objects.create(
                conversation=reply.conversation, role="user", deleted_at=old["active_at"]
            )

    Retention.objects.all().delete()
    Retention.objects.create(idle_days=5, deleted_days=2)
    client = as_("administrator")
    grow(1)
    asked = queries_of(lambda: client.get(at("retention_due")))
    grow(20)
    page = client.get(at("retention_due"))
    assert page.context["lines"] == [("all others", (21, 21, 21, 21))]
    assert queries_of(lambda: client.get(at("retention_due"))) <= asked
    for group in Group.objects.all()[:2]:
        Retention.objects.create(group=group, idle_days=5)
    # A rule asks for two numbers.
    assert queries_of(lambda: client.get(at("retention_due"))) <= asked + 4


# --- holds ----------------------------------------------------------------------------------------


def test_a_hold_is_placed_by_name_number_or_address_and_lifted(ann):
    client, conversation = as_("administrator"), Conversation.objects.get()
    for form in (
        {"person": "ann"},
        {"conversation": str(conversation.pk)},
        {"conversation": str(conversation.uuid)},
    ):
        assert client.post(at("hold_add"), form | {"why": "A dispute"}).status_code == 302
    assert [(h.person, h.conversation) for h in Hold.objects.order_by("pk")] == [
        (ann, None),
        (None, conversation),
        (None, conversation),
    ]
    page = client.get(at("hold_change", Hold.objects.last().pk)).content.decode()
    assert "A dispute" in page
    assert "rivate" not in page
    client.post(at("hold_change", Hold.objects.last().pk))
    assert client.get(at("hold_changelist") + "?state=lifted").context["cl"].result_count == 1


@pytest.mark.parametrize(
    "form",
    [
        {"why": "On nothing"},
        {"person": "nobody", "why": "x"},
        {"conversation": "nonsense", "why": "x"},
        {"conversation": "9" * 30, "why": "x"},
        {"person": "ann", "why": " "},
    ],
)
def test_a_hold_on_nothing_is_refused(ann, form):
    page = as_("administrator").post(at("hold_add"), form)
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert not Hold.objects.exists()


# --- erasing --------------------------------------------------------------------------------------


def test_a_person_is_erased_once_their_name_is_typed(ann):
    client, key = as_("administrator"), ann.key
    shown = client.get(at("user_erase", ann.pk)).content.decode()
    assert "rivate" not in shown
    page = client.post(at("user_erase", ann.pk), {"username": "Ann"})
    assert page.status_code == 422
    assert User.objects.filter(pk=ann.pk).exists()
    page = client.post(at("user_erase", ann.pk), {"username": "ann"}, follow=True)
    receipt = Erasure.objects.get()
    assert page.redirect_chain == [(at("erasure_change", receipt.pk), 302)]
    # A test's transaction keeps the files from being cleaned, and the page says so.
    assert receipt.cleaned_at is None
    shown = page.content.decode()
    for words in (str(key), "the-administrator", "not yet", "No backup that Potok knows of"):
        assert words in shown
    assert "ann<" not in shown
    assert "2.5 USD" in client.get(at("call_changelist")).content.decode()


def test_the_page_of_an_erasure_asks_as_little_of_somebody_who_wrote_much(ann):
    client = as_("administrator")
    asked = queries_of(lambda: client.get(at("user_erase", ann.pk)))
    for number in range(12):
        reply = answer(ask(f"Question {number}"), "An answer")
        Feedback.give(reply, 1, "Good")
    assert queries_of(lambda: client.get(at("user_erase", ann.pk))) <= asked <= 24


def test_a_held_person_is_not_erased_and_the_page_says_so(ann):
    Hold.place("The Smith case", None, conversation=ann.conversations.get())
    for answer_ in (
        as_("owner").get(at("user_erase", ann.pk)),
        as_("owner").post(at("user_erase", ann.pk), {"username": "ann"}),
    ):
        assert "The Smith case" in answer_.content.decode()
        assert 'name="username"' not in answer_.content.decode()
    assert answer_.status_code == 409
    assert User.objects.filter(pk=ann.pk).exists()
    assert "The Smith case" in as_("owner").get(at("user_change", ann.pk)).content.decode()


def test_the_last_owner_does_not_erase_themselves():
    client = as_("owner")
    url = at("user_erase", User.objects.get().pk)
    assert "last owner" in client.get(url).content.decode()
    assert client.post(url, {"username": "the-owner"}).status_code == 409
    as_("administrator")
    assert User.objects.filter(username="the-owner").exists()


# --- taking away ----------------------------------------------------------------------------------


def body(response):
    async def read():
        return b"".join([chunk async for chunk in response.streaming_content])

    return async_to_sync(read)()


def unzipped(response):
    assert response.status_code == 200
    with zipfile.ZipFile(io.BytesIO(body(response))) as packed:
        assert packed.testzip() is None
        return {name: packed.read(name).decode() for name in packed.namelist()}


def test_all_of_a_persons_data_is_one_archive_and_each_reading_is_logged(ann):
    kept = ann.conversations.get()
    deleted = answer(ask("Deleted since"), "Still kept").conversation
    deleted.delete_for_owner()
    files = unzipped(as_("owner").get(at("user_data", ann.pk)))
    assert set(files) == {
        "about.json",
        f"conversations/{kept.uuid}.json",
        f"conversations/{deleted.uuid}.json",
        "usage.jsonl",
        "feedback.jsonl",
        "identities.jsonl",
        "passkeys.jsonl",
        "read_by_staff.jsonl",
    }
    thread = json.loads(files[f"conversations/{kept.uuid}.json"])
    assert [m["text"] for m in thread["messages"]] == ["A private matter", "A private answer"]
    assert json.loads(files[f"conversations/{deleted.uuid}.json"])["deleted_at"]
    assert json.loads(files["about.json"])["username"] == "ann"
    assert json.loads(files["usage.jsonl"])["cost"] == "2.5"
    assert json.loads(files["feedback.jsonl"])["comment"] == "A private word"
    logged = [(r.reader, r.what, r.conversation) for r in ReadLog.objects.order_by("pk")]
    assert logged == [("the-owner", "export", c.uuid) for c in (kept, deleted)]
    # They are in it themselves.
    assert len(files["read_by_staff.jsonl"].splitlines()) == 2


@pytest.mark.parametrize("role", ["administrator", "reviewer", "analyst", "member"])
def test_nobody_but_an_owner_takes_anothers_data_away(ann, role):
    assert as_(role).get(at("user_data", ann.pk)).status_code == 403
    assert not ReadLog.objects.exists()


def test_the_switch_and_the_reason_cover_it(settings, ann):
    settings.STAFF_READING = "0"
    assert as_("owner").get(at("user_data", ann.pk)).status_code == 403
    settings.STAFF_READING = "reason"
    assert as_("owner").get(at("user_data", ann.pk))["Location"].startswith(reverse("admin:why"))
    assert not ReadLog.objects.exists()


# --- what people deleted --------------------------------------------------------------------------


def test_what_was_deleted_is_for_those_who_may_see_it(ann):
    reply = Message.objects.last()
    feedback, call = Feedback.objects.get(), Call.objects.get()
    reply.delete_for_owner()
    reviewer = as_("reviewer")
    wide = User.objects.create(username="wide")
    wide.groups.set(Group.objects.filter(name__in=["reviewer", "administrator"]))
    both = Client()
    both.force_login(wide)
    for client, is_seen in ((reviewer, False), (both, True)):
        queue = client.get(at("feedback_changelist")).content.decode()
        assert ("A private word" in queue) == is_seen
        page = client.get(at("feedback_change", feedback.pk))
        assert page.status_code == (200 if is_seen else 404)
        shown = client.get(at("conversation_change", reply.conversation_id)).content.decode()
        assert "A private matter" in shown
        assert ("A private answer" in shown) == is_seen
        shown = client.get(at("call_change", call.pk)).content.decode()
        assert ("A private matter" in shown) == is_seen
    reply.conversation.delete_for_owner()
    for client, is_seen in ((reviewer, False), (both, True)):
        listed = client.get(at("conversation_changelist")).content.decode()
        assert ("A private matter" in listed) == is_seen
        page = client.get(at("conversation_change", reply.conversation_id))
        assert page.status_code == (200 if is_seen else 404)
        exported = body(client.get(at("conversation_export", "jsonl"))).decode()
        assert ("A private matter" in exported) == is_seen
    assert Generation.objects.exists()
