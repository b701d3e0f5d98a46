"""Words of texts and queries: folded alike, bounded, and found again where they stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rendering.words import (
    QUERY_CHARS,
    SNIPPET_CHARS,
    TERMS,
    Piece,
    Term,
    fold,
    marked,
    snippet,
    spread,
    terms,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ЁЖИК", "ежик"), ("Ёлка", "елка"), ("Straße", "STRASSE"), ("ﬁn", "fin"), ("и\u0306", "й")],
)
def test_spellings_of_one_word_fold_to_the_same(one, other):
    assert fold(one) == fold(other)


def test_only_letters_and_digits_are_indexed():
    assert spread("foo-bar_baz: 3.14 «Ёж», x@y") == "foo bar baz 3 14 еж x y"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Реки", [Term(("реки",))]),
        ('"в тумане" ёжик', [Term(("в", "тумане"), is_whole=True), Term(("ежик",))]),
        ('"not closed', [Term(("not", "closed"), is_whole=True)]),
        ("«в тумане» “a b”", [Term(("в", "тумане"), True), Term(("a", "b"), True)]),
        ("gpt-4o", [Term(("gpt", "4o"))]),
        ("same SAME", [Term(("same",))]),
        ("% _ ' \\ \" * ( ) : - ^", []),
        ("", []),
    ],
)
def test_a_query_is_words_and_phrases(query, found):
    assert terms(query) == found


def test_a_query_is_bounded():
    assert len(terms(" ".join(f"w{n}" for n in range(100)))) == TERMS
    assert terms("a" * 10_000) == [Term(("a" * QUERY_CHARS,))]


@pytest.mark.parametrize(
    ("query", "text", "words"),
    [
        ("реки", "Там текут реки и РЕКАМИ зовутся", ["реки", "РЕКАМИ"]),
        ("рек", "Река, но не дорека", ["Река"]),
        ("rivers", "A river, riverside, arrivers", ["river", "riverside"]),
        ('"в тумане"', "Ёжик в\n тумане, в туманеX", ["в\n тумане"]),
        ("ежик", "Ёжик", ["Ёжик"]),
        ("го", "го гора", ["го"]),
        ("strasse", "Die ﬁnstere Straße dort", ["Straße"]),
    ],
)
def test_what_was_found_is_marked(query, text, words):
    pieces = marked(text, terms(query))
    assert [piece.text for piece in pieces if piece.is_found] == words
    assert "".join(piece.text for piece in pieces) == text


def test_a_snippet_is_the_place_where_the_word_stands():
    text = "intro " * 200 + "the needle here " + "outro " * 200
    pieces = snippet(text, terms("needle"))
    assert Piece("needle", is_found=True) in pieces
    assert pieces[0] == Piece("…")
    assert pieces[-1].text.endswith("…")
    assert len("".join(piece.text for piece in pieces)) < SNIPPET_CHARS + 20


def test_a_snippet_without_the_word_is_the_beginning():
    assert snippet("one\n\ntwo", terms("absent")) == [Piece("one two")]


@given(st.text(), st.text())
def test_a_snippet_says_nothing_but_the_text(text, query):
    for pieces in (snippet(text, terms(query)), marked(text, terms(query))):
        for piece in pieces:
            assert piece.text.strip("…").split() == [] or all(
                part in text for part in piece.text.strip("…").split()
            )
