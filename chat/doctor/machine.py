"""What can be seen without asking anybody: settings, files, the disk, the age of the last backup."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat.installation import is_static_collected

from .finding import Finding, error, ok, warning

GIB = 1024**3
LEAST_FREE_BYTES, FREE_BYTES = 100 * 1024**2, GIB
LEAST_SECRET_CHARS, LEAST_SECRET_LETTERS = 50, 5
BACKUP_DAYS = 7
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def look() -> Iterator[Finding]:
    yield from _settings()
    yield _data_dir()
    yield _keys()
    yield _disk()
    yield _static()
    yield _backup()


def _settings() -> Iterator[Finding]:
    if settings.DEBUG:
        yield error(
            "debug",
            _("DEBUG is on: an error's page shows settings and code to whoever meets it."),
            _("Start Potok with its own settings, which keep DEBUG off."),
        )
    else:
        yield ok("debug", _("DEBUG is off."))
    yield _secret_key()
    yield _address()


def _secret_key() -> Finding:
    secret = settings.SECRET_KEY
    if len(secret) < LEAST_SECRET_CHARS or len(set(secret)) < LEAST_SECRET_LETTERS:
        return error(
            "secret_key",
            _("SECRET_KEY is short enough to be guessed, and with it any login is forged."),
            _("Set 50 random characters, or leave it unset: one is made and kept."),
        )
    kept = settings.DATA_DIR / "secret_key"
    if not settings.EMBEDDED and kept.exists() and kept.read_text().strip() == secret:
        return warning(
            "secret_key",
            _("SECRET_KEY is this machine's own; processes elsewhere would have another."),
            _("Set SECRET_KEY to the same for all processes."),
        )
    return ok("secret_key", _("SECRET_KEY is long and random enough."))


def _address() -> Finding:
    plain = [
        origin
        for origin in settings.ORIGINS
        if origin.startswith("http://") and urlsplit(origin).hostname not in LOOPBACK
    ]
    if plain:
        return warning(
            "https",
            _("%(address)s is plain http: passwords and conversations travel unencrypted.")
            % {"address": plain[0]},
            _("Put a proxy with TLS in front and set POTOK_URL to the https address."),
        )
    if settings.TRUSTED_PROXIES and settings.HOST not in LOOPBACK:
        return warning(
            "https",
            _("Potok listens on %(host)s, so its proxy can be gone around.")
            % {"host": settings.HOST},
            _("Set HOST=127.0.0.1, or have a firewall let only the proxy through."),
        )
    return ok("https", ", ".join(settings.ORIGINS))


def _data_dir() -> Finding:
    path = settings.DATA_DIR
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-"):
            pass
    except OSError as exc:
        return error(
            "data_dir",
            _("%(path)s can't be written (%(why)s).") % {"path": path, "why": exc.strerror},
            _("Give it to the user that Potok runs as, or set POTOK_DATA_DIR."),
        )
    if stat.S_IMODE(path.stat().st_mode) & 0o007:
        return warning(
            "data_dir",
            _("Every user of this machine may look into %(path)s.") % {"path": path},
            f"chmod o= {path}",
        )
    if path.stat().st_uid != os.geteuid():
        return warning(
            "data_dir",
            _("%(path)s belongs to another user than the one who asks.") % {"path": path},
            _("Run every command of Potok as the user that it runs as."),
        )
    return ok("data_dir", _("%(path)s can be written.") % {"path": path})


def _keys() -> Finding:
    files = [settings.DATA_DIR / "secret_key", settings.DATA_DIR / "gateway_keys"]
    there = [path for path in files if path.exists()]
    open_ones = [str(path) for path in there if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if open_ones:
        return error(
            "key_files",
            _("Others than the owner may read %(files)s.") % {"files": ", ".join(open_ones)},
            f"chmod 600 {' '.join(open_ones)}",
        )
    unreadable = [str(path) for path in there if not os.access(path, os.R_OK)]
    if unreadable:
        return error(
            "key_files",
            _("%(files)s can't be read.") % {"files": ", ".join(unreadable)},
            _("Give it to the user that Potok runs as."),
        )
    if not there:
        return ok("key_files", _("Both secrets come from the environment."))
    return ok("key_files", _("Only their owner reads the key files."))


def _disk() -> Finding:
    free = shutil.disk_usage(settings.DATA_DIR).free
    left = _("%(gb)s GB are free in %(path)s.") % {
        "gb": number_format(free / GIB, 1),
        "path": settings.DATA_DIR,
    }
    files = os.statvfs(settings.DATA_DIR)
    advice = _("Make room, or move POTOK_DATA_DIR to a larger disk.")
    if free < LEAST_FREE_BYTES:
        return error("disk", left, advice)
    if free < FREE_BYTES:
        return warning("disk", left, advice)
    if files.f_files and files.f_favail < 1000:
        return warning("disk", _("The disk takes hardly any more files."), advice)
    return ok("disk", left)


def _static() -> Finding:
    if is_static_collected():
        return ok("static", _("The static files are those of this version."))
    return warning(
        "static",
        _("The static files of this version are not collected yet."),
        _("`manage.py serve` does it when it starts; before another server: %(command)s")
        % {"command": "python manage.py collectstatic"},
    )


def _backup() -> Finding:
    advice = _("Have it made every night: %(command)s") % {"command": "python manage.py backup"}
    made = last_backup(settings.DATA_DIR)
    if made is None:
        return warning("backup", _("No backup is known of."), advice)
    path, made_at = made
    days = (timezone.now() - made_at).days
    told = ngettext(
        "The last backup is %(n)d day old: %(path)s",
        "The last backup is %(n)d days old: %(path)s",
        days,
    ) % {"n": days, "path": path}
    return warning("backup", told, advice) if days >= BACKUP_DAYS else ok("backup", told)


def last_backup(data_dir: Path) -> tuple[str, datetime] | None:
    """Where the last one that `manage.py backup` made was put, and when; None if it isn't known."""
    try:
        noted = json.loads((data_dir / "last_backup").read_text())
        return str(noted["path"]), datetime.fromisoformat(noted["made_at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
