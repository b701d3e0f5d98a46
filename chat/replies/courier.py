"""Sends the notices of budgets, by e-mail and to webhooks: when one is made, and now and then.

Nothing waits for it. Each notice is tried a few times, further and further apart, and then given up.
"""

import asyncio
import contextvars
import json
import logging
from contextlib import suppress
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from chat import amounts
from chat.models import Allowance, Notice, bells
from chat.models.money import NANO
from chat.models.people import time_zones
from chat.upstream import webhook
from chat.upstream.errors import GatewayError

from .database import in_database

logger = logging.getLogger(__name__)
EVERY_S = 30.0


class Courier:
    def __init__(self) -> None:
        self._rung = asyncio.Event()
        bells.listen(bells.NOTICES, self._hear)
        self._task = asyncio.get_running_loop().create_task(
            self._send_forever(), context=contextvars.Context(), name="courier"
        )

    async def aclose(self) -> None:
        bells.forget(bells.NOTICES, self._hear)
        self._task.cancel()
        await asyncio.wait([self._task])

    def _hear(self, _note: dict[str, Any]) -> None:
        self._rung.set()

    async def _send_forever(self) -> None:
        while True:
            self._rung.clear()
            try:
                for notice in await in_database(Notice.take_due)():
                    await _send(notice)
            except Exception:
                logger.exception("Notices of budgets could not be sent")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), EVERY_S)


async def _send(notice: Notice) -> None:
    try:
        if notice.is_webhook:
            document = json.dumps(facts(notice), ensure_ascii=False).encode()
            allows = settings.PRIVATE_WEBHOOKS
            await webhook.post(notice.address, document, allow_private=allows)
        else:
            await asyncio.to_thread(_mail(notice).send)
    except (GatewayError, OSError) as error:  # SMTPException is one
        logger.warning("Notice %d was not delivered: %s", notice.pk, error)
        await in_database(notice.note_failure)(str(error))
    else:
        await in_database(notice.note_sent)()


def facts(notice: Notice) -> dict[str, Any]:
    """What a webhook is told; money as decimal strings. `id` is the same each time it is tried."""
    allowance, budget = notice.allowance, notice.allowance.budget
    person = allowance.user or budget.user
    return {
        "event": "budget",
        "id": notice.pk,
        "percent": notice.percent,
        "budget": {
            "id": budget.pk,
            "person": person.username if person else None,
            "group": budget.group.name if budget.group else None,
            "period": budget.period,
            "refuses": budget.is_hard,
        },
        "money": None if budget.money is None else _plain(allowance),
        "tokens": None
        if budget.tokens is None
        else {"spent": allowance.spent_tokens, "limit": budget.tokens},
        "period_starts": allowance.starts_on.isoformat(),
        "resets_at": allowance.resets_at.isoformat(),
    }


def _plain(allowance: Allowance) -> dict[str, str]:
    spent = Decimal(allowance.spent_nano) / NANO
    budget = allowance.budget
    return {"spent": f"{spent:f}", "limit": f"{budget.money:f}", "currency": budget.currency}


def _mail(notice: Notice) -> EmailMessage:
    """In the language and time zone of whom it bounds, if it goes to them; else the installation's."""
    allowance, budget = notice.allowance, notice.allowance.budget
    person = allowance.user or budget.user
    is_theirs = person is not None and person.email == notice.address
    language, zone = (person.language, person.time_zone) if is_theirs and person else ("", "")
    with (
        translation.override(language or settings.LANGUAGE_CODE),
        timezone.override(zone if zone in time_zones() else None),
    ):
        facts = {
            "percent": notice.percent,
            "whose": _whose(allowance, is_theirs),
            "used": " · ".join(_used(allowance)),
            "when": date_format(timezone.localtime(allowance.resets_at), "DATETIME_FORMAT"),
        }
        subject = _("%(whose)s: %(percent)d %% used") % facts
        lines = [
            _("%(whose)s: %(percent)d %% used") % facts + ".",
            f"{facts['used']}.",
            _("It begins anew on %(when)s.") % facts,
        ]
        if notice.percent >= 100 and budget.is_hard:
            lines.append(_("Until then further questions are refused."))
        if is_theirs and budget.contact:
            lines.append(_("Ask for more: %(contact)s.") % {"contact": budget.contact})
        lines.append(settings.ORIGINS[0])
    # The same however often it is tried: a mail program shows it once.
    host = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2]
    same = {"Message-ID": f"<potok-budget-{notice.pk}@{host}>", "Auto-Submitted": "auto-generated"}
    one_line = " ".join(subject.split())
    return EmailMessage(one_line, "\n".join(lines), to=[notice.address], headers=same)


def _whose(allowance: Allowance, is_theirs: bool) -> str:
    budget = allowance.budget
    if is_theirs:
        return _("Your limit in Potok, %(period)s") % {"period": budget.get_period_display()}
    name = str(allowance.user or budget.user or budget.group or _("everybody"))
    return _("Budget of %(name)s, %(period)s") % {
        "name": name,
        "period": budget.get_period_display(),
    }


def _used(allowance: Allowance) -> list[str]:
    budget, found = allowance.budget, []
    both = _("%(used)s of %(all)s")
    if budget.money is not None:
        spent = amounts.money(Decimal(allowance.spent_nano) / NANO, budget.currency)
        found.append(both % {"used": spent, "all": amounts.money(budget.money, budget.currency)})
    if budget.tokens is not None:
        spent = amounts.tokens(allowance.spent_tokens)
        found.append(both % {"used": spent, "all": amounts.tokens(budget.tokens)})
    return found
