"""What an error says to whoever set the gateway up: what is wrong, and where to look."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from chat.upstream.errors import GatewayError


def of(error: GatewayError) -> str:
    """One or two plain sentences, with the gateway's own words where it had any."""
    sentence = _by_reason(error) or _by_kind(error)
    return f"{sentence} ({error.message})" if error.message else sentence


def of_fields(fields: Mapping[str, Any]) -> str:
    """The same for an error that was kept with a gateway."""
    return of(
        GatewayError(
            fields["kind"], fields["message"], status=fields["status"], reason=fields["reason"]
        )
    )


def _by_reason(error: GatewayError) -> str | None:
    match error.reason:
        case "url":
            return _("This address can't be used; check how it is written.")
        case "dns":
            return _("There is no host of this name.")
        case "refused":
            return _("Nothing answers at this address; check host and port.")
        case "tls":
            return _("The host's TLS certificate is not valid for this address.")
        case "forbidden":
            return _(
                "The address lies in a private network. An owner may allow that for this gateway."
            )
        case "connect":
            return _("The host doesn't answer; a firewall may be in the way.")
        case "sealed":
            return _("The stored key can't be unsealed here. Enter it again.")
        case "key":
            return _("The key holds characters that no key has. Enter it again.")
        case "redirect":
            return _("The address leads on to another one; enter that one.")
        case "html":
            return _("A web page answers here, not an API. The address mostly ends in /v1.")
        case "http" | "json" | "encoding" | "too_long" | "no_progress":
            return _("What answers here doesn't speak like an OpenAI-compatible gateway.")
        case "model":
            return _("The gateway doesn't know this model.")
        case "budget":
            return _("A budget that applies to you can't pay for it.")
    return None


def _by_kind(error: GatewayError) -> str:
    match error.kind:
        case "auth":
            return _("The gateway refuses the key.")
        case "balance":
            return _("The gateway's balance is used up.")
        case "not_found":
            return _("The host knows no such address. It mostly ends in /v1.")
        case "rate_limit":
            return _("The gateway takes no more requests for the moment.")
        case "bad_request":
            return _("The gateway doesn't accept the request.")
        case "server" if error.status:
            return _("The gateway met an error of its own (%(status)d).") % {"status": error.status}
        case "server":
            return _("The gateway met an error of its own.")
        case "timeout":
            return _("The gateway didn't answer in time.")
        case "empty" | "tool_calls":
            return _("The gateway answered, but without any text.")
        case "connection":
            return _("The connection broke before the answer was whole.")
    return _("What answers here doesn't speak like an OpenAI-compatible gateway.")
