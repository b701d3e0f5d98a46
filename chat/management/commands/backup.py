"""`manage.py backup`: the whole installation in one file, while it runs."""

import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from chat.backup.contents import DRAFT, drop_leftovers, pack


class Command(BaseCommand):
    help = (
        "Write database, keys and files into one archive that only its owner may read. Potok may"
        " run meanwhile. Logins are not kept."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", nargs="?", type=Path, help="A file, or a folder for one; backups/ by default."
        )
        parser.add_argument(
            "--without-key",
            action="store_true",
            help="Leave out the key files, which are kept apart then.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            target = _target(options["path"])
            drop_leftovers(target.parent, DRAFT)
            with tempfile.TemporaryDirectory(prefix=DRAFT, dir=target.parent) as folder:
                manifest = pack(target, Path(folder), with_keys=not options["without_key"])
        except FileExistsError as exc:
            raise CommandError(f"{exc.filename2 or exc.filename} is there already.") from None
        except OSError as exc:
            raise CommandError(f"The backup could not be written: {exc.strerror}.") from None
        except Error as exc:
            raise CommandError(f"The database does not answer: {exc}") from None
        size = target.stat().st_size / 1024**2
        messages = manifest["counts"].get("chat_message", 0)
        self.stdout.write(f"{target}: {messages} messages, {size:.1f} MB.")
        self.stdout.write(_about_keys(manifest["keys"], left_out=options["without_key"]))


def _target(path: Path | None) -> Path:
    name = f"potok-{timezone.now():%Y%m%d-%H%M%S}.tar.gz"
    if path is None:
        folder = Path(settings.DATA_DIR / "backups")
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / name
    target = path.absolute()
    if target.is_dir():
        target = target / name
    if target.exists():
        raise FileExistsError(17, "", str(target))
    return target


def _about_keys(keys: list[str], *, left_out: bool) -> str:
    if left_out:
        return (
            "The key files are not in it. Without gateway_keys (or POTOK_SECRETS_KEY) the gateways'"
            " keys can't be opened: keep it apart."
        )
    if "gateway_keys" in keys:
        return "The key files are in it: whoever has it can open the gateways' keys."
    return "The secrets come from the environment and are not in it: keep that apart."
