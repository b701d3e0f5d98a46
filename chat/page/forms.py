"""What people send, checked; every error is a sentence that loses nothing."""

import zoneinfo
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib.auth.forms import BaseUserCreationForm, UserCreationForm
from django.forms.utils import flatatt
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language_info, ngettext
from django.utils.translation import gettext_lazy as _

from chat.models import User
from chat.models.feedback import MAX_COMMENT_CHARS
from chat.models.language_models import (
    Destination,
    NoAccess,
    NoGateway,
    destination,
    validate_model_name,
)
from chat.models.people import time_zones
from chat.rendering.clean import clean_user

NOT_OPEN = _("This model isn't open to you. Choose another one.")
NO_GATEWAY = _("No gateway is set up. An administrator has to add a key.")
LANGUAGES = [code for code, _name in settings.LANGUAGES]


class Typed(forms.Field):
    """Text as somebody typed it, cleaned; a CharField would refuse a NUL that we can leave out."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> str:
        return clean_user(str(value or ""))


class SetupForm(BaseUserCreationForm):
    """The first owner: username, password1, password2."""

    class Meta:
        model = User
        fields = ("username",)


class SignUpForm(UserCreationForm):
    """A new account: username, password1, password2. A name that differs in case alone is taken."""

    class Meta:
        model = User
        fields = ("username",)


class CommandForm(forms.Form):
    """What every command may carry: a key under which it is given once."""

    client_key = Typed(required=False)

    def clean_client_key(self) -> str:
        key: str = self.cleaned_data["client_key"]
        if len(key) > 64:
            raise forms.ValidationError(_("This page is out of date. Reload it."), code="key")
        return key

    def first_error(self) -> str:
        return next((str(e) for errors in self.errors.values() for e in errors if e), "")


class ModelForm(CommandForm):
    """Which model to ask, through which gateway: `destination` once it is valid."""

    model = Typed(required=False)
    gateway = Typed(required=False)

    destination: Destination

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def clean_model(self) -> str:
        model: str = self.cleaned_data["model"].strip()
        validate_model_name(model)
        return model

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        slug = cleaned.get("gateway", "")
        try:
            self.destination = destination(self._user, cleaned.get("model", ""), slug)
        except NoAccess:
            self.add_error("model", NOT_OPEN)
        except NoGateway:
            self.add_error(
                "gateway",
                _("There is no such gateway.") if slug else NO_GATEWAY,
            )
        return cleaned


class PlaceForm(ModelForm):
    """Model and gateway by their names, or both in one field of a list: `place`, "gateway model"."""

    def __init__(self, data: Any, **kwargs: Any) -> None:
        if place := data.get("place"):
            gateway, _space, model = place.partition(" ")
            data = {**data.dict(), "gateway": gateway, "model": model}
        super().__init__(data, **kwargs)


class FavouriteForm(ModelForm):
    """A model by its name, and whether to `keep` it: `0` is no."""

    keep = Typed(required=False)

    def clean_model(self) -> str:
        model = super().clean_model()
        if not model:
            raise forms.ValidationError(_("Choose a model first."), code="empty")
        return model


class TextForm(CommandForm):
    """A message's words."""

    text = Typed(required=False)

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if not text.strip():
            raise forms.ValidationError(_("Write a message first."), code="empty")
        if len(text) > settings.MAX_MESSAGE_CHARS:
            raise forms.ValidationError(
                ngettext(
                    "This message is too long: at most %(n)d character fits.",
                    "This message is too long: at most %(n)d characters fit.",
                    settings.MAX_MESSAGE_CHARS,
                )
                % {"n": settings.MAX_MESSAGE_CHARS},
                code="too_long",
            )
        return text


class SendForm(ModelForm, TextForm):
    """A question: text, model, gateway, client_key, parent."""

    parent = Typed(required=False)

    def clean_parent(self) -> UUID | None:
        parent: str = self.cleaned_data["parent"]
        if not parent:
            return None
        try:
            return UUID(parent)
        except ValueError:
            raise forms.ValidationError("", code="parent") from None

    @property
    def names_unknown_parent(self) -> bool:
        return self.has_error("parent", "parent")


