"""An image that a model made, as the answer to whoever may see it: its reader, or who reviews it."""

import contextlib

from django.http import HttpResponse

from chat.models import Picture
from chat.models.pictures import OTHER

from .redraw import NotNow, redraw


def served(picture: Picture) -> HttpResponse:
    """Its pixels, as we drew them; what nobody could draw, to be saved as it came."""
    if picture.state == Picture.State.NEW:
        # Not found out now, it is to be saved this time, and tried again the next.
        with contextlib.suppress(NotNow):
            picture.settle(redraw(bytes(picture.content)))
    is_drawn = picture.state == Picture.State.DRAWN
    name = f"{picture.message.uuid}-{picture.pk}.{picture.kind.lower() or 'bin'}"
    return HttpResponse(
        picture.content,
        content_type=picture.media_type if is_drawn else OTHER,
        headers={
            "Content-Disposition": f'{"inline" if is_drawn else "attachment"}; filename="{name}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )
