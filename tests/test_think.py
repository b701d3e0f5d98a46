"""`<think>` blocks become reasoning, outside of code, however the text is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.upstream.think import Splitter


def split(*pieces: str) -> tuple[str, str]:
    splitter = Splitter()
    told = [splitter.feed(piece) for piece in pieces] + [splitter.end()]
    return "".join(answer for answer, _ in told), "".join(thought for _, thought in told)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<think>\nHm.\n</think>\n\nHi", "Hi", "Hm."),
        ("Hi", "Hi", ""),
        ("\n\n<think>Hm.</think>Hi", "\n\nHi", "Hm."),
        ("Well <think> Hm. </think> then", "Well then", "Hm."),
        ("<think>a</think>b<think>c</think>d", "bd", "a\n\nc"),
        ("<think></think>\n\nHi\n", "Hi\n", ""),
        ("<think>never closed\n", "", "never closed"),
        ("a </think> b", "a </think> b", ""),
        ("<think>a <think> b</think>c", "c", "a <think> b"),
        ("a < b and <thinking> and <th", "a < b and <thinking> and <th", ""),
        ("  kept  \n", "  kept  \n", ""),
    ],
)
def test_blocks_are_told_apart(text: str, answer: str, reasoning: str) -> None:
    assert split(text) == (answer, reasoning)
    assert split(*text) == (answer, reasoning)


@pytest.mark.parametrize(
    "text",
    [
        "Write `<think>` first.",
        "Write ``a ` <think> b`` first.",
        "```html\n<think>no</think>\n```\nafter",
        "~~~~\n```\n<think>\n~~~\n<think>\n~~~~\n",
        "1. item\n   ```\n   <think>\n   ```\n",
        "> ```\n> <think>\n> ```\n",
        "```\n<think> in a fence that never closes",
        "``` <think>\n",
    ],
)
def test_a_tag_in_code_is_text(text: str) -> None:
    assert split(text) == (text, "")
    assert split(*text) == (text, "")


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("a ` b <think>c</think>d", "a ` b d", "c"),  # the span never closes
        ("a ` b\n<think>c</think>`d", "a ` b\n`d", "c"),  # nor does it cross lines
        ("```\ncode\n```\n<think>c</think>d", "```\ncode\n```\nd", "c"),
        ("<think>say `</think>` never</think>d", "d", "say `</think>` never"),
        ("<think>```\nunclosed</think>d", "d", "```\nunclosed"),
        ("``` not a fence ``` <think>c</think>d", "``` not a fence ``` d", "c"),
    ],
)
def test_a_tag_outside_code_is_a_tag(text: str, answer: str, reasoning: str) -> None:
    assert split(text) == (answer, reasoning)
    assert split(*text) == (answer, reasoning)


PIECES = ["<think>", "</think>", "<th", "ink>", "`", "``", "```", "~~~", "\n", " ", "a", "> ", "é"]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.data())
def test_however_the_text_is_cut_the_split_is_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(*pieces) == split(text)


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_nothing_but_tags_and_white_space_is_lost(text: str) -> None:
    kept = "".join(split(text)).replace("<think>", "").replace("</think>", "")
    original = text.replace("<think>", "").replace("</think>", "")
    assert sorted("".join(kept.split())) == sorted("".join(original.split()))


def test_a_run_of_backticks_longer_than_any_bound_is_cut_the_same() -> None:
    text = "`" * 250 + " <think>c</think> " + "`" * 250 + " x\n"
    assert split(text) == split(*text)


def test_a_tag_in_an_open_span_is_not_held_back_for_ever() -> None:
    splitter = Splitter()
    splitter.feed("a ` b <think>")
    assert splitter.feed("c" * 2000)[1].startswith("c")
