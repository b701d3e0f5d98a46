"""Scores: scales that are defined, what reviewers give on them, where it is shown and exported."""

import csv
import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse

from chat.models import Scale, Score
from tests import people
from tests.rows import answer, ask

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]


@pytest.fixture
def reply():
    return answer(ask("A question"), "An answer")


@pytest.fixture
def scales():
    return [
        Scale.objects.create(name="accuracy", low=1, high=5),
        Scale.objects.create(name="polite", labels=["no", "yes"]),
    ]


def as_(role, name=""):
    return people.browser(people.of_role(role, name))


def at(name, *args):
    return reverse(f"admin:chat_{name}", args=args)


def give(client, reply, **given):
    form = {f"scale-{Scale.objects.get(name=name).pk}": value for name, value in given.items()}
    return client.post(at("conversation_score", reply.conversation_id, reply.uuid), form)


def scores():
    rows = Score.objects.order_by("pk").select_related("reviewer")
    return [(row.reviewer.username, row.name, row.value) for row in rows]


# --- scales ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ({"low": "1", "high": "5"}, "1–5"),
        ({"low": "1", "high": "5", "labels": "no\r\n\r\n yes \r\n"}, "no, yes"),
        ({"low": "-100", "high": "0"}, "-100–0"),
    ],
)
def test_an_administrator_defines_a_scale(form, values):
    client = as_("administrator")
    assert client.post(at("scale_add"), {"name": "accuracy", **form}).status_code == 302
    assert values in client.get(at("scale_changelist")).content.decode()
    shown = client.get(at("scale_change", Scale.objects.get().pk)).content.decode()
    assert ("no\nyes" in shown) == ("labels" in form)


@pytest.mark.parametrize(
    "form",
    [
        {"low": "5", "high": "5"},
        {"low": "1", "high": "102"},
        {"low": "x", "high": "5"},
        {"low": "1", "high": "5", "labels": "only one"},
        {"low": "1", "high": "5", "labels": "yes\nyes"},
        {"low": "1", "high": "5", "labels": "\n".join(map(str, range(21)))},
        {"low": "1", "high": "5", "name": ""},
    ],
)
def test_a_scale_that_is_none_is_refused(form):
    page = as_("administrator").post(at("scale_add"), {"name": "accuracy", **form})
    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert not Scale.objects.exists()


# --- giving ---------------------------------------------------------------------------------------


def test_each_reviewer_gives_their_own_changes_it_and_takes_it_back(reply, scales):
    one, other = as_("reviewer"), as_("reviewer", "rita")
    assert give(one, reply, accuracy="2", polite="1").status_code == 302
    give(other, reply, accuracy="5")
    before = Score.objects.get(reviewer__username="rita").created_at
    give(one, reply, accuracy="3", polite="")
    give(other, reply, accuracy="5")
    assert scores() == [("the-reviewer", "accuracy", 3), ("rita", "accuracy", 5)]
    # Given again it is the same one.
    assert Score.objects.get(reviewer__username="rita").created_at == before
    shown = one.get(at("conversation_change", reply.conversation_id)).content.decode()
    assert "accuracy: <strong>3</strong> · the-reviewer" in shown
    assert "accuracy: <strong>5</strong> · rita" in shown
    assert '<option value="3" selected>3</option>' in shown


@pytest.mark.parametrize("given", [{"accuracy": "6"}, {"accuracy": "x"}, {"polite": "2"}])
def test_what_is_not_on_the_scale_is_refused(reply, scales, given):
    assert give(as_("reviewer"), reply, **given).status_code == 400
    assert not Score.objects.exists()


@pytest.mark.parametrize("role", ["administrator", "analyst", "member"])
def test_nobody_else_gives(reply, scales, role):
    assert give(as_(role), reply, accuracy="2").status_code == 403
    assert not Score.objects.exists()


def test_not_without_reading_not_of_another_conversation_and_not_a_question(
    settings, reply, scales
):
    client, other = as_("reviewer"), ask("Another")
    address = at("conversation_score", other.conversation_id, reply.uuid)
    assert client.post(address, {}).status_code == 404
    assert give(client, reply.parent, accuracy="2").status_code == 404
    assert (
        client.get(at("conversation_score", reply.conversation_id, reply.uuid)).status_code == 403
    )
    settings.STAFF_READING = "0"
    assert give(client, reply, accuracy="2").status_code == 403
    settings.STAFF_READING = "1"
    reply.delete_for_owner()
    assert give(client, reply, accuracy="2").status_code == 404
    assert not Score.objects.exists()


@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example", "x"])
def test_it_leads_back_and_nowhere_else(reply, scales, goal):
    address = at("conversation_score", reply.conversation_id, reply.uuid)
    back = as_("reviewer").post(address, {"next": goal})["Location"]
    assert back == at("conversation_change", reply.conversation_id) + f"#m-{reply.uuid}"
    goal = at("feedback_changelist")
    assert as_("reviewer").post(address, {"next": goal})["Location"] == goal


def test_without_scales_a_transcript_has_no_form(reply):
    shown = as_("reviewer").get(at("conversation_change", reply.conversation_id)).content.decode()
    assert "/score/" not in shown


def test_a_score_outlives_its_scale(reply, scales):
    give(as_("reviewer"), reply, polite="1")
    Scale.objects.all().delete()
    shown = as_("reviewer").get(at("conversation_change", reply.conversation_id)).content.decode()
    assert "polite: <strong>1</strong>" in shown


# --- where it is found ----------------------------------------------------------------------------


def test_the_list_is_narrowed_by_a_scale_and_by_a_value(reply, scales):
    client, other = as_("reviewer"), answer(ask("Another"))
    give(client, reply, accuracy="2")
    give(client, other, polite="0")
    accuracy, polite = scales
    for value, found in [
        (f"{accuracy.pk}", ["A question"]),
        (f"{accuracy.pk}.2", ["A question"]),
        (f"{accuracy.pk}.3", []),
        (f"{polite.pk}.0", ["Another"]),
        ("999", []),
        ("nonsense", []),
        (f"{polite.pk}.x", []),
    ]:
        page = client.get(at("conversation_changelist"), {"score": value})
        assert [c.title for c in page.context["cl"].result_list] == found, value
    assert "Polite: yes" in client.get(at("conversation_changelist")).content.decode()


async def _read(response):
    return b"".join([chunk async for chunk in response.streaming_content])


@pytest.mark.parametrize(("role", "reviewer"), [("reviewer", "the-reviewer"), ("analyst", None)])
def test_exports_have_them_with_who_and_when(reply, scales, role, reviewer):
    give(as_("reviewer"), reply, polite="1")
    client = as_(role)
    row = json.loads(async_to_sync(_read)(client.get(at("conversation_export", "jsonl"))))
    assert row["scores"] == [
        {
            "message": str(reply.uuid),
            "name": "polite",
            "value": 1,
            "label": "yes",
            "reviewer": reviewer,
            "at": Score.objects.get().created_at.isoformat(),
        }
    ]
    text = async_to_sync(_read)(client.get(at("conversation_export", "csv"))).decode()
    (row,) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    assert row["scores"] == ("polite: yes (the-reviewer)" if reviewer else "polite: yes")


def test_a_transcript_asks_no_more_for_many_scores(reply, scales, django_assert_max_num_queries):
    for number in range(5):
        client = as_("reviewer", f"r{number}")
        give(client, reply, accuracy="2", polite="0")
    with django_assert_max_num_queries(19):
        client.get(at("conversation_change", reply.conversation_id))
