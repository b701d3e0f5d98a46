"""Message catalogues: .po files compiled to the .mo files that gettext reads."""

import tempfile
from pathlib import Path

LOCALE_DIR = Path(__file__).resolve().parent / "locale"


def compile_catalogues(locale_dir: Path = LOCALE_DIR, *, force: bool = False) -> list[Path]:
    """Compile each .po whose .mo is missing or older, or every one; the .mo files written."""
    return [_compile(po) for po in catalogues(locale_dir) if force or _is_stale(po)]


def catalogues(locale_dir: Path = LOCALE_DIR) -> list[Path]:
    """The .po files, sorted."""
    return sorted(locale_dir.glob("*/LC_MESSAGES/django.po"))


def _is_stale(po: Path) -> bool:
    mo = po.with_suffix(".mo")
    return not mo.exists() or mo.stat().st_mtime_ns < po.stat().st_mtime_ns


def _compile(po: Path) -> Path:
    """The .mo file, without fuzzy messages; moved into place whole, as others may do it too."""
    from babel.messages.mofile import write_mo  # here: hardly a start compiles any
    from babel.messages.pofile import read_po

    with po.open("rb") as source:
        catalogue = read_po(source, abort_invalid=True)
    mo = po.with_suffix(".mo")
    with tempfile.NamedTemporaryFile(dir=mo.parent, suffix=".tmp", delete=False) as draft:
        write_mo(draft, catalogue)
    Path(draft.name).chmod(0o644)
    return Path(draft.name).replace(mo)
