"""A device that keeps one passkey, in software: each answer may be spoilt on purpose."""

import hashlib
import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
)

FLAG = AuthenticatorData.FLAG


class Authenticator:
    def __init__(self, origin: str, rp_id: str) -> None:
        self.origin, self.rp_id = origin, rp_id
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(32)
        self.user: bytes | None = None
        self.count = 0

    def create(self, options: dict[str, Any], **spoilt: Any) -> str:
        """What navigator.credentials.create gives for these options, as JSON."""
        self.user = websafe_decode(options["user"]["id"])
        key = ES256.from_cryptography_key(self.key.public_key())
        attested = AttestedCredentialData.create(b"\0" * 16, self.id, key)
        data = self._data(spoilt, FLAG.AT, attested)
        client = self._client("webauthn.create", options, spoilt)
        attestation = AttestationObject.create("none", data, {})
        return self._told(clientDataJSON=client, attestationObject=attestation)

    def get(self, options: dict[str, Any], **spoilt: Any) -> str:
        """What navigator.credentials.get gives."""
        self.count += 1
        data = self._data(spoilt)
        client = self._client("webauthn.get", options, spoilt)
        signer = ec.generate_private_key(ec.SECP256R1()) if spoilt.get("forged") else self.key
        signature = signer.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._told(
            clientDataJSON=client,
            authenticatorData=data,
            signature=signature,
            userHandle=spoilt.get("user", self.user),
        )

    def _data(self, spoilt: dict[str, Any], more: int = 0, *attested: Any) -> AuthenticatorData:
        flags = spoilt.get("flags", FLAG.UP | FLAG.UV) | more
        host = hashlib.sha256(spoilt.get("rp_id", self.rp_id).encode()).digest()
        return AuthenticatorData.create(host, flags, spoilt.get("count", self.count), *attested)

    def _client(self, kind: str, options: dict[str, Any], spoilt: dict[str, Any]) -> bytes:
        challenge = spoilt.get("challenge", options["challenge"])
        return CollectedClientData.create(
            type=spoilt.get("type", kind),
            challenge=challenge,
            origin=spoilt.get("origin", self.origin),
        )

    def _told(self, **parts: bytes) -> str:
        response = {name: websafe_encode(bytes(part)) for name, part in parts.items() if part}
        own = websafe_encode(self.id)
        told = {"id": own, "rawId": own, "type": "public-key", "response": response}
        return json.dumps({**told, "clientExtensionResults": {}})
