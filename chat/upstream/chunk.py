"""The JSON of a chunk in all its shapes -> strings, links, images. No I/O."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from chat.rendering.clean import clean
from chat.upstream.items import Link

_MAX_URL_CHARS = 2000
_MAX_TITLE_CHARS = 300
_FINE = (None, "", 0, "0", 200, "200", "ok", "success")


class PlainDelta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[msgspec.Raw] | None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    images: None = None
    annotations: None = None


class PlainChoice(msgspec.Struct, gc=False):
    delta: PlainDelta
    index: Literal[0] = 0
    finish_reason: Literal[""] | None = None
    error: None = None


class PlainChunk(msgspec.Struct, gc=False):
    """A chunk with text and nothing odd.

    A field of type None refuses any other value: an odd chunk fails to decode (ValueError), and
    is read as plain dicts instead.
    """

    choices: tuple[PlainChoice]
    usage: None = None
    x_groq: None = None
    citations: None = None
    error: None = None


decode_plain = msgspec.json.Decoder(PlainChunk).decode


def decode(payload: bytes) -> Any:
    """The JSON value, read as leniently as text is kept; ValueError if it is none."""
    try:
        try:
            return msgspec.json.decode(payload)
        except ValueError:
            # Seen: a BOM, lone surrogates, raw control characters, broken UTF-8.
            return json.loads(payload.decode("utf-8-sig", "replace"), strict=False)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def first_choices(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries for choice 0; any other was not asked for. Unnumbered, the first one is it."""
    choices = document.get("choices")
    found = [
        each for each in (choices if isinstance(choices, list) else ()) if isinstance(each, dict)
    ]
    unnumbered = [choice for choice in found if choice.get("index") in (None, "")]
    return [
        choice
        for choice in found
        if choice.get("index") in (0, "0") or any(choice is each for each in unnumbered[:1])
    ]


def text_and_reasoning(delta: dict[str, Any]) -> tuple[str, str]:
    """What a delta (or a whole message) adds to the answer and to the reasoning."""
    text, thought = _content(delta.get("content"))
    text += _string(delta.get("refusal"))
    # The same thought may stand in several of these at once: one of them a chunk.
    reasoning = (
        _string(delta.get("reasoning_content"))
        or _string(delta.get("reasoning"))
        or _details(delta.get("reasoning_details"))
        or thought
    )
    return text, reasoning


def image_urls(parts: object) -> Iterator[str]:
    """The images of `delta.images`, or of a content that is a list of parts."""
    for part in parts if isinstance(parts, list) else ():
        place = part.get("image_url") if isinstance(part, dict) else None
        url = place.get("url") if isinstance(place, dict) else place
        if isinstance(url, str) and url.startswith(("data:image/", "https://")):
            yield clean(url)


def links(entries: object) -> Iterator[Link]:
    """The sources in `citations` (URLs) or `delta.annotations` (url_citation objects)."""
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            entry = entry.get("url_citation", entry)
        link = entry if isinstance(entry, dict) else {"url": entry}
        url, title = _string(link.get("url")), _string(link.get("title"))
        if url.startswith(("https://", "http://")):
            yield Link(clean(url)[:_MAX_URL_CHARS], clean(title)[:_MAX_TITLE_CHARS])


def has_error(document: object) -> bool:
    """Whether a document is an error, or holds one beside its choices."""
    if not isinstance(document, dict):
        return False
    if document.get("error"):
        return True
    if "choices" in document:
        return False
    if "error" in (document.get("object"), document.get("type")):
        return True
    has_sign = any(key in document for key in ("detail", "errors")) or any(
        key in document and document[key] not in _FINE for key in ("code", "status")
    )
    return has_sign and has_words(document)


def has_words(document: object) -> bool:
    """Whether an object that is no reply at least says something."""
    return isinstance(document, dict) and any(
        document.get(key) for key in ("detail", "message", "msg", "errors")
    )


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _content(content: object) -> tuple[str, str]:
    """(text, reasoning) of a content that is a string, null or a list of parts."""
    if not isinstance(content, list):
        return _string(content), ""
    text = reasoning = ""
    for part in content:
        if isinstance(part, str):
            text += part
        elif isinstance(part, dict):
            kind = part.get("type")
            if kind in ("thinking", "reasoning"):
                reasoning += _thought(part.get(kind) or part.get("text"))
            elif kind in ("text", "output_text", "refusal", None):
                text += _string(part.get("text")) or _string(part.get("refusal"))
    return text, reasoning


def _thought(thought: object) -> str:
    """A thinking part's text: a string, or a list of text parts (Mistral)."""
    if not isinstance(thought, list):
        return _string(thought)
    return "".join(_string(part.get("text")) for part in thought if isinstance(part, dict))


def _details(details: object) -> str:
    """OpenRouter's reasoning_details; the encrypted ones have no text."""
    if not isinstance(details, list):
        return ""
    return "".join(
        _string(detail.get("text")) or _string(detail.get("summary"))
        for detail in details
        if isinstance(detail, dict)
    )
