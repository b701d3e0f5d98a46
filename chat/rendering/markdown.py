"""Markdown as safe HTML: a whole text here, a reply while it streams in `growing`.

Pure: no Django, no I/O. Never raises; what can't be rendered is shown as it was written.
"""

from chat.rendering.blocks import Block, render
from chat.rendering.growing import Growing, Patch

__all__ = ["OFF_LOOP_CHARS", "Block", "Growing", "Patch", "render"]

# Rendering more than this on an event loop would hold it for over 2 ms.
OFF_LOOP_CHARS = 4_000
