"""Budgets at a running server: set in the admin, held by a runner, refused in the browser."""

import json

import pytest
from playwright.sync_api import expect

from tests.gateway import Gateway
from tests.script import usage_of
from tests.test_accessibility import AXE, flaws
from tests.test_notices import Hook
from tests.waiting import until

BUDGET = {"period": "day", "currency": "USD", "is_hard": "on"}
TOO_MANY = 429


@pytest.fixture
def hook():
    import threading

    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def second():
    with Gateway() as gateway:
        gateway.models = [{"id": "test-model"}]
        yield gateway


@pytest.fixture
def owner(start_server, second):
    """Whose server has two gateways for one model, which is priced in both."""
    server = start_server(
        AITUNNEL_API_KEY="sk-second",
        AITUNNEL_BASE_URL=second.url,
        POTOK_DEMO="0",
        POTOK_PRIVATE_WEBHOOKS="1",
    )
    owner = server.visitor().set_up()
    until(lambda: owner.get("/").text.count('value="test-model"') == 2, "both list the model")
    for gateway in ("1", "2"):
        set_price(owner, gateway)
    return owner


def set_price(owner, gateway: str) -> None:
    owner.get("/admin/chat/price/add/")
    form = {"gateway": gateway, "model": "test-model", "currency": "USD"}
    form |= {"prompt": "1", "completion": "10", "cached": "", "valid_from": ""}
    assert owner.post("/admin/chat/price/add/", form).status_code == 302


def set_budget(owner, **form: str) -> None:
    owner.get("/admin/chat/budget/add/")
    answer = owner.post("/admin/chat/budget/add/", BUDGET | form)
    assert answer.status_code == 302, answer.text


FIGURES = (
    "from chat.models import *;import json;"
    "print(json.dumps([[a.spent_nano, a.held_nano, a.spent_tokens, a.held_tokens]"
    " for a in Allowance.objects.order_by('id')] + [Charge.differences()]))"
)


def figures(owner) -> list:
    return json.loads(owner.server.manage("shell", "-v0", "-c", FIGURES))


def test_a_reply_is_held_bounded_charged_warned_of_and_the_next_refused(owner, gateway, hook):
    set_budget(owner, money="0.003", webhook=hook.url, contact="the desk")
    gate = gateway.gate()
    gateway.reply("Light ", gate, "is scattered.", usage=usage_of(100, 250))
    conversation = owner.send("Why is the sky blue?", model="test-model")
    gate.wait_reached()
    # 0.003 USD buy a little less than 300 tokens beside the prompt.
    allowed = gateway.calls[-1].json["max_tokens"]
    assert 256 <= allowed < 300
    ((spent, held, _, _), differences) = figures(owner)
    assert (spent, differences) == (0, 0)
    assert 2_900_000 < held <= 3_000_000
    gate.open()
    owner.wait_for_reply(conversation, "complete")
    assert figures(owner) == [[2_600_000, 0, 350, 0], 0]
    until(lambda: hook.got, "the webhook is told")
    assert hook.got[0]["percent"] == 80
    assert hook.got[0]["money"] == {"spent": "0.0026", "limit": "0.003", "currency": "USD"}

    refused = owner.post(f"/c/{conversation}/messages/", {"text": "And the sea?", "model": ""})
    assert refused.status_code == TOO_MANY
    assert "the desk" in refused.text
    assert "And the sea?" in refused.text
    until(lambda: len(hook.got) == 2, "the webhook is told of the refusal")
    assert hook.got[1]["percent"] == 100
    assert len(gateway.calls) == 1


def test_another_gateway_that_stands_in_is_held_for_and_charged(owner, gateway, second):
    set_budget(owner, money="1")
    gateway.refuse(503, {"error": {"message": "overloaded"}})
    second.reply("From the second.", usage=usage_of(3, 4))
    conversation = owner.send("Hello", model="test-model")
    owner.wait_for_reply(conversation, "complete")
    assert figures(owner) == [[3_000 + 40_000, 0, 7, 0], 0]


def test_a_queued_reply_that_cannot_be_paid_says_so_and_can_be_tried_again(owner, gateway):
    gate = gateway.gate()
    gateway.reply("One", gate, usage=usage_of(10, 20))
    conversation = owner.send("First", model="test-model")
    gate.wait_reached()
    owner.send("Second", conversation, model="test-model")
    set_budget(owner, money="0.001")
    gate.open()
    reply = owner.wait_for_reply(conversation, "failed")
    assert reply["error"]["kind"] == "budget"
    assert "limit" in reply["error"]["message"]
    assert len(gateway.calls) == 1


@pytest.mark.parametrize("locale", ["ru"])
def test_5_13_a_person_reads_which_limit_it_is_and_keeps_the_text(
    owner, gateway, open_page, complaints
):
    set_budget(owner, money="0.003")
    gateway.reply("Свет рассеивается.", usage=usage_of(100, 250))
    page = open_page(owner)
    page.add_init_script(path=AXE)
    complaints[0].allow("status of 429|Error Code 429")
    page.goto("/")
    page.fill("[name=text]", "Почему небо синее?")
    page.fill("[name=model]", "test-model")
    page.click("[name=send]")
    page.locator("[data-role=assistant][data-status=complete]").wait_for()
    page.fill("[name=text]", "А море?")
    # What is left is told while the next question is written.
    expect(page.locator("#limits")).to_contain_text("Дневной лимит этого сервера: до")
    assert flaws(page) == []
    page.click("[name=send]")
    alert = page.locator("#composer-alert [role=alert]")
    expect(alert).to_contain_text("Дневной лимит этого сервера исчерпан: использовано")
    expect(alert).to_contain_text("Поднять его может администратор.")
    expect(page.locator("[name=text]")).to_have_value("А море?")
    expect(page.locator("[data-message]")).to_have_count(2)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert flaws(page) == [], scheme


def test_an_open_page_tells_what_its_own_replies_have_nearly_used_up(owner, gateway, open_page):
    set_budget(owner, tokens="100", money="", currency="", is_hard="")
    pages = [open_page(owner), open_page(owner)]
    for page in pages:
        page.goto("/")
        page.locator("body[data-connection=live]").wait_for()
    talks, waits = pages
    for prompt, is_near in ((40, False), (50, True)):
        gate = gateway.gate()
        gateway.reply("Light ", gate, "is scattered.", usage=usage_of(prompt, 0))
        talks.fill("[name=text]", "Why is the sky blue?")
        talks.fill("[name=model]", "test-model")
        talks.click("[name=send]")
        expect(talks.locator("[data-role=assistant]").last).to_contain_text("Light")
        # What it may cost is held, and is no use of it yet.
        assert talks.locator("#limits").inner_text() == ""
        gate.open()
        ended = talks.locator("[data-role=assistant][data-status=complete]")
        expect(ended).to_have_count(2 if is_near else 1)
        for page in pages:
            expect(page.locator("#limits .limit")).to_have_count(int(is_near))
    assert "10 tokens left" in (told := talks.locator("#limits").inner_html())
    assert waits.locator("#limits").inner_html() == told
    talks.reload()
    assert talks.locator("#limits").inner_html() == told
