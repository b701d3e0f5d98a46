from hypothesis import given
from hypothesis import strategies as st

from chat.rendering.clean import clean, clean_user

# text() leaves surrogates out unless the alphabet names them; controls are made likely.
wild = st.text(
    st.characters() | st.characters(categories=["Cs"]) | st.characters(max_codepoint=0x20)
)


def is_clean(text: str) -> bool:
    return not any((c < " " and c not in "\t\n") or "\ud800" <= c <= "\udfff" for c in text)


def test_controls_but_tab_and_newline_are_removed() -> None:
    assert clean("a\x00b\x1bc\rd\x0be\x0cf\tg\nh") == "abcdef\tg\nh"


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert clean("a\ud83db\ude00") == "a\ufffdb\ufffd"


def test_other_odd_characters_are_kept() -> None:
    text = "\x7f \x85 \u2028 \u2029 \ufeff \ufffd \ufffe \u200f \U0010ffff é е́"
    assert clean(text) == text


def test_clean_text_comes_back_as_the_same_object() -> None:
    text = "Привет, 世界 🙂\n\tok" * 3
    assert clean(text) is text


def test_a_users_line_ends_become_newlines() -> None:
    assert clean_user("a\r\nb\rc\n\r\nd\r\r\ne") == "a\nb\nc\n\nd\n\ne"


def test_a_gateways_carriage_returns_are_dropped() -> None:
    assert clean("a\r\nb\r") == "a\nb"


@given(wild)
def test_whatever_comes_in_the_result_is_clean_and_encodes(text: str) -> None:
    for cleaned in (clean(text), clean_user(text)):
        assert is_clean(cleaned)
        cleaned.encode()
        assert clean(cleaned) == cleaned


@given(wild, wild)
def test_cleaning_deltas_one_by_one_equals_cleaning_the_whole(first: str, second: str) -> None:
    assert clean(first) + clean(second) == clean(first + second)
