"""A reply rendered while it grows: what a page that applies the patches ends up with."""

import random
import re
import unicodedata
from html import escape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text))


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
    for cut in range(len(text) + 1):
        growing, page = grown([text[:cut], text[cut:]])
        page.apply(growing.finish())
        assert page.html == final(text)
        assert growing.blocks == render(text)


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
