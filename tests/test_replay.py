"""A reply played back: its steps are what readers had, and what happened beside the text is told."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from chat.admin import replay
from chat.models import Call, Generation, Message, ReadLog, Revision
from chat.models.generations import Outcome
from chat.rendering.markdown import Growing
from tests.people import browser, of_role
from tests.rows import COMPLETE, ask, claim, finish, fresh, save

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]

TEXT = "# Rivers\n\nThey begin\n\n- high up\n- in [springs][s]\n\n| a |\n|---|\n| 1 |\n\n[s]: https://a.example/\n"


def came(generation, *pieces, reasoning="", ended_ms=None, outcome=COMPLETE):
    """(milliseconds, text) each at a checkpoint; then its end."""
    if reasoning:
        save(generation, "", reasoning, ms=100)
    for ms, text in pieces:
        save(generation, text, ms=ms)
    if ended_ms is not None:
        finish(generation, outcome)
        began = timezone.now()
        Generation.objects.filter(pk=generation.pk).update(
            claimed_at=began, ended_at=began + timedelta(milliseconds=ended_ms)
        )


def of(reply):
    return replay.of(Message.objects.filter(pk=reply.pk).for_display().get())


def marks(found):
    return [(mark.at_ms, mark.kind, mark.label) for mark in found.marks]


def blocks_of(text):
    growing = Growing()
    growing.grow(text)
    return [block.html for block in growing.blocks]


def played(found, until=None):
    """What the page holds after so many steps, by ids, as the page's script puts it together."""
    page = {}
    for step in found.steps[:until]:
        page |= {block.id: str(block.html) for block in step.blocks}
        for kind, count in (("-b-", step.body_blocks), ("-rb-", step.reasoning_blocks)):
            page = {
                id_: html
                for id_, html in page.items()
                if kind not in id_ or int(id_.rpartition("-")[2]) < count
            }
    return page


# --- steps ----------------------------------------------------------------------------------------


def test_each_step_is_what_readers_had_and_the_last_is_the_reply():
    reply = ask()
    pieces = [(200 + 200 * n, TEXT[at : at + 7]) for n, at in enumerate(range(0, len(TEXT), 7))]
    came(claim(), *pieces, reasoning="Let me **think**", ended_ms=5000)
    found = of(reply)
    assert len(found.steps) == len(pieces) + 1
    assert found.steps[0].frame == replay.Frame(100, len("Let me **think**"), 0)
    body = f"m-{reply.uuid}-b-"
    for number, step in enumerate(found.steps[:-1], 1):
        here = [html for id_, html in played(found, number).items() if id_.startswith(body)]
        assert here == blocks_of(TEXT[: step.frame.text]), number
    assert [played(found)[f"{body}{n}"] for n in range(len(found.m.body))] == found.m.body
    assert "https://a.example/" in "".join(found.m.body)  # defined after it was used
    assert played(found)[f"m-{reply.uuid}-rb-0"] == found.m.reasoning[0]


def test_rates_are_those_between_two_steps():
    reply = ask()
    came(claim(), (1000, "x" * 10), (1500, "y" * 50), ended_ms=1500)
    assert [step.rate for step in of(reply).steps] == ["10", "100"]


def test_thousands_of_checkpoints_become_a_bearable_number_of_steps():
    reply = ask()
    generation = claim()
    came(generation, ended_ms=1_000_000)
    lines = "".join(f"{200 * n} 0 {n}\n" for n in range(1, 5000))
    Generation.objects.filter(pk=generation.pk).update(timings=lines)
    Message.objects.filter(pk=reply.pk).update(text="w " * 2500)
    found = of(reply)
    assert len(found.steps) <= replay.MAX_STEPS
    assert (found.steps[0].frame.text, found.steps[-1].frame.text) == (1, 4999)


# --- what is marked -------------------------------------------------------------------------------


def test_first_words_stalls_calls_and_the_end_are_marked():
    reply = ask()
    generation = claim()
    call = Call.begin(generation, reply.gateway, "m", 2)
    came(
        generation,
        *[(1500, "One "), (1700, "two "), (6700, "three")],
        ended_ms=11_000,
        outcome=Outcome("stopped"),
    )
    Call.objects.filter(pk=call.pk).update(
        started_at=fresh(reply).generation.claimed_at + timedelta(seconds=1)
    )
    found = of(reply)
    assert marks(found) == [
        (0, "start", "taken up"),
        (1000, "attempt", "call 2, first"),
        (1500, "first", "first words"),
        (1700, "stall", "nothing for 5.0 s"),
        (6700, "stall", "nothing for 4.3 s"),
        (11_000, "end", "stopped"),
    ]
    assert [[m.kind for m in step.marks] for step in found.steps] == [
        ["attempt", "first"],
        ["stall"],
        ["stall", "end"],
    ]
    assert found.length_ms == 11_000


