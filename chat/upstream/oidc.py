"""OpenID Connect, the client's half: where people are sent, and who they are when they come back.

Core 1.0, section 3.1, with PKCE (RFC 7636) and the issuer in the answer (RFC 9207). Addresses are judged
where the connection is made, as gateways' are; a redirect leads nowhere. PyJWT costs 7 MB and is
imported by the first login.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx

from chat.upstream.transport import TRANSPORT_ERRORS, open_client, translate

WITHIN_S = 15.0
CONNECT_S = 5.0
LEEWAY_S = 60
MAX_BYTES = 512 * 1024
SCOPE = "openid profile email"
# Signed with a key that only the provider has: never `none`, never a secret that both know.
ALGORITHMS = frozenset(
    "RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA".split(),
)
_REQUIRED = ["iss", "sub", "aud", "exp", "iat"]


class SignOnError(Exception):
    """Nobody came in by it; the words are for the log."""


class Unreachable(SignOnError):
    """The provider could not be asked."""


class TurnedBack(SignOnError):
    """They, or the provider, would not have it (RFC 6749, section 4.1.2.1: access_denied)."""


@dataclass(frozen=True)
class Relation:
    """What this installation is to its provider."""

    issuer: str
    client_id: str
    secret: str = field(default="", repr=False)
    scope: str = SCOPE
    allow_private: bool = False


@dataclass(frozen=True)
class Asked:
    """What was sent along with somebody, and has to fit what comes back."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


@dataclass(frozen=True)
class Metadata:
    """The provider's own word on where it is asked (Discovery 1.0)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    takes_basic: bool = True
    names_itself: bool = False  # says `iss` in its answer, always


async def discover(relation: Relation) -> Metadata:
    """Raises SignOnError."""
    async with _Asking(relation) as asking:
        return await asking.metadata()


def address(metadata: Metadata, relation: Relation, asked: Asked) -> str:
    """Where the browser goes."""
    digest = hashlib.sha256(asked.verifier.encode()).digest()
    query = {
        "response_type": "code",
        "client_id": relation.client_id,
        "redirect_uri": asked.redirect_uri,
        "scope": relation.scope,
        "state": asked.state,
        "nonce": asked.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
    return f"{metadata.authorization_endpoint}{joint}{urlencode(query)}"


async def claims(
    relation: Relation, asked: Asked, answer: Mapping[str, str]
) -> tuple[dict[str, Any], Metadata]:
    """Who came back, by the provider's signed word for it; raises SignOnError."""
    if not hmac.compare_digest(answer.get("state", "").encode(), asked.state.encode()):
        raise SignOnError("the state is not the one that was sent")
    if "error" in answer:
        kind = TurnedBack if answer["error"] == "access_denied" else SignOnError
        raise kind(f"the provider said {answer['error'][:100]!r}")
    async with _Asking(relation) as asking:
        metadata = await asking.metadata()
        if (metadata.names_itself or "iss" in answer) and answer.get("iss") != relation.issuer:
            raise SignOnError("the answer is another issuer's")
        tokens = await asking.tokens(metadata, asked, answer.get("code", ""))
        told = _verified(
            tokens.get("id_token"), await asking.json(metadata.jwks_uri), relation, asked
        )
        access = tokens.get("access_token")
        if metadata.userinfo_endpoint and isinstance(access, str):
            more = await asking.json(metadata.userinfo_endpoint, token=access)
            if more.get("sub") != told["sub"]:
                raise SignOnError("the user info is somebody else's")
            told = {**more, **told}
        return told, metadata


