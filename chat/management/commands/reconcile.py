"""Hold the ledger against what gateways say themselves, day by day."""

from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from chat.models import Gateway
from chat.replies import check, reconcile
from chat.replies.reconcile import Line
from chat.upstream.errors import GatewayError

DIFFERS, NOT_ASKED = 1, 2
HEAD = f"  {'from':16}  {'to':16} {'calls':>7} {'ledger':>16} {'gateway':>16} {'difference':>16}"


def amount(text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise ArgumentTypeError(f"{text} is no amount") from error
    if not found.is_finite() or found < 0:
        raise ArgumentTypeError(f"{text} is no amount")
    return found


class Command(BaseCommand):
    help = (
        "Compare what calls have cost with the gateways' balances, and with their own records of"
        " calls where they keep them (OpenRouter). Exit status: 0 no difference, 1 a difference,"
        " 2 a gateway could not be asked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("gateways", nargs="*", metavar="slug", help="All of them unless told.")
        parser.add_argument("--days", type=int, default=7)
        parser.add_argument(
            "--tolerance",
            type=amount,
            default=Decimal("0.01"),
            help="A difference a line that is none, in the gateway's currency (0.01).",
        )
        parser.add_argument(
            "--lookups",
            type=int,
            default=100,
            help="At most so many of the dearest calls are asked for (100).",
        )
        parser.add_argument(
            "--no-ask", action="store_true", help="Compare the balances known already; ask nothing."
        )
        parser.add_argument(
            "--correct",
            action="store_true",
            help="Put what a gateway's record of a call says into the ledger.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._tolerance = options["tolerance"]
        self._differ = self._silent = 0
        for gateway in _named(options["gateways"]):
            self.stdout.write(f"{gateway.slug}, {gateway.currency}")
            if not options["no_ask"]:
                self._ask(gateway)
            self._tell_balances(gateway, options["days"])
            if not options["no_ask"]:
                self._tell_lookups(gateway, options)
        if self._silent:
            raise CommandError("Not every gateway could be asked.", returncode=NOT_ASKED)
        if self._differ:
            raise CommandError(f"{self._differ} lines differ.", returncode=DIFFERS)
        self.stdout.write("No difference.")

    def _ask(self, gateway: Gateway) -> None:
        finding = check.ask_balance(gateway)
        if finding.error:
            self._fail(finding.error)

    def _fail(self, error: GatewayError) -> None:
        self._silent += 1
        self.stdout.write(f"  could not be asked: {error}")

    def _tell_balances(self, gateway: Gateway, days: int) -> None:
        if lines := reconcile.by_balance(gateway, days):
            self.stdout.write(f"  by its balance\n{HEAD}")
            for line in lines:
                self._tell(line)
        elif gateway.balances.exists():
            self.stdout.write("  one balance is known; another day's is needed to compare")
        else:
            self.stdout.write("  tells no balance")

    def _tell_lookups(self, gateway: Gateway, options: dict[str, Any]) -> None:
        try:
            found = reconcile.by_lookups(
                gateway, options["days"], options["lookups"], corrects=options["correct"]
            )
        except GatewayError as error:
            self._fail(error)
            return
        if not found.of:
            return
        self.stdout.write(f"  by its records of {found.asked} calls of {found.of}\n{HEAD}")
        for line in found.lines:
            self._tell(line)
        if found.missing:
            self.stdout.write(f"  {found.missing} have no record there")
        if found.corrected:
            self.stdout.write(f"  {found.corrected} corrected in the ledger")
        if found.error:
            self._fail(found.error)

    def _tell(self, line: Line) -> None:
        figures = f"{line.calls:7} {line.ours:16.9f} {line.theirs:16.9f} {line.difference:16.9f}"
        notes = [f"{line.unknown} calls of unknown cost"] if line.unknown else []
        if line.is_topped_up:
            notes.append("topped up meanwhile, not compared")
        elif abs(line.difference) > self._tolerance:
            self._differ += 1
            notes.append("DIFFERS")
        note = f"  {', '.join(notes)}" if notes else ""
        self.stdout.write(f"  {_at(line.since)}  {_at(line.until)} {figures}{note}")


def _named(slugs: list[str]) -> list[Gateway]:
    if not slugs:
        return list(Gateway.objects.usable().exclude(slug="demo"))
    found = {gateway.slug: gateway for gateway in Gateway.objects.filter(slug__in=slugs)}
    if missing := [slug for slug in slugs if slug not in found]:
        raise CommandError(f"There is no gateway {', '.join(missing)}.", returncode=NOT_ASKED)
    return [found[slug] for slug in slugs]


def _at(moment: Any) -> str:
    if not hasattr(moment, "hour"):
        return f"{moment.isoformat():16}"
    local = timezone.localtime(moment, timezone.get_default_timezone())
    return f"{local:%Y-%m-%d %H:%M}"