def test_an_attempt_that_went_on_follows_the_one_that_was_cut():
    reply = ask()
    cut = Outcome("interrupted", error_kind="connection")
    came(claim(), (500, "Half "), ended_ms=1000, outcome=cut)
    fresh(reply).go_on()
    came(claim(), (700, "and half"), ended_ms=900)
    found = of(reply)
    assert marks(found) == [
        (0, "start", "taken up"),
        (500, "first", "first words"),
        (1000, "end", "interrupted: connection"),
        (1000, "start", "gone on with"),
        (1700, "first", "first words"),
        (1900, "end", "complete"),
    ]
    assert [step.frame for step in found.steps] == [(500, 0, 5), (1700, 0, 13)]


def test_a_retry_in_its_place_is_played_alone():
    reply = ask()
    reply.conversation.send("Next", "m", reply.gateway)
    came(claim(), (500, "Lost"), ended_ms=1000, outcome=Outcome("failed", error_kind="server"))
    fresh(reply).retry()
    came(claim(), (300, "Found"), ended_ms=400)
    found = of(reply)
    assert [step.frame for step in found.steps] == [(300, 0, 5)]
    assert "Found" in "".join(played(found).values())


def test_a_reply_that_was_changed_is_played_as_it_came():
    reply = ask()
    came(claim(), (300, "As it came"), ended_ms=400)
    Revision.rewrite(fresh(reply), "As it was changed")
    found = of(reply)
    assert found.was_changed
    assert "As it came" in "".join(found.m.body) == "".join(played(found).values())


def test_one_that_runs_is_played_as_far_as_it_is():
    reply = ask()
    came(claim(), (300, "So far "))
    found = of(reply)
    assert [kind for _, kind, _ in marks(found)] == ["start", "first"]
    assert played(found) == {f"m-{reply.uuid}-b-0": blocks_of("So far ")[0]}


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
def reply():
    reply = ask("A private matter")
    came(claim(), (300, "A private "), (600, "answer"), ended_ms=4000)
    return fresh(reply)


def reviewer():
    return browser(of_role("reviewer"))


def at(reply, conversation=None):
    where = (conversation or reply.conversation).pk
    return reverse("admin:chat_conversation_replay", args=[where, reply.uuid])


def test_it_is_logged_before_it_is_shown_and_can_be_read_without_a_script(reply):
    client = reviewer()
    transcript = reverse("admin:chat_conversation_change", args=[reply.conversation_id])
    assert at(reply) in client.get(transcript).content.decode()
    before = ReadLog.objects.count()
    page = client.get(at(reply)).content.decode()
    assert [r.what for r in ReadLog.objects.order_by("pk")[before:]] == ["replay"]
    for words in (
        "A private answer",
        "<template",
        "nothing for 3.4 s",
        ">0.6 s</th><td>0</td><td>16",
    ):
        assert words in page
    assert client.post(at(reply)).status_code == 403


def test_the_switch_and_the_reason_cover_it(settings, reply):
    client = reviewer()
    settings.STAFF_READING = "0"
    page = client.get(at(reply))
    assert page.status_code == 403
    assert "rivate" not in page.content.decode()
    settings.STAFF_READING = "reason"
    assert client.get(at(reply))["Location"].startswith(reverse("admin:why"))
    assert not ReadLog.objects.exists()


def test_only_a_reply_of_this_conversation_that_is_not_deleted(reply):
    client = reviewer()
    other = ask("Another")
    assert client.get(at(reply.parent)).status_code == 404
    assert client.get(at(reply, other.conversation)).status_code == 404
    assert client.get(at(other)).status_code == 200  # nothing to play, and it says so
    assert "nothing to play back" in client.get(at(other)).content.decode()
    reply.delete_for_owner()
    assert client.get(at(reply)).status_code == 404


def test_it_takes_few_queries_however_long_it_is(reply, django_assert_max_num_queries):
    client = reviewer()
    with django_assert_max_num_queries(16):
        client.get(at(reply))
