"""What a reader is told when a reply ended badly: one plain sentence, and what to do."""

from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from chat.models import Generation
from chat.models.budgets import Refusal

from . import limits


class Told(NamedTuple):
    kind: str
    sentence: str
    advice: str
    message: str  # the gateway's own words, '' where they don't help
    seconds: int | None  # until it is worth trying again, counted from the end
    until_ms: int | None  # the same as a moment, in milliseconds since 1970


def told(generation: Generation) -> Told | None:
    """None for a generation that has no error."""
    kind, reason = generation.error_kind, generation.error_reason
    if not kind:
        return None
    if generation.refusal:
        sentence, advice = limits.told(Refusal(**generation.refusal))
        return Told(kind, sentence, advice, "", None, None)
    sentence, advice = _by_reason(reason) or _by_kind(kind)
    seconds = None if generation.error_seconds is None else round(generation.error_seconds)
    until_ms = None
    if kind == "rate_limit" and seconds and generation.ended_at:
        # The template counts the seconds down behind it.
        advice = pgettext("advice", "Try again")
        until_ms = round(generation.ended_at.timestamp() * 1000) + seconds * 1000
    return Told(kind, sentence, advice, generation.error_message, seconds, until_ms)


def _by_reason(reason: str) -> tuple[str, str] | None:
    match reason:
        case "context_length":
            return (
                _("The conversation is too long for this model."),
                _("Start a new chat, or choose a model with a larger context."),
            )
        case "content_filter":
            return (
                _("The gateway's content filter refused this request."),
                _("Rephrase the message."),
            )
        case "gateway":
            return (
                _("The gateway of this message is switched off."),
                _("Choose another model."),
            )
        case "model_access":
            return _("This model isn't open to you."), _("Choose another model.")
        case "sealed":
            return (
                _("The key of this gateway can't be read."),
                _("The administrator has to enter it again."),
            )
    return None


def _by_kind(kind: str) -> tuple[str, str]:
    match kind:
        case "auth":
            return (
                _("The gateway refused the key."),
                _("The administrator has to check the key of this gateway."),
            )
        case "balance":
            return (
                _("The gateway's balance is used up."),
                _("The administrator has to top it up."),
            )
        case "not_found":
            return _("The gateway doesn't know this model."), _("Choose another model.")
        case "rate_limit":
            return (
                _("The gateway takes no more requests for the moment."),
                _("Try again in a minute."),
            )
        case "bad_request":
            return _("The gateway couldn't accept this request."), ""
        case "server":
            return _("The gateway met an error."), _("Try again.")
        case "protocol":
            return (
                _("The gateway's answer wasn't a reply that can be read."),
                _("Try again; if it stays so, check the gateway's address."),
            )
        case "connection":
            return _("The connection to the gateway failed."), _("What has arrived is kept.")
        case "timeout":
            return _("The gateway didn't answer in time."), _("What has arrived is kept.")
        case "empty":
            return _("The model returned an empty reply."), _("Try again.")
        case "tool_calls":
            return (
                _("The model asked for tools, which Potok doesn't offer."),
                _("Try again, or choose another model."),
            )
        case "restart":
            return _("Potok was restarted during this reply."), _("What has arrived is kept.")
        case "crash":
            return _("Potok stopped during this reply."), _("What has arrived is kept.")
    return _("Something went wrong in Potok itself."), _("Try again; the log says what it was.")
