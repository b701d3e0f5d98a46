"""Tags of our templates."""

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from chat.rendering.thread import Shown

register = template.Library()


@register.simple_tag
def message(m: Shown) -> SafeString:
    """`_message.html` without space around it: the socket inserts messages without any."""
    return mark_safe(render_to_string("_message.html", {"m": m}).strip())  # noqa: S308
