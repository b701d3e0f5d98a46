"""Exports of what a list is narrowed to: whole, exact, safe in a spreadsheet, logged."""

import csv
import io
import json
from decimal import Decimal

import pytest

from chat.admin.export import cell
from tests.gateway import usage_of


@pytest.fixture(scope="module")
def told(shared_server, shared_gateway, shared_owner):
    """Somebody's conversation whose title is a formula, and its id."""
    person = shared_server.add_user("exported")
    shared_gateway.reset()
    shared_gateway.reply("Ответ по-русски", usage=usage_of(3, 2) | {"cost": 0.000000123})
    conversation = person.send("=HYPERLINK(1) спросил ёж")
    person.wait_for_reply(conversation, "complete")
    return conversation


def export(client, what, form, query=""):
    answer = client.get(f"/admin/chat/{what}/export.{form}{query}")
    assert answer.status_code == 200
    assert "attachment" in answer.headers["Content-Disposition"]
    return answer.content.decode("utf-8")


def read(text):
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


def test_a_spreadsheet_opens_it_right_and_reckons_nothing(owner, told):
    text = export(owner, "conversation", "csv", "?owner=exported")
    assert text.startswith("\ufeff")
    (row,) = read(text)
    assert row["title"] == "'=HYPERLINK(1) спросил ёж"
    assert (row["id"], row["owner"], row["messages"], row["tokens"]) == (told, "exported", "2", "5")


def test_lines_of_json_have_the_thread_as_it_is(owner, told):
    (line,) = export(owner, "conversation", "jsonl", "?owner=exported").splitlines()
    row = json.loads(line)
    assert row["title"] == "=HYPERLINK(1) спросил ёж"
    assert [message["text"] for message in row["thread"]] == [
        "=HYPERLINK(1) спросил ёж",
        "Ответ по-русски",
    ]


def test_an_export_is_what_the_list_is_narrowed_to(owner, told):
    assert export(owner, "conversation", "csv", "?owner=nobody") == ""
    found = read(export(owner, "conversation", "csv", "?q=спросил&owner=exported"))
    assert [row["id"] for row in found] == [told]


def test_calls_add_up_to_what_the_conversations_say(owner, told):
    calls = read(export(owner, "call", "csv"))
    mine = [call for call in calls if call["user"] == "exported"]
    costs = [Decimal(call["cost"]) for call in mine if call["cost"]]
    (row,) = read(export(owner, "conversation", "csv", "?owner=exported"))
    told_cost = row["cost"].removesuffix(" USD")
    assert sum(costs) == (Decimal(told_cost) if told_cost else 0)
    assert sum(int(call["total_tokens"]) for call in mine) == int(row["tokens"])
    lines = [json.loads(line) for line in export(owner, "call", "jsonl").splitlines()]
    assert {line["id"] for line in lines} >= {int(call["id"]) for call in calls}


def test_an_export_of_many_chunks_is_whole(fresh_server):
    owner = fresh_server.visitor().set_up()
    fresh_server.manage("seed_demo", "--conversations", "400")
    owner.http.headers["Accept-Encoding"] = "gzip"
    told = export(owner, "call", "jsonl")
    assert len(told) > 200_000
    calls = read(export(owner, "call", "csv"))
    assert [json.loads(line)["id"] for line in told.splitlines()] == [int(c["id"]) for c in calls]


def test_an_export_stands_in_the_log_of_readings(owner, told):
    export(owner, "conversation", "jsonl", "?owner=exported")
    page = owner.get("/admin/chat/readlog/?owner=exported&what__exact=export").text
    assert "an export" in page


def test_nobody_else_exports(server, owner, told):
    stranger = server.add_user("no-exporter")
    for path in ("conversation/export.csv", "call/export.jsonl"):
        assert stranger.get(f"/admin/chat/{path}").status_code == 403
        visitor = server.visitor().get(f"/admin/chat/{path}")
        assert visitor.status_code == 302
    assert owner.get("/admin/chat/conversation/export.xlsx").status_code == 404
    assert owner.post("/admin/chat/conversation/export.csv").status_code == 403


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "|", " =", "\u00a0+", "＝", "＋"]
)
def test_no_text_is_a_formula(start):
    assert cell(f"{start}1") == f"'{start}1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, ""), (Decimal("1E-9"), "0.000000001"), (5, "5"), (["a", "b"], "a, b"), ("", "")],
)
def test_other_values_stay_what_they_are(value, shown):
    assert cell(value) == shown
