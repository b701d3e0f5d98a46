"""Where and as whom to ask, and what is known of what may be asked there. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chat.upstream.errors import GatewayError

_HEADER = re.compile(r"[!-~]*")
_VENDORS = {"api.aitunnel.ru": "aitunnel", "openrouter.ai": "openrouter"}
# Newer models of OpenAI's refuse the one, most other servers don't know the other.
_OTHER_NAMES = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}


@dataclass(frozen=True)
class Endpoint:
    """One gateway's API.

    base_url: up to and including /v1. refused: by model, the parameters that it does not take.
    """

    slug: str
    base_url: str
    key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    include_usage: bool = True
    allow_private: bool = True
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def vendor(self) -> str:
        """Whose ways it has beyond the common ones: known by its host, else by its slug."""
        host = self.base_url.partition("://")[2].partition("/")[0].lower()
        return _VENDORS.get(host, self.slug)

    def request_headers(self) -> dict[str, str]:
        """Raises GatewayError for a key that no header can hold."""
        if not _HEADER.fullmatch(self.key):
            raise GatewayError("auth", reason="key")
        headers = {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "Potok",
            **self.headers,
        }
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return headers

    def fitted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request without what its model refuses; a limit goes by its other name, if it has one."""
        fitted = dict(body)
        refused = self.refused.get(body.get("model", ""), ())
        for name in refused:
            if name in fitted:
                value = fitted.pop(name)
                other = _OTHER_NAMES.get(name)
                if other and other not in refused:
                    fitted[other] = value
        return fitted

    def taught_by(self, error: GatewayError, body: Mapping[str, Any]) -> "Endpoint | None":
        """How to ask after this refusal of `body`; None where it says nothing that helps."""
        if error.reason == "include_usage" and self.include_usage:
            return replace(self, include_usage=False)
        asked, model = self.fitted(body), body.get("model", "")
        name = next((name for name in error.parameters if name in asked), None)
        if name is None:
            return None
        known = self.refused.get(model, ())
        return replace(self, refused={**self.refused, model: (*known, name)})
