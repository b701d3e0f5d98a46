"""Before a question is sent: what it will cost, what still fits. Held to what is then really sent."""

from decimal import Decimal

import pytest

from chat.models import Call, Conversation, Gateway, LanguageModel, Message, Price, User
from chat.models.language_models import Destination
from chat.models.parameters import Asked
from chat.replies import branch
from chat.replies.estimates import TOKENS_A_MESSAGE, estimate_tokens
from chat.replies.forecast import REPLY_TOKENS, Forecast, forecast
from chat.replies.prompt import budget_tokens, build
from tests.rows import answer, ask, fresh, gateway, person

pytestmark = pytest.mark.django_db
WORDS = "some words that were said here " * 20


def through() -> Gateway:
    return Gateway.objects.first() or gateway()


def ann() -> User:
    return User.objects.first() or person()


def of(text: str, conversation: Conversation | None = None, **more: object) -> Forecast:
    return forecast(ann(), Destination(through(), "m"), text, conversation, **more)


@pytest.fixture
def priced() -> Price:
    return Price.objects.create(
        gateway=through(), model="m", currency="RUB", prompt=Decimal(100), completion=Decimal(400)
    )


def set_context(tokens: int) -> None:
    LanguageModel.objects.create(gateway=through(), name="m", context_tokens=tokens)


def sent_with(conversation: Conversation, text: str, context: int) -> list[dict[str, str]]:
    """The messages that the runner would send for this question, had it been asked."""
    reply = ask(text, fresh_conversation(conversation))
    return build(branch.turns(reply.generation), budget_tokens(context))


def fresh_conversation(conversation: Conversation) -> Conversation:
    return Conversation.objects.get(pk=conversation.pk)


# --- what it costs ------------------------------------------------------------------------------


def test_a_first_question_costs_its_own_tokens_and_an_ordinary_reply(priced):
    found = of("How are you?")
    tokens = estimate_tokens("How are you?") + TOKENS_A_MESSAGE
    assert (found.prompt_tokens, found.reply_tokens) == (tokens, REPLY_TOKENS)
    million = Decimal(10**6)
    assert (
        found.cost == tokens * priced.prompt / million + REPLY_TOKENS * priced.completion / million
    )
    assert found.currency == "RUB"
    assert not found.is_near_limit


def test_the_history_and_the_system_prompt_are_paid_for_again(priced):
    first = answer(ask(WORDS), WORDS)
    bare = of("And?")
    whole = of("And?", first.conversation)
    assert whole.prompt_tokens == bare.prompt_tokens + 2 * (
        estimate_tokens(WORDS) + TOKENS_A_MESSAGE
    )
    told = of("And?", first.conversation, asked=Asked("Be brief. " * 50, {}))
    assert told.prompt_tokens > whole.prompt_tokens + 50
    assert told.cost > whole.cost > bare.cost


def test_a_message_with_other_words_is_counted_anew(priced):
    first = answer(ask("one"), "eins")
    before = of("And?", first.conversation).prompt_tokens
    Message.objects.filter(pk=first.pk).update(text=WORDS)
    assert of("And?", first.conversation).prompt_tokens > before + 50


def test_a_reply_is_thought_as_long_as_the_last_ones_here_and_no_longer_than_allowed(priced):
    first = answer(ask("one"), "eins")
    answer(ask("two", first.conversation), "zwei")
    for tokens, message in zip((100, 300), Message.objects.filter(role="assistant"), strict=True):
        Call.objects.create(
            message=message,
            gateway_slug="first",
            user=ann(),
            user_key=ann().key,
            model="m",
            completion_tokens=tokens,
        )
    assert of("three", fresh(first).conversation).reply_tokens == 200
    assert of("elsewhere").reply_tokens == 200
    bounded = of("three", fresh(first).conversation, asked=Asked("", {"max_tokens": 50}))
    assert bounded.reply_tokens == 50


def test_without_a_price_the_tokens_are_said_and_no_cost():
    found = of("How are you?")
    assert (found.cost, found.currency) == (None, "")
    assert found.prompt_tokens > 0


# --- what fits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [700, 1000, 1400])
def test_what_no_longer_fits_is_what_is_then_left_out(context):
    set_context(context)
    first = answer(ask(WORDS), WORDS)
    for _ in range(4):
        answer(ask(WORDS, fresh(first).conversation), WORDS)
    conversation = fresh(first).conversation
    found = of("And now?", conversation)
    sent = sent_with(conversation, "And now?", context)
    assert found.left_out == 11 - len(sent)
    assert 0 < found.left_out < 10
    assert found.is_near_limit
    assert found.percent == 100


def test_the_gauge_shows_near_the_limit_only():
    set_context(2000)
    assert not of("short").is_near_limit
    near = of("word " * 1200)
    assert (near.is_near_limit, near.left_out, near.is_too_long) == (True, 0, False)
    assert 70 <= near.percent < 100
    assert of("word " * 3000).is_too_long


def test_ten_thousand_messages_are_counted_once(django_assert_max_num_queries):
    first = answer(ask("one"), "eins")
    conversation = first.conversation
    rows = [
        Message(conversation=conversation, role=role, text=f"{n} words", current=True)
        for n in range(5000)
        for role in ("user", "assistant")
    ]
    Message.objects.bulk_create(rows, 500)
    found = of("And?", conversation)
    assert found.prompt_tokens > 10_000 * TOKENS_A_MESSAGE
    with django_assert_max_num_queries(10):
        assert of("And?", conversation).prompt_tokens == found.prompt_tokens
