"""Text as it may be stored, logged and shown; every entrance passes through here.

PostgreSQL refuses NUL and nothing can encode a lone surrogate, so neither gets past this module.
"""

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_UNCLEAN = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """The text without C0 controls but tab and LF, surrogates replaced by U+FFFD.

    Works character by character: clean(a) + clean(b) == clean(a + b), so that deltas may be
    cleaned one at a time. The result always encodes to UTF-8.
    """
    if text.isprintable() or not _UNCLEAN.search(text):
        return text
    return _SURROGATES.sub(REPLACEMENT, _CONTROLS.sub("", text))


def clean_user(text: str) -> str:
    """What a person typed or pasted: as `clean`, with CRLF and a lone CR become LF."""
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"))