def _verified(token: Any, keys: dict[str, Any], relation: Relation, asked: Asked) -> dict[str, Any]:
    """The claims of an ID token (Core 1.0, section 3.1.3.7)."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise SignOnError(f"the algorithm {str(header.get('alg'))[:20]!r} proves nothing")
        told: dict[str, Any] = jwt.decode(
            token,
            _key(keys, header),
            algorithms=[header["alg"]],
            audience=relation.client_id,
            issuer=relation.issuer,
            leeway=LEEWAY_S,
            options={"require": _REQUIRED},
        )
    except (jwt.PyJWTError, TypeError, ValueError) as exc:
        raise SignOnError(f"the ID token doesn't hold: {type(exc).__name__}") from exc
    if not hmac.compare_digest(str(told.get("nonce", "")).encode(), asked.nonce.encode()):
        raise SignOnError("the nonce is not the one that was sent")
    several = isinstance(told["aud"], list) and len(told["aud"]) > 1
    if (several or "azp" in told) and told.get("azp") != relation.client_id:
        raise SignOnError("the ID token was made for another client")
    if not isinstance(told["sub"], str) or not 0 < len(told["sub"]) <= 255:
        raise SignOnError("the subject is no name")
    return told


def _key(keys: dict[str, Any], header: dict[str, Any]) -> Any:
    import jwt

    found = [
        key
        for key in jwt.PyJWKSet.from_dict(keys).keys
        if key.public_key_use in (None, "sig") and header.get("kid") in (None, key.key_id)
    ]
    if len(found) != 1:
        raise SignOnError("the ID token is signed by no key of the provider's")
    return found[0].key


class _Asking:
    """The exchanges of one login, within one deadline."""

    def __init__(self, relation: Relation) -> None:
        self._relation = relation

    async def __aenter__(self) -> "_Asking":
        self._client = open_client(2, CONNECT_S, allow_private=self._relation.allow_private)
        self._deadline = asyncio.timeout(WITHIN_S)
        await self._deadline.__aenter__()
        return self

    async def __aexit__(self, kind: Any, exc: Any, trace: Any) -> None:
        try:
            await self._client.aclose()
            await self._deadline.__aexit__(kind, exc, trace)
        except TimeoutError as late:
            raise Unreachable("it took too long") from late

    async def metadata(self) -> Metadata:
        issuer = self._relation.issuer
        said = await self.json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if said.get("issuer") != issuer:
            raise SignOnError("the provider names itself otherwise")
        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        known = (*needed, "userinfo_endpoint", "end_session_endpoint")
        found = {name: said[name] for name in known if said.get(name)}
        if not set(needed) <= set(found) or not all(map(self._is_safe, found.values())):
            raise SignOnError("the provider's addresses are missing or not https")
        return Metadata(
            **found,
            takes_basic="client_secret_basic" in methods,
            names_itself=said.get("authorization_response_iss_parameter_supported") is True,
        )

    async def tokens(self, metadata: Metadata, asked: Asked, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": asked.redirect_uri,
            "code_verifier": asked.verifier,
        }
        client_id, secret = self._relation.client_id, self._relation.secret
        headers = {}
        if secret and metadata.takes_basic:
            # RFC 6749, section 2.3.1: each is encoded as in a form before they are joined.
            pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client_id} | ({"client_secret": secret} if secret else {})
        return await self.json(metadata.token_endpoint, form=form, headers=headers)

    async def json(
        self,
        url: str,
        *,
        form: dict[str, str] | None = None,
        token: str = "",
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """An object; a POST with `form`."""
        common = {"Accept": "application/json", "Accept-Encoding": "identity"}
        headers = {**common, "User-Agent": "Potok", **(headers or {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        verb = "POST" if form is not None else "GET"
        try:
            async with self._client.stream(verb, url, data=form, headers=headers) as response:
                body = await _bounded(response)
        # A ValueError (IDNA's are) is a host name that can't be.
        except (*TRANSPORT_ERRORS, ValueError) as exc:
            raise Unreachable(f"{urlsplit(url).path}: {translate(exc).reason}") from exc
        if response.status_code != 200:
            raise SignOnError(f"{urlsplit(url).path} answered {response.status_code}")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as exc:
            raise SignOnError(f"{urlsplit(url).path} answered no JSON") from exc
        if not isinstance(found, dict):
            raise SignOnError(f"{urlsplit(url).path} answered no object")
        return found

    def _is_safe(self, url: Any) -> bool:
        """Without TLS only within a network that the owner has allowed."""
        if not isinstance(url, str):
            return False
        allowed = ("https", "http") if self._relation.allow_private else ("https",)
        return urlsplit(url).scheme in allowed and bool(urlsplit(url).hostname)


async def _bounded(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_BYTES:
            raise SignOnError("the answer is too long")
    return body
