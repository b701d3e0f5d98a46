"""`manage.py doctor`: what is wrong with this installation, and what to do about it."""

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils.translation import gettext as _

from chat.catalogues import compile_catalogues
from chat.doctor.examination import examine
from chat.doctor.finding import Finding
from chat.scrubbing import scrub

STATUS = {"ok": 0, "error": 1, "warning": 2}


class Command(BaseCommand):
    help = (
        "Say what is wrong with this installation and what to do about it, a line a check, in the"
        " language of LANGUAGE_CODE. Exit status: 0 all is well, 1 errors, 2 only warnings."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--json",
            action="store_true",
            help='Print one JSON object: {"status", "findings": [{"name", "level", "sentence",'
            ' "advice"}]}.',
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with suppress(OSError):  # where nothing may be written it speaks English
            compile_catalogues()
        findings = []
        for found in examine():
            findings.append(_clean(found))
            if not options["json"]:
                self._tell(findings[-1])
        levels = [finding.level for finding in findings]
        worst = next((level for level in ("error", "warning") if level in levels), "ok")
        if options["json"]:
            self.stdout.write(json.dumps({"status": worst, "findings": [*map(asdict, findings)]}))
        sys.exit(STATUS[worst])

    def _tell(self, finding: Finding) -> None:
        words = {"ok": _("ok"), "warning": _("warning"), "error": _("ERROR")}
        styles = {
            "ok": self.style.SUCCESS,
            "warning": self.style.WARNING,
            "error": self.style.ERROR,
        }
        level = styles[finding.level](f"{words[finding.level]:14}")
        advice = f" → {finding.advice}" if finding.advice else ""
        self.stdout.write(f"{level}{finding.name:20} {finding.sentence}{advice}")
        self.stdout.flush()


def _clean(finding: Finding) -> Finding:
    return Finding(finding.name, finding.level, scrub(finding.sentence), scrub(finding.advice))
