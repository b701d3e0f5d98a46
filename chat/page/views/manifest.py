"""What an installed Potok is: its name, its icons, where it starts."""

from django.http import HttpRequest, JsonResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

GROUND = "#0f6b62"  # of the icons


@require_safe
def manifest(_request: HttpRequest) -> JsonResponse:
    png = [("192x192", static("icon-192.png")), ("512x512", static("icon-512.png"))]
    home = reverse("home")
    return JsonResponse(
        {
            "id": home,
            "name": "Potok",
            "short_name": "Potok",
            "description": _("Chat with models through a gateway of your own."),
            "lang": get_language(),
            "dir": "ltr",
            "start_url": home,
            "scope": home,
            "display": "standalone",
            "background_color": GROUND,
            "theme_color": GROUND,
            "icons": [
                {"src": address, "sizes": size, "type": "image/png", "purpose": purpose}
                for size, address in png
                for purpose in ("any", "maskable")
            ],
            "shortcuts": [
                {"name": _("New chat"), "url": home},
                {"name": _("Search"), "url": reverse("search")},
            ],
        },
        content_type="application/manifest+json",
    )
