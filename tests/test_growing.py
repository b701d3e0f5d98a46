"""A reply rendered while it grows: what a page that applies the patches ends up with."""

import random
import re
from contextlib import suppress
from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rendering.growing import UNIT_MAX_CHARS
from chat.rendering.markdown import Growing, Patch, render

VOID = {"br", "hr", "input"}

TEXTS = {
    "everything": """# Title with *stress*

A paragraph with **bold**, `code`, [a link](https://example.com/a_b), ~~struck~~ and $x^2 + y_1$.
It goes on, costs $5 and $10, and ends with a hard break\\
here 🙂.

- one
- two **bold *both***
  - nested
  - `more`
- three

1. first

   with a paragraph
2. second

   ```sh
   echo "in a list"
   ```

> quoted **text**
> > twice

| Name | Value |
|------|------:|
| `a|b` | 1 |
| [x](http://y.z) | **2** |

$$
\\sum_{i=1}^n a_i
- b
$$

```python
def f(x: str) -> None:
    print(f"<{x}> 🙂")
```

---

See [the end][ref].

[ref]: https://example.org/end
""",
    "loose late": "- a\n- b\n- c\n\n- d\n- e\n\n\nafter\n",
    "tasks": "- [ ] do **this**\n- [x] done\n\ntext\n- [ ] again\n",
    "table in text": "before\n| a | b |\n|---|---|\n| 1 | 2 |\nlazy row\n\nafter | this\n",
    "no table": "| a | b\nbut text\n\n|--|\n",
    "bare table": "a | b\n--|--\n1 | 2\n3 | *4*\n",
    "setext": "Title\n=====\n\nOther *one\ntwo*\n---\n\ntext\n- - -\n",
    "open fence": "text\n\n```js\nlet a = `b`;\n\n~~~\n",
    "fences": "~~~~ c++ title=x\n```\n~~~\n    code\n~~~~\n\n   ```\n   a\n     b\n c\n   ```\nafter\n",
    "fence in items": "1. a\n   ```py\n   x = '**'\n\n   y\n   ```\n2. b\n\n- ~~~\n  open\n",
    "indented": "a\n\n    code **here\n\n    more\n\nb\n",
    "html": "<details>\n<summary>x</summary>\n\n- **a**\n\n</details>\n\n<!-- a\n\nb -->\n<b>c</b>\n",
    "definitions": "[a]: http://a.b\n[c]: http://c.d 'title'\n\n[a] and [c] and [e]\n\n[e]: http://e.f\n",
    "footnotes": "a[^1] b[^2]\n\n[^1]: some words\n[^2]: http://x.y\n",
    "money": "it costs $5 to $10, or $x, US$20 and 5$.\n\n$ 3 and $a_b$ and \\$c$ `$d$`\n",
    "maths": "\\(a_b*c*\\) \\[x\\] and $\\frac{1}{2$ broken\n\n\\[\n- a\n\n+ b\n\\]\n\n$$a$$ $$\n",
    "unclosed": "**a *b `c\n\n~~d [e](f\n\n![g](http://h.i\n\n$j\n\n<http://k\n\n\\(l\n\n$$\nm\n\n[n\n",
    "stars": "2*3*4 **a**b** *c **d* e** ***f** g* __h_i__ _j_k_ ~l~ ~~~m ~~\n* x\n*y\n",
    "images": "![**alt** text](https://x.y/z.png) [![in](http://a.b/c.png)](http://d.e) ![no](data:x)\n",
    "right to left": "שלום **עולם**\n\n- مرحبا\n\n| א | ב |\n|-|-|\n| ג | ד |\n",
    "numbers": "1\n2.\n3) x\n\n42 is\n\n2020. a year\n10. b\n",
    "quotes": "> - a\n>   b\n>\n> 1. c\nlazy\n\n> ```\n> code\n> ```\n\n>\n",
    "odd white space": "\n\n \ta\u00a0b\u2028c\n\n\n  * d\n\n\t* e\n \n\u3000f\n",
    "reserved": "a\ufdd0b\ufdd1 c\rd $\ufdd1$\r\n- e\r\n",
    "empty": "",
}  # fmt: skip


