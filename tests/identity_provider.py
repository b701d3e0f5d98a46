"""A small OpenID provider on a real port: what it says may be spoilt on purpose.

with IdentityProvider() as provider:
    location = ...                          # where the code under test sends the browser
    answer = provider.authorize(location, sub="ann")     # the query of the way back
    provider.spoil["nonce"] = "another"     # what the next ID token says instead
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, SECRET = "potok", "the secret of the client: /+%"


class IdentityProvider:
    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.other_key = rsa.generate_private_key(65537, 2048)
        # Claims that replace the true ones in a token; `alg`, `key`, `kid` of its signature.
        self.spoil: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}  # what replaces the true metadata; None leaves it out
        self.userinfo: dict[str, Any] | None = None
        self.answers: dict[str, tuple[int, bytes]] = {}  # by path, instead of the true ones
        self.requests: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self._codes: dict[str, dict[str, Any]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self._answer({name: values[0] for name, values in parse_qs(body).items()})

            def _answer(self, form: dict[str, str]) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                path = urlsplit(self.path).path
                provider.requests.append((path, headers, form))
                status, body = provider.answers.get(path) or provider.answer(path, headers, form)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body.decode())
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> "IdentityProvider":
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def authorize(self, location: str, **claims: Any) -> dict[str, str]:
        """Somebody logs in here; what their browser brings back."""
        parts = urlsplit(location)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/authorize"
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT_ID)
        code = secrets.token_urlsafe(16)
        self._codes[code] = {"asked": asked, "claims": claims}
        return {"code": code, "state": asked["state"]}

    def answer(self, path: str, headers: dict[str, str], form: dict[str, str]) -> tuple[int, bytes]:
        match path:
            case "/.well-known/openid-configuration":
                return 200, json.dumps(self._metadata()).encode()
            case "/jwks":
                return 200, json.dumps({"keys": [self._jwk(self.key, "first")]}).encode()
            case "/token":
                return self._token(headers, form)
            case "/userinfo" if self.userinfo is not None:
                return 200, json.dumps(self.userinfo).encode()
        return 404, b"{}"

    def _metadata(self) -> dict[str, Any]:
        paths = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "jwks_uri": "jwks",
            "end_session_endpoint": "logout",
        }
        if self.userinfo is not None:
            paths["userinfo_endpoint"] = "userinfo"
        true = {name: f"{self.issuer}/{path}" for name, path in paths.items()}
        return {"issuer": self.issuer, **true, **self.metadata}

    def _token(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, bytes]:
        """As RFC 6749 and 7636 want it: each code once, by its client, with its verifier."""
        granted = self._codes.pop(form.get("code", ""), None)
        basic = base64.b64decode(headers.get("authorization", "Basic ").split(" ")[1]).decode()
        client = tuple(unquote(part) for part in basic.split(":")) if basic else (
            form.get("client_id"), form.get("client_secret"))  # fmt: skip
        if granted is None or client != (CLIENT_ID, SECRET):
            return 400, b'{"error": "invalid_grant"}'
        asked = granted["asked"]
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, b'{"error": "invalid_grant"}'
        token = self._signed({**self._claims(asked["nonce"]), **granted["claims"]})
        return 200, json.dumps(
            {"access_token": "at", "token_type": "Bearer", "id_token": token}
        ).encode()

    def _claims(self, nonce: str) -> dict[str, Any]:
        now = int(time.time())
        return {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}

    def _signed(self, claims: dict[str, Any]) -> str:
        signature = {"alg": "RS256", "key": self.key, "kid": "first"}
        for name, value in self.spoil.items():
            (signature if name in signature else claims)[name] = value
        claims = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": signature["kid"]} if signature["kid"] else None
        return jwt.encode(claims, signature["key"], signature["alg"], headers)

    @staticmethod
    def _jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
        found = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {**found, "kid": kid, "use": "sig"}
