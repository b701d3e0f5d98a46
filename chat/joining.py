"""Stylesheets and scripts that are written by topic and asked for as one.

`static/css/chat.css` and `static/js/chat.js` hold nothing but imports, which a browser follows as they
stand. What is collected has in their place what they name: a page asks for one file, not for a dozen.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage
from whitenoise.storage import CompressedManifestStaticFilesStorage

_IMPORTS = {
    ".css": re.compile(rb'^@import url\("([^"/]+)"\);$', re.M),
    ".js": re.compile(rb'^import "\./([^"/]+)"$', re.M),
}


class Joined:
    """The files of a storage, each with what it imports in the place of the import."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, name: str, mode: str = "rb") -> File:
        path = PurePosixPath(name)
        imports = _IMPORTS.get(path.suffix)
        if imports is None:
            return self._storage.open(name, mode)
        return ContentFile(imports.sub(lambda found: self._part(path, found[1]), self._read(path)))

    def _part(self, path: PurePosixPath, name: bytes) -> bytes:
        content = self._read(path.with_name(name.decode())).strip()
        # A block is to a script what a module is: its names are its own.
        return b"{\n%b\n}" % content if path.suffix == ".js" else content

    def _read(self, path: PurePosixPath) -> bytes:
        with self._storage.open(str(path)) as file:
            return bytes(file.read())


class JoiningStorage(CompressedManifestStaticFilesStorage):
    """Collects joined files; the hash in a name is that of all its parts."""

    def post_process(
        self, paths: dict[str, tuple[Storage, str]], *args: Any, **options: Any
    ) -> Iterator[tuple[str, str | None, Any]]:
        joined = {name: (Joined(storage), path) for name, (storage, path) in paths.items()}
        yield from super().post_process(joined, *args, **options)
