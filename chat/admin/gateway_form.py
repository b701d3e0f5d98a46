"""A gateway as it is entered: address, key, headers. A key goes in and never comes out."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

MAX_HEADERS = 20
MAX_HEADER_CHARS = 1000
# What the client sets itself, what belongs to the connection, and what would be a key in plain sight.
REFUSED_HEADERS = frozenset(
    "accept accept-encoding authorization connection content-encoding content-length content-type"
    " cookie expect host keep-alive proxy-authorization proxy-connection te trailer"
    " transfer-encoding upgrade".split()
)
_KEY = re.compile(r"[!-~]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[ -~]*")


class Decoder(json.JSONDecoder):
    def decode(self, text: str, *more: Any) -> Any:
        """Python reads no number of more than 4300 digits, which for Django isn't JSON that is wrong."""
        try:
            return super().decode(text, *more)
        except ValueError as exc:
            raise json.JSONDecodeError(str(exc), text, 0) from exc


class HeadersField(forms.JSONField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"decoder": Decoder})


class GatewayForm(forms.ModelForm):
    key = forms.CharField(
        label=gettext_lazy("New key"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text=gettext_lazy("Left empty, the key stays as it is. It is stored sealed."),
    )
    clears_key = forms.BooleanField(label=gettext_lazy("Remove the key"), required=False)

    class Meta:
        field_classes = {"headers": HeadersField}
        widgets = {"headers": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.is_from_environment:
            # They are no fields of the model, so being read-only doesn't take them away.
            del self.fields["key"], self.fields["clears_key"]

    def clean_base_url(self) -> str:
        address = str(self.cleaned_data["base_url"]).strip().rstrip("/")
        if not is_web_address(address):
            raise ValidationError(
                _("An address starts with http:// or https:// and a host, and mostly ends in /v1.")
            )
        return address

    def clean_key(self) -> str:
        key = str(self.cleaned_data["key"]).strip()
        if key and not _KEY.fullmatch(key):
            raise ValidationError(_("A key has neither spaces nor letters beyond ASCII."))
        return key

    def clean_currency(self) -> str:
        return currency_code(self.cleaned_data["currency"])

    def clean_headers(self) -> dict[str, str]:
        headers = self.cleaned_data["headers"]
        if headers is None:
            return {}
        if not isinstance(headers, dict) or len(headers) > MAX_HEADERS:
            raise ValidationError(_('Headers are an object such as {"X-Team": "research"}.'))
        return {_header_name(name): _header_value(value) for name, value in headers.items()}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("key") and cleaned.get("clears_key"):
            self.add_error("clears_key", _("Either enter a new key or remove the old one."))
        moved = self.instance.pk and "base_url" in cleaned and self._is_moved(cleaned["base_url"])
        if moved and self.instance.sealed_key and not (cleaned.get("key") or cleaned["clears_key"]):
            # Or whoever may change an address could have the key sent to one of their own.
            self.add_error("key", _("The key was entered for another host. Enter it again."))
        key = cleaned.get("key")
        if key and any(key in value for value in (cleaned.get("headers") or {}).values()):
            self.add_error("headers", _("A key belongs in the field for the key only."))
        return cleaned

    def _is_moved(self, address: str) -> bool:
        old, new = urlsplit(str(self.initial.get("base_url", ""))), urlsplit(address)
        return (old.scheme, old.netloc) != (new.scheme, new.netloc)


def currency_code(entered: str) -> str:
    code = entered.upper()
    if not re.fullmatch(r"[A-Z]{3}", code):
        raise ValidationError(_("A currency has three letters, such as USD or RUB."))
    return code


def is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").encode("idna")
        is_whole = parts.port != 0 and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        return False
    is_clean = address.isprintable() and not re.search(r"[\s@\\]", address)
    return is_clean and is_whole and bool(host) and parts.scheme in ("http", "https")


def _header_name(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name) or len(name) > MAX_HEADER_CHARS:
        raise ValidationError(_("%(name)s is not a header's name.") % {"name": repr(name)})
    if name.lower() in REFUSED_HEADERS:
        raise ValidationError(_("The header %(name)s can't be set here.") % {"name": name})
    return name.title()


def _header_value(value: object) -> str:
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ValidationError(_("A header's value is one line of ASCII text."))
    if len(value) > MAX_HEADER_CHARS:
        raise ValidationError(_("A header's value is too long."))
    return value
