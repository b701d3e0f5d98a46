"""Messages: extract them from the sources, update each language's .po, compile; or check all that.

Django's makemessages needs GNU gettext; Babel does the same with what pip installs.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages import Catalog, Message
from babel.messages.extract import extract_python
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation.template import templatize

from chat.catalogues import catalogues, compile_catalogues

KEYWORDS: dict[str, Any] = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
    "npgettext_lazy": ((1, "c"), 2, 3),
}
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[sd]|\{\w*\}")


class Command(BaseCommand):
    help = "Extract the messages, update every language's catalogue and compile it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="Change nothing; fail if a message isn't translated.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        messages = extract(settings.BASE_DIR)
        problems = []
        for po in catalogues():
            if not options["check"]:
                update(po, messages)
            problems += [f"{po.parent.parent.name}: {line}" for line in check(po, messages)]
        compile_catalogues()
        if options["check"] and problems:
            raise CommandError(
                "\n".join([*problems, "Run make messages, then translate what is new."])
            )
        self.stdout.write("\n".join(problems or ["Every message is translated."]))


def extract(root: Path) -> Catalog:
    """All messages of the Python and template files under `root`, each with the files it is in."""
    found = Catalog(charset="utf-8")
    for path in [*sorted(root.glob("chat/**/*.py")), *sorted(root.glob("templates/**/*.*"))]:
        place = path.relative_to(root).as_posix()
        source = path.read_text("utf-8")
        for _line, function, message, comments in _messages(source, place):
            for id_, context in _ids(function, message):
                found.add(id_, None, [(place, None)], auto_comments=comments, context=context)
    return found


def update(po: Path, messages: Catalog) -> None:
    """Write the catalogue anew: what is new has no translation, what is used nowhere is gone."""
    catalogue = _read(po)
    catalogue.update(messages, no_fuzzy_matching=True, update_creation_date=False)
    catalogue.obsolete.clear()
    text = io.BytesIO()
    write_po(text, catalogue, width=100, sort_by_file=True, include_lineno=False)
    po.write_bytes(text.getvalue())


def check(po: Path, messages: Catalog) -> list[str]:
    """What is wrong with a catalogue, a line each."""
    catalogue = _read(po)
    problems = []
    if catalogue.num_plurals != (forms := get_plural(po.parent.parent.name).num_plurals):
        problems.append(f"the header has {catalogue.num_plurals} plural forms, not {forms}")
    for message in messages:
        known = catalogue.get(message.id, message.context) if message.id else None
        if message.id and known is None:
            problems.append(f"{_name(message)} is missing")
    for message in catalogue:
        if message.id and messages.get(message.id, message.context) is None:
            problems.append(f"{_name(message)} is used nowhere")
        elif message.id:
            problems += [f"{_name(message)} {flaw}" for flaw in _flaws(message)]
    return problems


def _flaws(message: Message) -> Iterator[str]:
    sources = message.id if isinstance(message.id, tuple) else (message.id,)
    targets = message.string if isinstance(message.string, tuple) else (message.string,)
    if message.fuzzy:
        yield "is fuzzy"
    if not all(targets):
        yield "lacks a translation"
        return
    # The form for one may do without its number ("a message", "одно сообщение").
    wanted, least = _placeholders(sources[-1]), _placeholders(sources[0])
    for target in targets:
        has = _placeholders(str(target))
        if not (has == wanted or (len(targets) > 1 and least <= has <= wanted)):
            yield f"has other placeholders in {target!r}"


def _placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text.replace("%%", "")))


def _messages(source: str, place: str) -> Iterator[tuple[int, str, Any, list[str]]]:
    """(line, function, its string arguments, translators' comments) of each call of gettext."""
    if not place.endswith(".py"):
        # What isn't a message comes out as runs of letters; only its indentation would be Python.
        lines = templatize(source, origin=place).splitlines()
        source = "\n".join(line.strip() for line in lines)
    options = {"encoding": "utf-8"}
    yield from extract_python(io.BytesIO(source.encode()), KEYWORDS, ["Translators:"], options)


def _ids(function: str, message: Any) -> Iterator[tuple[Any, str | None]]:
    """(id or (singular, plural), context) of a call whose arguments are literals."""
    arguments = list(message) if isinstance(message, tuple) else [message]
    context = arguments.pop(0) if "pgettext" in function else None
    wanted = 2 if "npgettext" in function or function.startswith("ngettext") else 1
    literal = arguments[:wanted]
    if len(literal) == wanted and all(literal):
        yield (tuple(literal) if wanted == 2 else literal[0]), context


def _read(po: Path) -> Catalog:
    with po.open("rb") as source:
        return read_po(source, locale=po.parent.parent.name, abort_invalid=True)


def _name(message: Message) -> str:
    return repr(message.id[0] if isinstance(message.id, tuple) else message.id)
