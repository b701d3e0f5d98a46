"""Prices: what models cost from which moment on. People add to them; nobody changes one."""

from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Gateway, LanguageModel, Price
from chat.models.language_models import validate_model_name

from .calls import ModelFilter
from .figures import exact, moment
from .filters import DaysFilter
from .gateway_form import currency_code
from .read_only import ReadOnlyAdmin


class PriceForm(forms.ModelForm):
    class Meta:
        widgets = {
            "model": forms.TextInput(
                attrs={"list": "models", "autocomplete": "off", "spellcheck": "false"}
            ),
            "valid_from": forms.DateTimeInput(attrs={"type": "datetime-local"}),
        }
        help_texts = {
            "valid_from": gettext_lazy("Empty: from now on. What calls have cost stays."),
            "currency": gettext_lazy("Empty: the gateway's."),
            "cached": gettext_lazy("Empty: as much as others."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("valid_from", "currency"):
            self.fields[name].required = False

    def clean_model(self) -> str:
        name = str(self.cleaned_data["model"])
        validate_model_name(name)
        return name

    def clean_currency(self) -> str:
        currency = self.cleaned_data["currency"]
        return currency_code(currency) if currency else ""

    def clean_valid_from(self) -> Any:
        return self.cleaned_data["valid_from"] or timezone.now()

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if "gateway" in cleaned and "currency" in cleaned:
            cleaned["currency"] = cleaned["currency"] or cleaned["gateway"].currency
        return cleaned


@admin.register(Price)
class PriceAdmin(ReadOnlyAdmin):
    form = PriceForm
    add_form_template = "admin/price.html"
    fields = ("gateway", "model", "valid_from", "currency", "prompt", "cached", "completion")
    told_when_empty = gettext_lazy(
        "No prices yet. Without one, and without the gateway's own word, what a call cost is unknown."
    )
    list_display = (
        "model",
        "gateway",
        "valid",
        "tokens_in",
        "tokens_cached",
        "tokens_out",
        "currency",
        "source",
    )
    list_display_links = None
    list_select_related = ("gateway",)
    list_filter = ("gateway", "source", ("valid_from", DaysFilter), ModelFilter)
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("chat.add_price"))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Plain fields: the stock ones would offer to add a gateway, and a calendar of their own."""
        if db_field.name == "valid_from":
            kwargs |= {"initial": None, "show_hidden_initial": False}
        return db_field.formfield(**kwargs)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {
            "models": _listed(request.GET.get("gateway", "")),
            "show_save_and_continue": False,
        }
        return super().add_view(request, form_url, context | (extra_context or {}))

    def response_add(
        self, request: HttpRequest, obj: Price, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the prices of the same model, of which this is one now."""
        messages.success(request, _("Price set: %(price)s.") % {"price": obj})
        if "_addanother" in request.POST:
            return redirect(f"{request.path}?gateway={obj.gateway_id}")
        return redirect(prices_of(obj.gateway, obj.model))

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("valid from"))
    def valid(self, price: Price) -> str:
        """With its end, where another server took the gateway's place."""
        return " – ".join(moment(when) for when in (price.valid_from, price.valid_until) if when)

    @admin.display(description=gettext_lazy("in, per million"))
    def tokens_in(self, price: Price) -> str:
        return exact(price.prompt)

    @admin.display(description=gettext_lazy("cached, per million"))
    def tokens_cached(self, price: Price) -> str | None:
        return None if price.cached is None else exact(price.cached)

    @admin.display(description=gettext_lazy("out, per million"))
    def tokens_out(self, price: Price) -> str:
        return exact(price.completion)


def prices_of(gateway: Gateway | None, model: str = "") -> str:
    """The address of their list."""
    narrowed = {"gateway__id__exact": gateway.pk if gateway else "", "model_name": model}
    query = urlencode({name: value for name, value in narrowed.items() if value})
    return f"{reverse('admin:chat_price_changelist')}?{query}"


def _listed(gateway: str) -> QuerySet[LanguageModel]:
    """What the field for the model's name offers: one gateway's list, or all."""
    models = LanguageModel.objects.filter(is_listed=True).select_related("gateway")
    named = [pk for pk in Gateway.objects.values_list("pk", flat=True) if str(pk) == gateway]
    return models.filter(gateway__in=named) if named else models
