"""A continued reply joins what it had without repeating it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.replies.joint import LEAST_CHARS, OVERLAP_CHARS, Joint


def joined(had: str, pieces: list[str]) -> str:
    joint = Joint(had)
    return had + "".join(joint.feed(piece) for piece in pieces) + joint.end()


CASES = {
    "nothing repeated": ("The sky is", " blue today.", "The sky is blue today."),
    "the last words repeated": (
        "Light is scattered by the air, and the sky",
        "by the air, and the sky looks blue.",
        "Light is scattered by the air, and the sky looks blue.",
    ),
    "too little to be a repetition": ("ha ha ha", "ha ha", "ha ha haha ha"),
    "Cyrillic": (
        "Небо синее, потому что воздух рассеивает",
        "потому что воздух рассеивает свет.",
        "Небо синее, потому что воздух рассеивает свет.",
    ),
    "a fence opened twice": (
        "```python\nfor i in range(3):\n",
        "```python\n    print(i)\n```\n",
        "```python\nfor i in range(3):\n    print(i)\n```\n",
    ),
    "a fence opened twice with its last line": (
        "```python\nfor i in range(3):\n",
        "```python\nfor i in range(3):\n    print(i)\n```\n",
        "```python\nfor i in range(3):\n    print(i)\n```\n",
    ),
    "the end of an open fence": ("```\na = 1\n", "```\n\nDone.", "```\na = 1\n```\n\nDone."),
    "nothing came": ("The sky", "", "The sky"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_continuation_is_joined_however_it_is_cut(case):
    had, came, whole = CASES[case]
    assert joined(had, [came]) == whole
    assert joined(had, list(came)) == whole


@given(st.text(min_size=LEAST_CHARS, max_size=OVERLAP_CHARS), st.text(max_size=50), st.data())
def test_property_a_repeated_end_is_cut_and_every_new_word_kept(had, news, data):
    had, news = f"{had}|the end of it", f"~{news}"
    start = data.draw(st.integers(0, len(had) - LEAST_CHARS - 2))
    came = had[max(start, len(had) - OVERLAP_CHARS) :] + news
    cut = data.draw(st.integers(0, len(came)))
    if had.count("`") < 3 and had.count("~") < 3:
        assert joined(had, [came[:cut], came[cut:]]) == had + news
