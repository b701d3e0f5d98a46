"""Tags of our templates."""

from functools import lru_cache
from uuid import UUID

from django import template
from django.template.loader import render_to_string
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from chat.addresses import address
from chat.rendering.thread import Shown

from .icons import icon as drawn

register = template.Library()
_HERE = "\0"  # stands for a button's address


@register.simple_tag
def message(m: Shown) -> SafeString:
    """`_message.html` without space around it: the socket inserts messages without any."""
    return mark_safe(render_to_string("_message.html", {"m": m}).strip())  # noqa: S308


@register.simple_tag
def button(
    name: str,
    command: str,
    uuid: UUID,
    label: str,
    *,
    look: str = "icon-button",
    icon: str = "",
    form: str = "act",
    asks: bool = False,
    target: str = "",
) -> SafeString:
    """What may be done with a message. A page holds a hundred: an include for each was a third of it.

    It posts to the command's address, or with the form `go` leads there; `asks`: htmx fetches what it
    asks first.
    """
    made = _button(name, label, look, icon or name, form, asks, target)
    return mark_safe(made.replace(_HERE, escape(address(command, uuid))))  # noqa: S308


@lru_cache(512)
def _button(
    name: str, label: str, look: str, icon: str, form: str, asks: bool, target: str
) -> SafeString:
    by_htmx = SafeString()
    if form != "go":
        by_htmx = format_html(' hx-post="{}"', _HERE)
    elif asks:
        by_htmx = format_html(' hx-get="{}" hx-params="none"', _HERE)
    return format_html(
        '<button name="{}" class="{}" title="{}" form="{}" formaction="{}"{}{}>{}<span>{}</span>'
        "</button>",
        *(name, look, label, form, _HERE, by_htmx),
        format_html(' hx-target="{}" hx-swap="innerHTML"', target) if target else "",
        drawn(icon),
        label,
    )
