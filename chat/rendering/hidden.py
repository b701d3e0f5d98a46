"""Characters that are not seen but change what is: made visible where a word decides whom one trusts.

Pure. Titles, the words of links and hosts are shown through this; the text of a reply stays as it is.
"""

import re

# Bidi controls and characters without width. Joiners stay between two letters that may need them, as
# in Persian words and in emoji of several parts.
_HIDDEN = re.compile(
    # A flag of England and the like: a black one, and letters that aren't seen.
    "(?P<flag>\U0001f3f4[\U000e0061-\U000e007a]{1,6}\U000e007f)|"
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def revealed(text: str) -> str:
    """The text with such as `‹U+202E›` where something hidden stands; safe HTML stays safe HTML."""
    if text.isascii():
        return text
    return _HIDDEN.sub(lambda found: found["flag"] or f"‹U+{ord(found[0]):04X}›", text)
