"""LaTeX formulas as MathML, or as code that shows their source."""

import re
from functools import lru_cache
from html import escape

from math_core import LatexError, LatexToMathML

FORMULA_MAX_CHARS = 5_000
# math-core descends once for each group or command and takes the whole process down when the
# stack ends: at about 260 levels in 512 KB, 4,000 in 8 MB.
FORMULA_MAX_COMMANDS = 400
# Each bracket that is never closed makes it read the rest twice: 40 of them would take hours.
FORMULA_MAX_UNCLOSED = 8

_TAGS = (
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot "
    "mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder "
    "munderover"
)
TAGS = frozenset(_TAGS.split())
ATTRIBUTES = {
    "math": {"display"},
    "menclose": {"notation"},
    "mfrac": {"displaystyle", "linethickness"},
    "mi": {"mathvariant"},
    "mo": {
        *("fence", "form", "largeop", "lspace", "maxsize", "minsize"),
        *("movablelimits", "rspace", "separator", "stretchy", "symmetric"),
    },
    "mover": {"accent"},
    "mpadded": {"depth", "height", "lspace", "voffset", "width"},
    "mspace": {"depth", "height", "width"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"displaystyle", "scriptlevel"},
    "mtd": {"columnspan", "rowspan"},
    "munder": {"accentunder"},
    "munderover": {"accent", "accentunder"},
}
_LINES = {"line-top", "line-right", "line-bottom", "line-left"}
CLASSES = {"mtd": {"align-left", "align-right", *_LINES}, "mtable": _LINES}

_convert = LatexToMathML(fancy_error=False, max_expansions=0).convert_with_local_state

_COMMAND = re.compile(r"\\[a-zA-Z]+|\{")
# What math-core takes for brackets (its commands.rs). Any end will do for any beginning.
_DELIMITER = r"\s*(?:\\[a-zA-Z]+|\\.|[^{\\])"
_OPEN = (
    rf"\\(?:[bB]igg?l|mathopen)(?![a-zA-Z]){_DELIMITER}?"
    r"|\\(?:l(?:Angle|Brace|Vert|vert|l?angle|ang|brace|l?bracket|brack|ceil|floor|group|lcorner"
    r"|moustache|l?parenthesis|paren)|ulcorner)(?![a-zA-Z])"
    r"|\\\{|[(\[⌈⌊⌜⌞⎰❲⟅⟦⟨⟪⟬⟮⦃⦅⦇⦉⦋⦍⦏⦑⦓⦕⦗⧘⧚⧼]"
)
_CLOSE = (
    rf"\\[bB]igg?r(?![a-zA-Z]){_DELIMITER}"
    r"|\\(?:r(?:Angle|Brace|Vert|vert|r?angle|ang|brace|r?bracket|brack|ceil|floor|group|moustache"
    r"|r?parenthesis|paren)|[lu]rcorner)(?![a-zA-Z])"
    r"|\\\}|[)\]⌉⌋⌝⌟⎱❳⟆⟧⟩⟫⟭⟯⦄⦆⦈⦊⦌⦎⦐⦒⦔⦖⦘⧙⧛⧽]"
)
_BRACKET = re.compile(
    rf"(?P<begin>\\left(?![a-zA-Z]){_DELIMITER}|\\begin\{{[^{{}}]*\}}|\{{)"
    rf"|(?P<end>\\right(?![a-zA-Z]){_DELIMITER}|\\end\{{[^{{}}]*\}}|\}})"
    rf"|(?P<cut>\\\\|&)|(?P<open>{_OPEN})|(?P<close>{_CLOSE})"
    rf"|\\(?:[bB]igg?m?|middle)(?![a-zA-Z]){_DELIMITER}|\\[a-zA-Z]+|\\."
)
_NUMBERED = re.compile(r"\\(begin|end)\{(align|alignat|equation|flalign|gather|multline)\}")
_TAGGED = re.compile(r"\\tag\*?\{([^{}]*)\}")
_LABEL = re.compile(r"\\(?:label\{[^{}]*\}|nonumber\b|notag\b)")
_STYLE = re.compile(r' (style|class)="([^"]*)"')
_STYLE_CLASSES = {
    "text-align: left": "align-left",
    "text-align: right": "align-right",
    "border-top": "line-top",
    "border-right": "line-right",
    "border-bottom": "line-bottom",
    "border-left": "line-left",
}


@lru_cache(maxsize=1024)
def typeset(source: str, *, display: bool) -> str:
    """The MathML of a formula; `<code class="math">` with its source if it can't be parsed."""
    if len(source) > FORMULA_MAX_CHARS or len(_COMMAND.findall(source)) > FORMULA_MAX_COMMANDS:
        return as_code(source)
    if _unclosed(source) > FORMULA_MAX_UNCLOSED:
        return as_code(source)
    # Numbers that nothing can refer to are left out; a tag is shown where it was written.
    latex = _NUMBERED.sub(r"\\\1{\2*}", source)
    latex = _LABEL.sub("", _TAGGED.sub(r"\\qquad\\text{(\1)}", latex))
    try:
        mathml = _convert(latex, displaystyle=display)
    except LatexError:
        return as_code(source)
    return _STYLE.sub(_as_class, mathml)


def as_code(source: str) -> str:
    """A formula as it was written, for one that is still open or can't be parsed."""
    return f'<code class="math">{escape(source.strip(), quote=False)}</code>'


def _unclosed(source: str) -> int:
    """How many brackets are never closed within their own group, cell or line."""
    count, groups = 0, [0]
    for match in _BRACKET.finditer(source):
        kind = match.lastgroup
        if kind == "open":
            groups[-1] += 1
        elif kind == "close":
            groups[-1] -= groups[-1] > 0
        elif kind == "begin":
            groups.append(0)
        elif kind == "end" and len(groups) > 1:
            count += groups.pop()
        elif kind in ("cut", "end"):
            count, groups[-1] = count + groups[-1], 0
    return count + sum(groups)


def _as_class(style: re.Match[str]) -> str:
    """A style attribute as our own classes, for pages run without inline styles."""
    if style[1] == "class":
        return ""
    names = [name for rule, name in _STYLE_CLASSES.items() if rule in style[2]]
    return f' class="{" ".join(names)}"' if names else ""