class Element:
    def __init__(self, tag: str, attributes: str = "") -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element | str] = []

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    @property
    def html(self) -> str:
        inner = "".join(
            escape(c, quote=False).replace("\u00a0", "&nbsp;") if isinstance(c, str) else c.html
            for c in self.children
        )
        end = "" if self.tag in VOID else f"</{self.tag}>"
        return f"<{self.tag}{self.attributes}>{inner}{end}" if self.tag else inner

    @property
    def last_words(self) -> "tuple[Element, int]":
        """Where the last text lies that isn't white space: its parent, and its place in that."""
        for place, child in reversed([*enumerate(self.children)]):
            if isinstance(child, Element):
                with suppress(LookupError):
                    return child.last_words
            elif child.strip():
                return self, place
        raise LookupError

    def find(self, *tags: str) -> "Element":
        for child in self.children:
            if isinstance(child, Element):
                if child.tag in tags:
                    return child
                try:
                    return child.find(*tags)
                except LookupError:
                    continue
        raise LookupError(tags)


class Tree(HTMLParser):
    """A strict reader of our HTML: every element closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert self._open == [self.root], html

    def handle_starttag(self, tag: str, attrs: object) -> None:
        source = self.get_starttag_text() or ""
        element = Element(tag, source[1 + len(tag) : -1])
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def tree(html: str) -> Element:
    return Tree(html).root


class Page:
    """The container of a message's body, and what the page's script does with a patch."""

    def __init__(self) -> None:
        self.blocks: list[Element] = []

    def apply(self, patches: list[Patch]) -> None:
        for patch in patches:
            if patch.kind == "trim":
                del self.blocks[patch.index :]
                continue
            fresh = tree(patch.html)
            if patch.kind == "block":
                assert patch.index <= len(self.blocks)
                self.blocks[patch.index : patch.index + 1] = [fresh]
                continue
            block = self.blocks[patch.index]
            if patch.kind == "words":
                parent, place = block.last_words
                text = parent.children[place]
                before = text.encode("utf-16-le")[: 2 * patch.at].decode("utf-16-le")
                seen = text.removeprefix(before)
                assert seen
                assert patch.html.startswith(seen) or seen.startswith(patch.html)
                parent.children[place] = before + max(seen, patch.html, key=len)
                continue
            if patch.kind == "text":
                code = block.find("code")
                assert len(code.text.encode("utf-16-le")) // 2 == patch.at
                code.children.append(fresh.text)
            else:
                items = block.find("ul", "ol", "tbody").children
                assert patch.at <= len(items)
                items[patch.at : patch.at + 1] = fresh.children

    @property
    def html(self) -> list[str]:
        return [block.html for block in self.blocks]

    @property
    def text(self) -> str:
        return "\n".join(block.text for block in self.blocks)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]{2,}", text)


def final(text: str) -> list[str]:
    return [block.html for block in render(text)]


def grown(pieces: list[str]) -> tuple[Growing, Page]:
    growing, page = Growing(), Page()
    for piece in pieces:
        page.apply(growing.grow(piece))
        assert page.html == [block.html for block in growing.blocks]
    return growing, page


@pytest.mark.parametrize("name", TEXTS)
def test_a_reply_cut_at_any_place_ends_as_the_whole_text(name: str) -> None:
    text = TEXTS[name]
    blocks = render(text)
    for cut in range(len(text) + 1):
        growing, page = grown([text[:cut], text[cut:]])
        page.apply(growing.finish())
        assert page.html == [block.html for block in blocks]
        assert growing.blocks == blocks


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("name", TEXTS)
def test_a_reply_in_deltas_of_any_size_ends_as_the_whole_text(name: str, size: int) -> None:
    text = TEXTS[name]
    growing, page = grown([text[at : at + size] for at in range(0, len(text), size)])
    page.apply(growing.finish())
    assert page.html == final(text)
    assert growing.length == len(text)


MARKUP = """
# @## @- @* @1. @> @```@```py
@~~~@    @
@

