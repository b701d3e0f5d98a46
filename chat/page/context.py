"""What every page's template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from .consumers import PROTOCOL


def page(_request: HttpRequest) -> dict[str, Any]:
    return {"page": {"csrf_cookie": settings.CSRF_COOKIE_NAME, "protocol": PROTOCOL}}
