"""A branch becomes the messages of a request, within the budget."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.replies.prompt import PromptTooLong, Turn, build

TURNS = [
    Turn("system", "Be brief."),
    Turn("user", "one"),
    Turn("assistant", "eins"),
    Turn("user", "two"),
    Turn("assistant", "zwei"),
    Turn("user", "three"),
]


def texts(messages: list[dict[str, str]]) -> list[str]:
    return [message["content"] for message in messages]


def test_a_branch_is_sent_whole_and_in_order():
    assert build(TURNS) == [{"role": turn.role, "content": turn.text} for turn in TURNS]


def test_nothing_is_nothing():
    assert build([]) == []
    assert build([Turn("assistant", "")], 10) == []


def test_a_reply_without_a_word_is_left_out_and_roles_take_turns():
    turns = [Turn("user", "one"), Turn("assistant", ""), Turn("user", "two")]
    assert build(turns) == [{"role": "user", "content": "one\n\ntwo"}]


def test_text_is_sent_as_it_is():
    assert texts(build([Turn("user", "  a\n\n b \t")])) == ["  a\n\n b \t"]


def test_the_newest_fit():
    assert texts(build(TURNS, 10_000)) == [turn.text for turn in TURNS]
    assert texts(build(TURNS, 22)) == ["Be brief.", "two", "zwei", "three"]
    assert texts(build(TURNS, 12)) == ["Be brief.", "three"]


def test_an_answer_does_not_stand_without_its_question():
    long = [Turn("user", "x" * 400), *TURNS[2:]]
    assert texts(build(long, 40)) == ["two", "zwei", "three"]


def test_a_last_question_that_does_not_fit_is_too_long():
    with pytest.raises(PromptTooLong):
        build([Turn("user", "word " * 100)], 50)


turns = st.lists(
    st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text(max_size=20)), max_size=12
)


@given(turns)
def test_property_roles_take_turns_and_no_word_is_lost(branch):
    messages = build(branch)
    roles = [message["role"] for message in messages]
    assert all(one != other for one, other in pairwise(roles))
    assert "\n\n".join(texts(messages)) == "\n\n".join(turn.text for turn in branch if turn.text)


@given(turns, st.integers(0, 60))
def test_property_what_is_kept_is_the_end(branch, budget_tokens):
    whole = build(branch)
    try:
        kept = build(branch, budget_tokens)
    except PromptTooLong:
        return
    assert kept == whole[len(whole) - len(kept) :]
    assert bool(kept) is bool(whole)
    assert len(kept) < 2 or kept[0]["role"] == "user" or kept == whole
