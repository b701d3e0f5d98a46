"""Secrets taken out of what is about to be shown or logged."""

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from django.conf import settings

HIDDEN = "***"
# A shorter one would be found in ordinary words.
_LEAST_CHARS = 6
# What looks like a key wherever it comes from, and the password of an address.
_SHAPES = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai)-[\w*.-]{5,}[\w*]"
    r"|(?<=Bearer )[\w*.~+/-]{8,}=*"
    r"|(?<=://)[^\s/@]*:[^\s/@]+(?=@)"
    r"|\bgAAAA[\w-]{20,}=*"
)


def scrub(text: str) -> str:
    """The text with every secret of the settings, and whatever looks like one, replaced by ***."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _SHAPES.sub(HIDDEN, text)


def _secrets() -> tuple[str, ...]:
    return _known(
        (
            settings.SECRET_KEY,
            settings.METRICS_TOKEN,
            settings.DEMO_KEY,
            settings.FIRST_OWNER["password"],
            str(getattr(settings, "EMAIL_HOST_PASSWORD", "")),
            str(settings.DATABASES["default"].get("PASSWORD") or ""),
            urlsplit(settings.REDIS_URL).password or "",
            (settings.OIDC or {}).get("secret", ""),
            *settings.SECRETS_KEYS,
            *(gateway["key"] for gateway in settings.GATEWAYS),
        )
    )


@lru_cache(maxsize=4)
def _known(found: tuple[str, ...]) -> tuple[str, ...]:
    """Also as they stand in an address; the longest first, as one may hold another."""
    forms = {form for secret in found for form in (secret, unquote(secret))}
    return tuple(sorted((f for f in forms if len(f) >= _LEAST_CHARS), key=len, reverse=True))
