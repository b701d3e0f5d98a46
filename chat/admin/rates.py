"""Rates between currencies. People add to them; nobody changes one."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Rate

from .figures import exact
from .gateway_form import currency_code
from .read_only import ReadOnlyAdmin


class RateForm(forms.ModelForm):
    class Meta:
        widgets = {"day": forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")}
        help_texts = {
            "day": gettext_lazy(
                "It holds until the next one; of two for one day the later counts."
            ),
            "into": gettext_lazy("The total is converted into the currency that was entered last."),
        }

    def clean_currency(self) -> str:
        return currency_code(self.cleaned_data["currency"])

    def clean_into(self) -> str:
        into = currency_code(self.cleaned_data["into"])
        if into == self.cleaned_data.get("currency"):
            raise ValidationError(_("A currency needs no rate in itself."))
        return into


@admin.register(Rate)
class RateAdmin(ReadOnlyAdmin):
    form = RateForm
    fields = ("currency", "rate", "into", "day")
    list_display = ("day", "currency", "exact_rate", "into")
    told_when_empty = gettext_lazy(
        "No rates yet. With them the page about spending says what all of it is in one currency."
    )
    list_display_links = None
    list_filter = ("currency", "into")
    sortable_by = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("chat.add_rate"))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Plain fields: the stock ones would bring a calendar of their own."""
        return db_field.formfield(**kwargs)

    @admin.display(description=gettext_lazy("is worth"))
    def exact_rate(self, rate: Rate) -> str:
        return exact(rate.rate)
