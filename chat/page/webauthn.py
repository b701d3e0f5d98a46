"""WebAuthn over fido2: what a browser is asked, and whether its answer holds.

A challenge is kept in the session that asked for it and taken out by the first answer. fido2 costs
6 MB: it is imported by whoever uses a passkey.
"""

import ipaddress
import json
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from django.conf import settings
from django.http import HttpRequest

from chat.models import Passkey, User
from chat.models.passkeys import MAX_ID_CHARS

if TYPE_CHECKING:
    from fido2.server import Fido2Server

CREATE, GET = "create", "get"
ANSWER_WITHIN_S = 300
MAX_ANSWER_CHARS = 64 * 1024
_CHALLENGE = "passkey_challenge"
# What fido2 raises for bytes that no browser sends.
_MALFORMED = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(OverflowError, RecursionError, struct.error, UnsupportedAlgorithm, NotImplementedError),
)


class Refused(Exception):
    """The answer is not one to what was asked, or not of a key that is known."""


@dataclass(frozen=True)
class Made:
    """A new key as a device answered it."""

    credential_id: str
    credential: bytes
    sign_count: int


def rp_id(request: HttpRequest) -> str:
    """The host that passkeys are made for, by POTOK_URL; '' where browsers allow none.

    That is at a bare address, and without TLS anywhere but on this machine.
    """
    origin = f"{request.scheme}://{request.get_host()}"
    host = urlsplit(origin).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        is_safe = request.is_secure() or host == "localhost" or host.endswith(".localhost")
        return host if is_safe and origin in settings.ORIGINS else ""
    return ""


def creation_options(request: HttpRequest, user: User) -> str:
    """For PublicKeyCredential.parseCreationOptionsFromJSON, as JSON."""
    from fido2.webauthn import (
        AttestedCredentialData,
        PublicKeyCredentialUserEntity,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    known = user.passkeys.filter(rp_id=rp_id(request)).values_list("credential", flat=True)
    options, state = _server(request).register_begin(
        PublicKeyCredentialUserEntity(
            id=user.key.bytes, name=user.username, display_name=user.get_full_name()
        ),
        credentials=[AttestedCredentialData(bytes(each)) for each in known],
        # It has to say by itself whose it is: nobody types a name before.
        resident_key_requirement=ResidentKeyRequirement.REQUIRED,
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    _remember(request, CREATE, state["challenge"])
    return json.dumps(dict(options.public_key))


def request_options(request: HttpRequest) -> dict[str, Any]:
    """For PublicKeyCredential.parseRequestOptionsFromJSON."""
    from fido2.webauthn import UserVerificationRequirement

    options, state = _server(request).authenticate_begin(
        user_verification=UserVerificationRequirement.REQUIRED
    )
    _remember(request, GET, state["challenge"])
    return dict(options.public_key)


def made(request: HttpRequest, answer: str) -> Made:
    """The key that a browser made for what it was asked; raises Refused."""
    from fido2.utils import websafe_encode

    state = _recall(request, CREATE)
    try:
        told = _server(request).register_complete(state, _parsed(answer))
        assert told.credential_data is not None
        found = Made(
            websafe_encode(told.credential_data.credential_id),
            bytes(told.credential_data),
            told.counter,
        )
    except _MALFORMED as exc:
        raise Refused("the answer doesn't hold") from exc
    if len(found.credential_id) > MAX_ID_CHARS:
        raise Refused("the credential's id is too long")
    return found


def authenticated(request: HttpRequest, answer: str) -> Passkey:
    """The passkey that signed what was asked; raises Refused."""
    from fido2.utils import websafe_decode
    from fido2.webauthn import AttestedCredentialData, AuthenticationResponse

    state = _recall(request, GET)
    try:
        given = _parsed(answer)
        told = AuthenticationResponse.from_dict(given)
        passkey = (
            Passkey.objects.select_related("user")
            .filter(credential_id=given["rawId"], rp_id=rp_id(request), user__is_active=True)
            .first()
        )
        if passkey is None:
            raise Refused("an unknown passkey")
        handle = given["response"].get("userHandle")
        if handle and websafe_decode(handle) != passkey.user.key.bytes:
            raise Refused("it says that it is somebody else's")
        known = [AttestedCredentialData(bytes(passkey.credential))]
        _server(request).authenticate_complete(state, known, told)
        sign_count = told.response.authenticator_data.counter
    except _MALFORMED as exc:
        raise Refused("the answer doesn't hold") from exc
    if not passkey.note_use(sign_count):
        raise Refused("its counter went back: the key may have been copied")
    return passkey


def _server(request: HttpRequest) -> "Fido2Server":
    from fido2.server import Fido2Server
    from fido2.webauthn import AttestationConveyancePreference, PublicKeyCredentialRpEntity

    origin = f"{request.scheme}://{request.get_host()}"
    return Fido2Server(
        PublicKeyCredentialRpEntity(name="Potok", id=rp_id(request)),
        attestation=AttestationConveyancePreference.NONE,
        verify_origin=lambda said: said == origin,
    )


def _parsed(answer: str) -> dict[str, Any]:
    if len(answer) > MAX_ANSWER_CHARS:
        raise ValueError("too long")
    found = json.loads(answer)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    return found


def _remember(request: HttpRequest, purpose: str, challenge: str) -> None:
    until = time.time() + ANSWER_WITHIN_S
    request.session[_CHALLENGE] = {"for": purpose, "challenge": challenge, "until": until}


def _recall(request: HttpRequest, purpose: str) -> dict[str, Any]:
    """What this session asked last, once; raises Refused."""
    from fido2.webauthn import UserVerificationRequirement

    asked = request.session.pop(_CHALLENGE, None)
    if not asked or asked["for"] != purpose or asked["until"] < time.time() or not rp_id(request):
        raise Refused("nothing was asked")
    required = UserVerificationRequirement.REQUIRED
    return {"challenge": asked["challenge"], "user_verification": required}