@


@  @**@*@_@`@``@[@]@](@)@](http://x.y)@![@$@$$@\\@\\(@\\)@\\[@\\]@<@<b>@</b>@<!--@-->@&amp;@| a | b |@
|---|---|
@---@===@[a]: http://b.c@[a]@http://d.e/f@~@~~@- [ ] @word@слово@🙂@שלום@x y@1@2@.@,@:@"@'@\t@\r@
\ufdd0@\ufdd1@\u202e"""

fragments = st.sampled_from(MARKUP.strip().split("@"))


@given(st.lists(fragments, max_size=40), st.randoms(use_true_random=False))
def test_any_markup_in_any_deltas_ends_as_the_whole_text(
    parts: list[str], chance: random.Random
) -> None:
    text = "".join(parts)
    pieces, at = [], 0
    while at < len(text):
        size = chance.randint(1, 12)
        pieces.append(text[at : at + size])
        at += size
    growing, page = grown(pieces)
    page.apply(growing.finish())
    assert page.html == final(text)
    assert growing.blocks == render(text)


# --- what is seen on the way ---


def seen(text: str) -> list[str]:
    """The page's text after each character."""
    growing, page, states = Growing(), Page(), []
    for character in text:
        page.apply(growing.grow(character))
        states.append(page.text)
    return states


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("**bold *and both*** ~~gone~~ __so__", "*_~"),
        ("some `code` and ``more code``", "``"),
        ("[a link](https://example.com/path) here", "[]()"),
        ("[a link][ref] here\n\n[ref]: http://x.y\n", ":"),
        ("![a picture](https://example.com/a.png)", "[]()"),
        ("# A heading\n\n## Another **one**\n", "#*"),
        ("- one\n- **two**\n  - three\n\n1. four\n2. five\n", "-*12."),
        ("- [ ] to do\n- [x] done\n", "-[]"),
        ("> said **so**\n> again\n", ">*"),
        ("```python\nx = 1\n```\n", "`"),
        ("| a | b |\n|---|---|\n| **c** | `d` |\n", "|-*`"),
        ("so $x_1^2$ and \\(a_b\\) and \\[c_d\\]\n\n$$\ne_f\n$$\n", "$\\"),
        ("so\n\n$$\na_1\n+ b_1\n$$\n\nand\n\\[\n- c\n\\]\nit is", "$\\"),
        ("a rule\n\n---\n\nand <https://example.com/x> too", "-<>"),
    ],
)
def test_markup_never_flashes(text: str, marks: str) -> None:
    for state in seen(text):
        for mark in marks:
            assert mark not in state.replace("https://", "").replace("example.com", "")


BEGUN = [
    "A **bold** move",
    "Some `code` and",
    "A [link](https://x.y) then",
    "See https://x.y and www.x.y, then",
    "- one\n- **two** and",
    "1. one\n\n2. two\n   - three",
    "> a quote\n> of",
    "## A heading",
    "a * b < c & d",
    "It costs $5 and",
    "    code",
    "| a | b |\n|---|---|\n| c | d",
    "Слово",
]
ends = st.sampled_from(
    " слово|s|, and|.|:|/|//|www|www.|http|://x.y|!|?|'|\"|(|)|-|=|+|1|. |  |;|%|🙂|日本|\u3000|…".split(
        "|"
    )
)


@given(st.sampled_from(BEGUN), st.lists(ends, min_size=1, max_size=8))
def test_plain_words_are_shown_as_if_they_had_come_with_the_rest(
    begun: str, words: list[str]
) -> None:
    growing, page = grown([begun])
    for length, word in enumerate(words, 1):
        page.apply(growing.grow(word))
        assert page.html == grown([begun + "".join(words[:length])])[1].html


