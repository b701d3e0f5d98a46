"""Gateways: those from the environment are shown, others may be changed. A key is never shown."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Gateway, LanguageModel

# Of a shorter key the last four would be too large a part.
SHORTEST_KEY_HINTED = 16


class GatewayForm(forms.ModelForm):  # type: ignore[type-arg]
    def clean_base_url(self) -> str:
        address = str(self.cleaned_data["base_url"]).rstrip("/")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValidationError(_("An address starts with http:// or https:// and a host."))
        return address


class LanguageModelInline(admin.TabularInline):  # type: ignore[type-arg]
    model = LanguageModel
    fields = readonly_fields = ("name",)
    can_delete = False
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Gateway)
class GatewayAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = GatewayForm
    list_display = (
        "name",
        "slug",
        "base_url",
        "currency",
        "enabled",
        "source",
        "key_hint",
        "state",
    )
    fields = (
        ("name", "slug"),
        "base_url",
        "key_hint",
        ("currency", "slots", "position"),
        "enabled",
        "state",
    )
    readonly_fields = ("key_hint", "state")
    inlines = [LanguageModelInline]
    actions = None

    def has_change_permission(self, request: HttpRequest, obj: Gateway | None = None) -> bool:
        is_fixed = obj is not None and obj.source == Gateway.Source.ENVIRONMENT
        return not is_fixed and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Gateway | None = None) -> bool:
        """Never: messages and calls name their gateway; one that isn't wanted is switched off."""
        return False

    def save_model(self, request: HttpRequest, obj: Gateway, form: Any, change: bool) -> None:
        if change and "base_url" in form.changed_data:
            # Another server stands behind the name: what was learned of the old one is void.
            obj.takes_include_usage, obj.listed_at = True, None
            obj.language_models.all().delete()
        super().save_model(request, obj, form, change)

    @admin.display(description=gettext_lazy("key"))
    def key_hint(self, gateway: Gateway) -> str:
        if not gateway.key:
            return _("not set")
        if len(gateway.key) < SHORTEST_KEY_HINTED:
            return _("set")
        return _("set, ends in %(end)s") % {"end": gateway.key[-4:]}

    @admin.display(description=gettext_lazy("models"))
    def state(self, gateway: Gateway) -> str:
        if gateway.listing_error:
            return gateway.listing_error
        return _("listed") if gateway.listed_at else _("not listed yet")
