"""One file that holds an installation: a gzipped tar of parts, and a manifest with their checksums.

manifest.json     what it is of, and every other part's size and SHA-256
database.sqlite3  or database.dump, as pg_dump's custom format has it
keys/...          secret_key, gateway_keys, if they are files and were wanted
files/...         whatever else lies in the data directory
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Any

FORMAT = 1
MANIFEST = "manifest.json"
_PIECE_BYTES = 1024 * 1024
_MOST_MANIFEST_BYTES = 64 * 1024 * 1024
Manifest = dict[str, Any]


class Broken(Exception):
    """It is no backup, or not whole; the words say which."""


def write(target: Path, folder: Path, manifest: Manifest) -> None:
    """Pack every file of `folder`; `target` appears whole, for its owner alone, or not at all.

    Raises FileExistsError: a backup is never written over.
    """
    parts = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path: path.relative_to(folder).as_posix() for path in parts}
    files = {
        name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path, name in names.items()
    }
    draft = folder / ".archive"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=4) as tar:
            text = json.dumps({"format": FORMAT, **manifest, "files": files}, indent=1).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
            for path, name in names.items():
                info = tarfile.TarInfo(name)
                info.size, info.mode = path.stat().st_size, 0o600
                with path.open("rb") as part:
                    tar.addfile(info, part)
        raw.flush()
        os.fsync(raw.fileno())
    # Unlike a rename, a link fails where something has the name.
    target.hardlink_to(draft)
    sync_folder(target.parent)


def unpack(source: Path, folder: Path) -> Manifest:
    """Put every part into `folder`, and return the manifest; raises Broken, OSError."""
    try:
        with tarfile.open(source, mode="r:gz") as tar:
            members = iter(tar)
            manifest = _manifest(tar, next(members, None))
            left = dict(manifest["files"])
            for member in members:
                _unpack_part(tar, member, left.pop(member.name, None), folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise Broken("it is no backup of Potok, or was cut") from exc
    if left:
        raise Broken(f"{sorted(left)[0]} is missing in it")
    return manifest


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> Manifest:
    if member is None or member.name != MANIFEST or member.size > _MOST_MANIFEST_BYTES:
        raise Broken("it is no backup of Potok")
    try:
        manifest = json.loads(_content(tar, member).read())
        is_known = manifest["format"] == FORMAT
        for name, facts in manifest["files"].items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise Broken(f"it names a file outside of itself: {name}")
            if not isinstance(facts["bytes"], int) or not isinstance(facts["sha256"], str):
                raise Broken("its manifest can't be read")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Broken("its manifest can't be read") from exc
    if not is_known:
        raise Broken("a newer version made it")
    return dict(manifest)


def _unpack_part(
    tar: tarfile.TarFile, member: tarfile.TarInfo, facts: dict[str, Any] | None, folder: Path
) -> None:
    if facts is None or not member.isreg() or member.size != facts["bytes"]:
        raise Broken(f"{member.name} is not what its manifest says")
    place = folder / member.name
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    source = _content(tar, member)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as file:
        while piece := source.read(_PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != facts["sha256"]:
        raise Broken(f"{member.name} is damaged")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise Broken(f"{member.name} is no file")
    return content


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut, as its files do."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