@pytest.mark.parametrize("name", set(TEXTS) - {"definitions", "footnotes", "maths", "reserved"})
def test_all_words_are_seen_while_a_reply_grows(name: str) -> None:
    text = TEXTS[name]
    for length, state in enumerate(seen(text), 1):
        # The last line may still be held back, while it could become something else.
        whole = text[:length].rpartition("\n")[0]
        swallowed = r"\]\([^)]*\)?|```.*|~~~.*|\[.*\]: .*|- \[x\]|\$\$[^$]*(?:\$\$)?"
        kept = re.sub(swallowed, "", whole)
        for word in words(kept):
            assert word in state, (text[:length], state)


@pytest.mark.parametrize("name", TEXTS)
def test_finished_blocks_stay_as_they_are(name: str) -> None:
    growing, size = Growing(), 0
    for character in TEXTS[name]:
        for patch in growing.grow(character):
            assert patch.index >= size - 2
        size = len(growing.blocks)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A *bold", "A bold"),
        ("A **bold and *more", "A bold and more"),
        ("A **bold** **", "A bold"),
        ("some `code", "some code"),
        ("~~gone", "gone"),
        ("[a link](https://exa", "a link"),
        ("see [the end", "see the end"),
        ("- one\n- **two", "onetwo"),
        ("- one\n- ", "one"),
        ("> quoted **text", "quoted text"),
        ("## A *heading", "A heading"),
        ("| a | **b", "ab"),
        ("| a | b |\n|--", "ab"),
        ("$$\na_1\n- b", "a_1\n- b"),
        ("Title\n--", "Title"),
    ],
)
def test_a_text_that_is_cut_ends_as_it_was_shown(text: str, shown: str) -> None:
    """On the page that it grew in, and on one that is loaded afresh."""
    growing, page = grown(list(text))
    page.apply(growing.finish(is_cut=True))
    assert page.text == shown
    assert growing.blocks == render(text, is_cut=True)


@pytest.mark.parametrize(
    "text",
    ["One\n\n42", "One\n\n2020.", "It costs $5", "2 * 3", "snake_case", "[a]:", "-", "**", "a ~ b"],
)
def test_what_may_be_words_is_kept_where_a_text_is_cut(text: str) -> None:
    assert render(text, is_cut=True) == render(text)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_cut_at_any_place_keeps_its_words_and_its_blocks(name: str) -> None:
    text = TEXTS[name]
    for cut in range(len(text)):
        whole, ended = render(text[:cut]), render(text[:cut], is_cut=True)
        assert [block.html for block in ended[:-1]] == [b.html for b in whole[: len(ended) - 1]]
        assert not text[:cut].strip() or not whole or ended
        seen = "".join(tree(block.html).text for block in ended)
        at_first = "".join(tree(block.html).text for block in whole)
        begun = re.sub(r"\]\([^)]*|\]\[[^\]]*\Z", "", text[:cut])
        for word in words(at_first):
            assert word in seen or word not in words(begun), (text[:cut], seen)


@given(st.lists(fragments, max_size=40))
def test_any_markup_that_is_cut_renders_the_same_by_itself_and_grown(parts: list[str]) -> None:
    text = "".join(parts)
    growing, page = grown(parts)
    page.apply(growing.finish(is_cut=True))
    assert growing.blocks == render(text, is_cut=True)
    assert page.html == [block.html for block in growing.blocks]


def test_a_link_definition_that_comes_late_takes_effect_at_the_end_alone() -> None:
    growing, page = grown(["see [this] now\n\n", "more\n\n", "[this]: http://x.y\n\nend"])
    assert "[this]" in page.html[0]
    patches = growing.finish()
    assert [(patch.kind, patch.index) for patch in patches] == [("block", 0)]
    assert 'href="http://x.y"' in patches[0].html


def test_a_link_definition_works_for_all_that_follows() -> None:
    _, page = grown(["[this]: http://x.y\n\n", "see [this]\n\n", "- and\n- [this] now\n"])
    assert [html.count("http://x.y") for html in page.html] == [1, 1]


# --- what a delta costs ---


def kinds(pieces: list[str]) -> list[list[str]]:
    growing = Growing()
    return [[patch.kind for patch in growing.grow(piece)] for piece in pieces]


