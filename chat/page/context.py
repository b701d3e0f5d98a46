"""What every page's template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from .consumers import PROTOCOL
from .middleware import THEME_COOKIE


def page(request: HttpRequest) -> dict[str, Any]:
    return {
        "page": {
            "csrf_cookie": settings.CSRF_COOKIE_NAME,
            "protocol": PROTOCOL,
            "color_scheme": _color_scheme(request),
        }
    }


def _color_scheme(request: HttpRequest) -> str:
    """For <meta name="color-scheme">, which a browser obeys before it paints anything."""
    user = getattr(request, "user", None)
    is_known = user is not None and user.is_authenticated
    theme = user.theme if is_known else request.COOKIES.get(THEME_COOKIE)
    return theme if theme in ("light", "dark") else "light dark"
