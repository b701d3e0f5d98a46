"""Links as they may be shown: where one leads is always seen, and no image is loaded."""

import re
from html import escape, unescape
from urllib.parse import unquote

_AWAY = 'target="_blank" rel="noopener noreferrer nofollow"'

_WEB = re.compile(r"https?://([^/?#\\\s]+)(?:[/?#][^\s\\]*)?", re.I)
_MAIL = re.compile(r"mailto:([^\s?&<>\"@]+@[\w.-]+)(?:\?[^\s]*)?", re.I)
_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]+\.?|\[[0-9a-f:.]+\]", re.I)
_PORT = re.compile(r":\d{0,5}$")
_TAGS = re.compile(r"<[^>]*>")

# Bidi controls and characters without width; joiners stay between two letters that may need them.
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)


def link(address: str, inner: str) -> str:
    """A link around `inner` (safe HTML), with its host behind unless the text is the address.

    An address that is no plain web or mail address leaves only the text.
    """
    inner = _HIDDEN.sub("", inner)
    host = shown_host(address)
    if host is None:
        return inner
    text = unescape(_TAGS.sub("", inner)).strip()
    if not text:
        inner, text = escape(address, quote=False), address
    anchor = f'<a href="{escape(address)}" {_AWAY}>{inner}</a>'
    return anchor if _says(text, address) else anchor + _host(host)


def image(address: str, words: str) -> str:
    """An image as a link with its alternative text: nothing is fetched for a reader unasked."""
    words = _HIDDEN.sub("", words).strip()
    host = shown_host(address)
    if host is None:
        return escape(words, quote=False)
    text = escape(words or address, quote=False)
    anchor = f'<a class="image-link" href="{escape(address)}" {_AWAY}>{text}</a>'
    return anchor if _says(words or address, address) else anchor + _host(host)


def shown_host(address: str) -> str | None:
    """The host (or mailbox) that an address leads to, as a reader may see it; None for no link."""
    if mail := _MAIL.fullmatch(address):
        return _HIDDEN.sub("", unquote(mail[1]))
    web = _WEB.fullmatch(address)
    # Browsers take what stands before an @ for a user name: the classic disguise.
    if not web or "@" in web[1]:
        return None
    host = _PORT.sub("", unquote(web[1])).lower()
    if not _HOST.fullmatch(host):
        return None
    if host.isascii():
        return host
    # A name in one script is read as it is written; a Latin look-alike shows its real form.
    if not re.search("[a-z]", host):
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return None


def _says(text: str, address: str) -> bool:
    """Whether the text is the address, but for its scheme or a last slash."""
    return _bare(text) == _bare(unescape(address)) or _bare(text) == _bare(unquote(address))


def _bare(address: str) -> str:
    return re.sub(r"^(?:https?://|mailto:)", "", address.strip(), flags=re.I).rstrip("/")


def _host(host: str) -> str:
    return f' <span class="link-host" dir="ltr">{escape(host, quote=False)}</span>'
