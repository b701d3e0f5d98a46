"""Hostile and mutated Markdown, whole and while it grows.

    python tests/fuzz_markdown.py --seconds 60 --seed 1

Claims that nothing is raised, that what a page gets holds nothing but what the renderer may write
(read again by a parser of its own), that no word is lost, that a reply which grew ends as the same
text rendered whole, in bounded time, and that memory does not grow.
"""

import random
import re
import sys
import time
from collections import Counter
from html import unescape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat.rendering.markdown import Growing, render
from tests import fuzzing
from tests.test_markdown import DEADLY, HOSTILE_MARKDOWN, PATHOLOGICAL, SHAPES, faults

RENDER_MAX_S, GROW_MAX_S = 4, 2
WORDS = re.compile(r"[^\W_]{3,}")
TOKENS = [
    *"[ ] ( ) ![ ]( < > ` `` ``` ~~~ * ** _ __ ~~ $ $$ \\ \\( \\) \\[ \\] | - # + 1. > = :".split(),
    *("@", "&", ";", "\n", "\n\n", "  \n", "    ", "\t", " ", "word", "слово", "é", "🙂"),
    *("\u202e", "\u200b", "\0", "\ud800", "http://a.b/c", "www.a.b", "a@b.c", "[a]: http://b.c\n"),
    *("javascript:alert(1)", "data:text/html,x"),
    *("|a|b|\n|-|-|\n", "- [ ] ", "```python\n", "<script>", "</code></pre>", "&#106;", "&lt;"),
    *("\\frac{", "\\left(", "\\begin{matrix}", "\\end{matrix}", "}", "{", "^", "\\href{", "\\bigl("),
]  # fmt: skip
# An address, a reference, an escape, a formula or the name of a language is not shown as it was written,
# and of a table's row nothing that has no column in its head, as GFM has it.
SWALLOWING = ("](", "]:", "&", "\\", "$", "```", "~~~", "-|", "|-", ":|", "|:")
PARTS = [*HOSTILE_MARKDOWN, *SHAPES, *TOKENS * 3]


def text_of(chance: random.Random) -> tuple[str, str]:
    """A kind, and a text of that kind."""
    kind = chance.choice(["parts", "parts", "parts", "repeated", "mutated"])
    if kind == "parts":
        return kind, "".join(chance.choices(PARTS, k=chance.choice([3, 10, 40, 200])))
    if kind == "repeated":
        unit = "".join(chance.choices(TOKENS, k=chance.choice([1, 2, 3, 5])))
        size = chance.choice([100, 2_000, 20_000])
        ends = ["", *chance.choices(TOKENS, k=2)]
        return kind, chance.choice(ends) + unit * (size // len(unit)) + chance.choice(ends)
    whole = chance.choice([*PATHOLOGICAL.values(), *DEADLY.values()])
    at = chance.randrange(len(whole))
    found = list(whole[at : at + 5_000])
    for _ in range(chance.choice([1, 5, 50])):
        found[chance.randrange(len(found))] = chance.choice(TOKENS)
    return kind, "".join(found)


def check(text: str, chance: random.Random) -> None:
    began = time.process_time()
    blocks = render(text)
    assert time.process_time() - began < RENDER_MAX_S, "slow"
    html = "".join(block.html for block in blocks)
    assert faults(html) == [], faults(html)
    html.encode()
    # A link may begin or end within what looks like one word, and leave no mark between two.
    shown = unescape(re.sub(r"<[^>]*>", "", html)) + html
    if not any(mark in text for mark in SWALLOWING):
        written = Counter(WORDS.findall(text))
        lost = [word for word, times in written.items() if shown.count(word) < times]
        assert not lost, lost
    growing = Growing()
    while growing.length < len(text):
        # Long texts mostly in long pieces, as each costs what the open block does.
        size = chance.choice([1, 3, 20, 500, 5_000] if len(text) < 3_000 else [7, 5_000, 50_000])
        news = text[growing.length : growing.length + size]
        began = time.process_time()
        patches = growing.grow(news)
        assert time.process_time() - began < GROW_MAX_S, "slow while it grows"
        assert [fault for patch in patches for fault in faults(patch.html)] == []
    growing.finish()
    assert growing.blocks == blocks, "it grew into something else"


def play(chance: random.Random) -> str:
    kind, text = text_of(chance)
    check(text, chance)
    return kind


if __name__ == "__main__":
    fuzzing.run("Markdown", play)
