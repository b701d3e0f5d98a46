"""What a login page offers beside a name and a password."""

from typing import Any

from django.http import HttpRequest

from chat.models import AccountPolicy, IdentityProvider, Passkey

from .webauthn import rp_id


def ways_in(request: HttpRequest) -> dict[str, Any]:
    return {
        "providers": IdentityProvider.objects.filter(enabled=True),
        "is_open": AccountPolicy.current().is_open,
        "has_passkeys": bool(rp_id(request)) and Passkey.objects.exists(),
    }
