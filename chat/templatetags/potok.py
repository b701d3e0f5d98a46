"""Tags of our templates."""

from django import template
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from chat.rendering.thread import Shown

from .icons import icon as drawn

register = template.Library()


@register.simple_tag
def message(m: Shown) -> SafeString:
    """`_message.html` without space around it: the socket inserts messages without any."""
    return mark_safe(render_to_string("_message.html", {"m": m}).strip())  # noqa: S308


@register.simple_tag
def button(
    name: str,
    label: str,
    url: str,
    *,
    look: str = "icon-button",
    icon: str = "",
    form: str = "act",
    asks: bool = False,
    target: str = "",
) -> SafeString:
    """What may be done with a message. A page holds a hundred: an include for each was a third of it.

    It posts to `url`, or with the form `go` leads there; `asks`: htmx fetches what it asks first.
    """
    by_htmx = SafeString()
    if form != "go":
        by_htmx = format_html(' hx-post="{}"', url)
    elif asks:
        by_htmx = format_html(' hx-get="{}" hx-params="none"', url)
    return format_html(
        '<button name="{}" class="{}" title="{}" form="{}" formaction="{}"{}{}>{}<span>{}</span>'
        "</button>",
        *(name, look, label, form, url, by_htmx),
        format_html(' hx-target="{}" hx-swap="innerHTML"', target) if target else "",
        drawn(icon or name),
        label,
    )
