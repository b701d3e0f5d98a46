"""Links as they may be shown: where one leads is always seen, and no image is loaded."""

import re
from html import escape, unescape
from urllib.parse import unquote

from chat.rendering.hidden import revealed

_AWAY = 'target="_blank" rel="noopener noreferrer nofollow"'

_WEB = re.compile(r"https?://([^/?#\\\s]+)(?:[/?#][^\s\\]*)?", re.I)
_MAIL = re.compile(r"mailto:([^\s?&<>\"@]+@[\w.-]+)(?:\?[^\s]*)?", re.I)
_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]+\.?|\[[0-9a-f:.]+\]", re.I)
_PORT = re.compile(r":\d{0,5}$")
_TAGS = re.compile(r"<[^>]*>")
_MAX_SHOWN_CHARS = 80


def link(address: str, inner: str) -> str:
    """A link around `inner` (safe HTML), with its host behind unless the text is the address.

    An address that is no plain web or mail address leaves only the text, or without any, itself.
    """
    inner = revealed(inner)
    host = shown_host(address)
    if host is None:
        return inner or _shortened(address)
    text = unescape(_TAGS.sub("", inner)).strip()
    if not text:
        inner, text = escape(address, quote=False), address
    anchor = f'<a href="{escape(address)}" {_AWAY}>{inner}</a>'
    return anchor if _says(text, address) else anchor + _host(host)


def image(address: str, words: str) -> str:
    """An image as a link with its alternative text: nothing is fetched for a reader unasked."""
    words = revealed(words).strip()
    host = shown_host(address)
    if host is None:
        return escape(words, quote=False) or _shortened(address)
    text = escape(words or address, quote=False)
    anchor = f'<a class="image-link" href="{escape(address)}" {_AWAY}>{text}</a>'
    return anchor if _says(words or address, address) else anchor + _host(host)


def _shortened(address: str) -> str:
    """As text, so that nothing goes unseen; what comes as data may be a megabyte long."""
    shown = address if len(address) <= _MAX_SHOWN_CHARS else address[:_MAX_SHOWN_CHARS] + "…"
    return escape(revealed(shown), quote=False)


def shown_host(address: str) -> str | None:
    """The host (or mailbox) that an address leads to, as a reader may see it; None for no link."""
    if mail := _MAIL.fullmatch(address):
        return revealed(unquote(mail[1]))
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
