"""Code blocks: the frame that pages show, and the highlighting of a closed block."""

import re
from functools import lru_cache
from html import escape
from typing import Any

from pygments.token import STANDARD_TYPES  # type: ignore[import-untyped]

CODE_MAX_CHARS = 20_000
LINE_MAX_CHARS = 1_000

# What the lexers are asked for; a name outside this list is shown plain. Each of these stays
# within a bounded time on hostile code (tests), which not every lexer of Pygments does.
_LANGUAGES = (
    "awk bash bat c c# c++ clojure cmake console cpp cs csharp css dart diff django docker "
    "dockerfile elixir erlang f# fortran fsharp go golang graphql groovy haskell html http "
    "ini java javascript js json jsx julia kotlin latex lisp lua make makefile matlab "
    "nginx nix objective-c objectivec ocaml perl php postgres postgresql "
    "powershell proto protobuf ps1 py python python3 r rb rs ruby rust scala scheme scss sh "
    "shell sql swift tex toml ts tsx typescript vim xml yaml yml zig zsh"
)
LANGUAGES = frozenset(_LANGUAGES.split())

CLASSES = frozenset(name for name in STANDARD_TYPES.values() if name)

# These try a long pattern at each word of a text that never comes to a point: quadratic time.
_LONG_WINDED = {
    *("c", "c++", "cpp", "c#", "cs", "csharp", "groovy", "java", "matlab"),
    *("objective-c", "objectivec"),
}
_GAP = re.compile(r"\s{400}")
_POINTLESS = re.compile(r"[\w\s.\[\]<>?$*&:!+|^~-]{300}")

# How a file of such code ends; a name that isn't here is saved as text.
_SAME = (
    "awk bat c cpp cs css csv dart diff go graphql groovy hs html ini java jl js json jsonl jsx kt "
    "less lua m md ml nix patch php pl proto ps1 py r rb rs sass scala scm scss sh sol sql svelte "
    "svg swift tex toml ts tsx txt vb vim vue xml yaml yml zig"
)
_ENDINGS = (
    "bash:sh c#:cs c++:cpp clojure:clj cmake:cmake csharp:cs django:html docker:dockerfile "
    "dockerfile:dockerfile elixir:ex erlang:erl f#:fs fortran:f90 fsharp:fs golang:go haskell:hs "
    "javascript:js julia:jl kotlin:kt latex:tex lisp:lisp make:mk makefile:mk markdown:md matlab:m "
    "mermaid:mmd nginx:conf objective-c:m objectivec:m ocaml:ml perl:pl postgres:sql "
    "postgresql:sql powershell:ps1 python:py python3:py ruby:rb rust:rs scheme:scm shell:sh "
    "terraform:tf typescript:ts visualbasic:vb zsh:sh"
)
EXTENSIONS = {name: name for name in _SAME.split()} | dict(
    pair.split(":") for pair in _ENDINGS.split()
)

_NAME = re.compile(r"[a-z0-9_+#.-]{1,32}")


def frame(info: str, code: str, *, colour: bool) -> str:
    """The HTML of one code block; `info` is the fence's info string, `code` its raw text."""
    head, tail = frame_ends(info)
    inner = highlight(code, language(info)) if colour else escape(code, quote=False)
    return head + inner + tail


def frame_ends(info: str) -> tuple[str, str]:
    """What stands before and after the text of a code block."""
    name = language(info)
    mark, label = "", ""
    if name:
        mark = f' data-lang="{name}"'
        if ending := EXTENSIONS.get(name):
            mark += f' data-ext="{ending}"'
        label = f'<span class="code-lang">{name}</span>'
    head = f'<div class="code"{mark}><div class="code-head">{label}</div><pre><code>'
    return head, "</code></pre></div>"


def language(info: str) -> str:
    """The language that a fence's info string names, in lower case, or ''."""
    match = _NAME.match(info.strip().lower())
    return match[0] if match else ""


@lru_cache(maxsize=256)
def highlight(code: str, name: str) -> str:
    """The code as HTML with Pygments' short classes; plain when unknown, too long or unlucky."""
    plain = escape(code, quote=False)
    if name not in LANGUAGES or len(code) > CODE_MAX_CHARS:
        return plain
    if max(map(len, code.split("\n"))) > LINE_MAX_CHARS or _GAP.search(code):
        return plain
    if name in _LONG_WINDED and _POINTLESS.search(code):
        return plain
    # With the first code, and not before: it brings a table of all languages.
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]

    lexer = get_lexer_by_name(name, stripnl=False, ensurenl=False)
    seen: list[str] = []
    spans: list[list[str]] = []
    for token, value in lexer.get_tokens(code):
        seen.append(value)
        kind = _class(token)
        if spans and spans[-1][0] == kind:
            spans[-1].append(value)
        else:
            spans.append([kind, value])
    if "".join(seen) != code:
        return plain
    return "".join(_span(kind, "".join(values)) for kind, *values in spans)


def _span(kind: str, text: str) -> str:
    text = escape(text, quote=False)
    return f'<span class="{kind}">{text}</span>' if kind else text


def _class(token: Any) -> str:
    """The short class of a token type, or of the nearest one above it that has a name."""
    while token not in STANDARD_TYPES:
        token = token.parent
    name: str = STANDARD_TYPES[token]
    return "" if name == "w" else name
