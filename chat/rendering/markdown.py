"""Markdown as safe HTML: a whole text here, a reply while it streams in `growing`.

Pure: no Django, no I/O. Never raises; what can't be rendered is shown as it was written.
"""

from chat.rendering.blocks import Block, plain_text, render
from chat.rendering.growing import Growing, Patch

__all__ = ["OFF_LOOP_CHARS", "Block", "Growing", "Patch", "plain_text", "render"]

# Rendering this much takes about 1 ms, and 3 ms more for each 1,000 characters of new code.
OFF_LOOP_CHARS = 2_000
