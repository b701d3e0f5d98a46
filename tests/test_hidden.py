"""What is not seen is made visible where it could deceive: titles, the words of links, hosts."""

import pytest

from chat.rendering.hidden import revealed
from chat.rendering.markdown import render

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ёлка — 🙂", "ёлка — 🙂"),
        ("invoice\u202excod.exe", "invoice‹U+202E›xcod.exe"),
        ("a\u200bb", "a‹U+200B›b"),
        ("a\u2066b\u2069", "a‹U+2066›b‹U+2069›"),
        ("pay\u00adpal", "pay‹U+00AD›pal"),
        ("\ufeffa", "‹U+FEFF›a"),
        ("tag\U000e0041", "tag‹U+E0041›"),
        # Needed where they stand: Persian, a family, a flag.
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("❤\ufe0f", "❤\ufe0f"),
        (ENGLAND, ENGLAND),
        ("goo\u200dgle", "goo‹U+200D›gle"),
    ],
)
def test_a_hidden_character_is_named(text, shown):
    assert revealed(text) == shown


def test_a_link_says_what_is_hidden_in_its_words():
    html = render("[my\u202ebank.com](http://evil.example)")[0].html
    assert ">my‹U+202E›bank.com</a>" in html
    assert "evil.example</span>" in html


def test_a_link_without_words_shows_where_it_would_lead():
    assert ">ftp://files.example</p>" in render("[](ftp://files.example)")[0].html
    shown = render(f"![](data:image/png;base64,{'A' * 500})")[0].html
    assert "data:image/png;base64,AAA" in shown
    assert len(shown) < 200


TITLE = "Invoice \u202excod.exe"


def test_a_title_is_shown_with_what_is_hidden_in_it_wherever_it_stands(owner, gateway):
    gateway.reply("Yes.")
    conversation = owner.send("Which?")
    owner.wait_for_reply(conversation)
    owner.post(f"/c/{conversation}/rename/", {"title": TITLE})
    here = f"/c/{conversation}/"
    pages = {
        path: owner.get(path).text
        for path in (here, "/", f"{here}delete/", "/search/?q=Invoice", "/admin/chat/conversation/")
    }
    # Where it is changed it stands as it is.
    field = f'name="title" value="{TITLE}"'
    for path, page in pages.items():
        assert "‹U+202E›xcod.exe" in page, path
        assert TITLE not in page.replace(field, ""), path
    assert field in pages[here]
    assert "<title>Invoice ‹U+202E›xcod.exe · Potok</title>" in pages[here]


def test_a_title_that_comes_back_as_it_is_shown_stays_as_it_is(owner, gateway):
    gateway.reply("Yes.")
    conversation = owner.send("Which?")
    owner.wait_for_reply(conversation)
    owner.post(f"/c/{conversation}/rename/", {"title": TITLE})
    owner.post(f"/c/{conversation}/rename/", {"title": "Invoice ‹U+202E›xcod.exe"})
    assert owner.export(conversation)["title"] == TITLE