class ReadForm(forms.Form):
    version = forms.IntegerField(min_value=0)


SELECTED = mark_safe(" selected")


class LongSelect(forms.Select):
    """Of hundreds of options: Django's would go through a template for each of them."""

    def render(self, name: str, value: Any, attrs: Any = None, **_renderer: Any) -> SafeString:
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((each, SELECTED if each == value else "", label) for each, label in self.choices),
        )
        attributes = flatatt(self.build_attrs(self.attrs, attrs))
        return format_html('<select name="{}"{}>{}</select>', name, attributes, options)


class SettingsForm(forms.ModelForm):
    """How a person likes to read and to write."""

    class Meta:
        model = User
        fields = ("theme", "language", "time_zone", "enter_sends", "default_model")
        widgets = {"theme": forms.RadioSelect}

    def __init__(self, *args: Any, device_zone: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["theme"].choices = User.Theme.choices
        as_device = _("As the browser says")
        self.fields["language"].choices = [
            ("", as_device),
            # Each in its own words, for whoever can't read the others.
            *((code, get_language_info(code)["name_local"].capitalize()) for code in LANGUAGES),
        ]
        told = f"{as_device}: {zone_label(device_zone)}" if device_zone else as_device
        zones = _zones(timezone.now().replace(minute=0, second=0, microsecond=0))
        self.fields["time_zone"] = forms.ChoiceField(
            label=self.fields["time_zone"].label,
            choices=[("", told), *zones],
            required=False,
            widget=LongSelect,
        )
        # Two keys to choose from; a form without the field leaves the common one.
        self.fields["enter_sends"] = forms.TypedChoiceField(
            label=_("A message is sent by"),
            choices=[("1", "Enter"), ("0", "Shift + Enter")],
            coerce=lambda value: value != "0",
            empty_value=True,
            required=False,
            widget=forms.RadioSelect,
        )
        self.initial["enter_sends"] = "1" if self.instance.enter_sends else "0"
        self.fields["default_model"].widget.attrs = {
            "list": "models",
            "dir": "ltr",
            "spellcheck": "false",
            "autocapitalize": "off",
            "placeholder": _("The installation's own"),
        }

    def clean_default_model(self) -> str:
        model: str = clean_user(self.cleaned_data["default_model"]).strip()
        validate_model_name(model)
        if model:
            try:
                destination(self.instance, model)
            except NoAccess:
                raise forms.ValidationError(NOT_OPEN) from None
            except NoGateway:
                raise forms.ValidationError(NO_GATEWAY) from None
        return model


def zone_label(name: str) -> str:
    """Europe/Moscow, UTC+03:00"""
    offset = timezone.now().astimezone(zoneinfo.ZoneInfo(name)).isoformat()[-6:]
    return f"{name.replace('_', ' ')}, UTC{offset}".replace("UTC-", "UTC\N{MINUS SIGN}")


@lru_cache(maxsize=1)
def _zones(_hour: datetime) -> list[tuple[str, str]]:
    """All that can be chosen: to look each up takes longer than the rest of the page."""
    return [(zone, zone_label(zone)) for zone in sorted(time_zones()) if "/" in zone]


class FeedbackForm(CommandForm):
    """`rating` 1, -1 or 0 for none; `comment` None where it isn't sent."""

    rating = forms.TypedChoiceField(
        choices=[(n, n) for n in (1, 0, -1)],
        coerce=int,
        error_messages={"invalid_choice": _("A rating is a thumb up or down.")},
    )
    comment = Typed(required=False)

    def clean_comment(self) -> str | None:
        comment: str = self.cleaned_data["comment"].strip()
        if len(comment) > MAX_COMMENT_CHARS:
            raise forms.ValidationError(_("This comment is too long."), code="too_long")
        return comment if "comment" in self.data else None


class RenameForm(forms.Form):
    title = Typed(required=False)

    def clean_title(self) -> str:
        title = " ".join(self.cleaned_data["title"].split())
        if not title:
            raise forms.ValidationError(_("A title can't be empty."))
        return title[:200]
