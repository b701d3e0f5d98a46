"""How many tokens a text is thought to be."""

from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.replies.attempt import reported
from chat.replies.estimates import MAX_COUNTED_CHARS, estimate_tokens, of_cut_call
from chat.upstream.usage import from_report
from tests.script import Drop, usage_of

# What o200k_base makes of them.
COUNTED = [
    ("The quick brown fox jumps over the lazy dog.", 10),
    ("Съешь же ещё этих мягких французских булок, да выпей чаю.", 19),
    ("def gcd(a: int, b: int) -> int:\n    while b:\n        a, b = b, a % b\n", 28),
    ("今日は天気がいいので、公園を散歩しました。", 16),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_an_estimate_is_near_what_a_vocabulary_says(text, tokens):
    assert estimate_tokens(text) == pytest.approx(tokens, rel=0.3)


def test_nothing_is_no_token_and_anything_is_one():
    assert estimate_tokens("") == 0
    assert estimate_tokens(" ") == 1


@pytest.mark.parametrize("unit", ["word ", "слово ", "字", "\n", "!", "a"])
def test_a_sample_stands_for_the_whole(unit):
    text = unit * (2 * MAX_COUNTED_CHARS // len(unit))
    half = estimate_tokens(text[: len(text) // 2])
    assert estimate_tokens(text) == pytest.approx(2 * half, rel=0.03, abs=60)


@pytest.mark.parametrize("unit", ["word ", "a", "字", " ", "!", "é", "\U0001f600", "\u0301"])
def test_two_megabytes_take_as_long_as_the_sample(unit):
    def seconds(text: str) -> float:
        began = process_time()
        estimate_tokens(text)
        return process_time() - began

    def least(measure: Callable[[], float]) -> float:
        return min(measure() for _ in range(3))

    sample, whole = unit * (MAX_COUNTED_CHARS // len(unit)), unit * (2_000_000 // len(unit))
    assert least(lambda: seconds(whole)) < 5 * least(lambda: seconds(sample)) + 0.02


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens_property(text, more):
    # A piece that grows together may save one.
    assert estimate_tokens(text + more) >= estimate_tokens(text) - 1


def test_a_cut_call_is_marked_estimated():
    usage = of_cut_call([{"role": "user", "content": "Why?"}], "Because.")
    assert usage["confidence"] == "estimated"
    assert usage["prompt_tokens"] > 0 < usage["completion_tokens"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_report_in_the_midst_of_a_cut_stream_is_not_the_last_word():
    usage = from_report(usage_of(10, 5) | {"cost": 1})
    cut, whole = reported(usage, is_last=False), reported(usage)
    assert (cut["confidence"], cut["cost_confidence"]) == ("estimated", "estimated")
    assert (whole["confidence"], whole["cost_confidence"]) == ("exact", "exact")


def test_a_report_of_a_cost_alone_leaves_the_tokens_unknown():
    columns = reported(from_report({"cost": 1}))
    assert (columns["confidence"], columns["cost_confidence"]) == ("unknown", "exact")


def test_a_reply_that_was_cut_has_its_tokens_estimated(gateway, owner):
    gateway.reply("Because of the air, ", "which scatters", Drop())
    conversation = owner.send("Why is the sky blue?")
    usage = owner.wait_for_reply(conversation, "interrupted")["usage"]
    assert (usage["confidence"], usage["cost_confidence"]) == ("estimated", "unknown")
    assert usage["completion_tokens"] == pytest.approx(8, abs=2)
    assert usage["prompt_tokens"] == pytest.approx(10, abs=3)