def test_code_grows_by_text() -> None:
    pieces = ["```py\nx", " = 1", "\ny = 2\n", "``", "`\n", "\nend"]
    assert kinds(pieces) == [["block"], ["text"], ["text"], [], ["block"], ["block"]]


def test_text_is_placed_by_utf_16_units() -> None:
    growing = Growing()
    growing.grow("```\n🙂я")
    assert growing.grow("x") == [Patch("text", 0, 3, "x")]


def test_plain_words_go_behind_the_last_one() -> None:
    growing = Growing()
    growing.grow("**A** & 🙂 b")
    assert growing.grow("c, d ") == [Patch("words", 0, 6, "bc, d")]
    (patch,) = growing.grow("e")
    assert (patch.kind, patch.html[-7:]) == ("block", "d e</p>")  # a parser says what a space means
    assert growing.grow("  ") == []


def test_lists_grow_by_item() -> None:
    pieces = ["- a\n", "- b", "c\n", "- d\n  - e\n", "- f\n- g\n", "\nend"]
    items = [["block"], ["item"], ["item"], ["item"], ["item", "item"], ["block"]]
    assert kinds(pieces) == items


def test_tables_grow_by_row() -> None:
    pieces = ["| a | b |\n|---|---|\n", "| 1 |", " 2 |\n", "| 3 | 4 |\n| 5 | 6 |\n", "\nend"]
    assert kinds(pieces) == [["block"], [], ["block"], ["item", "item"], ["block"]]


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("", " word {},"),
        ("- ", " word {},"),
        ("", "- item **{}**\n"),
        ("", "{}. item\n\n"),
        ("| a | b |\n|---|---|\n", "| {} | *b* |\n"),
        ("```python\n", "x = {}\n"),
        ("", "A *paragraph* {}.\n\n"),
        ("", "a line **{}**\n"),
        ("> ", "word {} "),
        ("- a\n", "  - nested {}\n"),
    ],
)
def test_the_thousandth_line_costs_no_more_than_an_early_one(start: str, line: str) -> None:
    growing = Growing()
    growing.grow(start)
    lines = [line.format(number) for number in range(3_000)]
    pieces = ["".join(lines[at : at + 10]) for at in range(0, 3_000, 10)]
    sizes = [sum(len(patch.html) for patch in growing.grow(piece)) for piece in pieces]
    # An open unit may be shown anew until it is too long for that; after it, only what is new is.
    assert max(sizes) < 8 * UNIT_MAX_CHARS
    assert sum(sizes[250:]) < 50 * 1_500


@given(st.lists(fragments, max_size=60), st.integers(0, 60))
def test_a_reader_who_comes_later_ends_with_the_same_page(parts: list[str], joined: int) -> None:
    growing, page, late = Growing(), Page(), Page()
    had = 0
    for number, part in enumerate(parts):
        patches = growing.grow(part)
        page.apply(patches)
        if number < joined:
            late.apply(patches)
            had = growing.length
        elif number > joined + 3:
            late.apply(patches)
        elif number == joined + 3:
            late.apply(growing.since(had))
            assert late.html == page.html
    patches = growing.finish()
    page.apply(patches)
    late.apply(growing.since(had))
    assert late.html == page.html == final("".join(parts))


def test_patches_applied_twice_change_nothing() -> None:
    growing, page = Growing(), Page()
    text = TEXTS["everything"]
    for at in range(0, len(text), 9):
        for patch in growing.grow(text[at : at + 9]):
            page.apply([patch])
            if patch.kind != "text":  # a page that already has the text sees it by its length
                page.apply([patch])
    assert page.html == [block.html for block in growing.blocks]


def test_a_reader_is_sent_what_changed_before_the_place_it_had_reached() -> None:
    growing = Growing()
    growing.grow("**a\n# ")
    reached = growing.length
    growing.grow("b\n")
    assert growing.blocks[0].end < reached
    assert [patch.index for patch in growing.since(reached)] == [0, 1, 2]
