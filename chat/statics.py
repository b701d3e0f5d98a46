"""Static files, answered before Django: each cold page asks for several of them at once.

Through Django's handler each took 4 ms of a processor, nearly all of it to change threads.
"""

from pathlib import Path
from typing import Any

from django.conf import settings
from whitenoise.middleware import WhiteNoiseMiddleware

ASKED = (b"accept-encoding", b"if-none-match", b"if-modified-since", b"range")
# Told of each file, of all that Django's SecurityMiddleware tells of a page.
SAFE = [(b"X-Content-Type-Options", b"nosniff")]
if settings.SECURE_HSTS_SECONDS:
    SAFE.append((b"Strict-Transport-Security", b"max-age=%d" % settings.SECURE_HSTS_SECONDS))


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise's files by its rules, for ASGI, which it doesn't know; `answers` says which.

    In a deploy a page of the next version may ask here: its process has collected beside ours.
    """

    def answers(self, url: str) -> bool:
        return url in self.files or self._was_collected_since(url)

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        url = scope["path"]
        static_file = self.files.get(url) or self.get_static_file(str(self._path(url)), url)
        asked = {
            _in_environ(name.decode("latin1")): value.decode("latin1")
            for name, value in scope["headers"]
            if name in ASKED
        }
        found = static_file.get_response(scope["method"], asked)
        body = b""
        if found.file is not None:
            with found.file:
                body = found.file.read()
        await send(
            {
                "type": "http.response.start",
                "status": int(found.status),
                "headers": [*_told(found.headers), *SAFE],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def _was_collected_since(self, url: str) -> bool:
        is_ours = url.startswith(self.static_prefix) and self.url_is_canonical(url)
        if not is_ours or url.endswith("/"):
            return False
        try:
            return self._path(url).is_file()
        except OSError:  # a name that is longer than any file's may be
            return False

    def _path(self, url: str) -> Path:
        return Path(self.static_root, url.removeprefix(self.static_prefix))


def _in_environ(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"


def _told(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    # What never changes under its name is never asked for again, and needs nothing to be told by.
    is_final = any("immutable" in value for _, value in headers)
    return [
        (name.encode("latin1"), value.encode("latin1"))
        for name, value in headers
        if not (is_final and name in ("ETag", "Last-Modified"))
    ]
