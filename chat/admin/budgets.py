"""Budgets: set by owners and administrators, looked at by analysts; how much of each is used."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db.models import F, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import Allowance, Budget, User
from chat.models.money import NANO
from chat.models.read_log import pseudonym

from . import reading
from .figures import money, whole
from .gateway_form import currency_code
from .people import ROLE_NAMES, GroupChoice

Naming = Callable[[User], str]
MOST_PEOPLE = 50
MOST_NAMES = 500
SECRET = ("emails", "webhook")
BY_NAME = {"list": "people", "autocomplete": "off", "spellcheck": "false"}


class OneGroup(forms.ModelChoiceField):
    label_from_instance = GroupChoice.label_from_instance


class OnePerson(forms.ModelChoiceField):
    """By their name, as it is typed: a list of all may have thousands."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, int):
            value = self.queryset.filter(pk=value).first()
        return super().prepare_value(value)


class BudgetForm(forms.ModelForm):
    class Meta:
        help_texts = {
            "user": gettext_lazy("Neither person nor group: everybody."),
            "currency": gettext_lazy("Only calls whose cost is known in it count."),
            "tokens": gettext_lazy("In and out together."),
            "contact": gettext_lazy("Told to whoever is refused. Empty: an administrator."),
            "emails": gettext_lazy(
                "At 50, 80 and 100 %, once each in a period; separated by commas. "
                "The person whom it bounds is told as well."
            ),
            "webhook": gettext_lazy(
                "An https address that gets the same as JSON; for example of a chat or a monitor."
            ),
        }

    def clean_currency(self) -> str:
        entered = self.cleaned_data["currency"]
        return currency_code(entered) if entered else ""

    def clean_tokens(self) -> int | None:
        tokens: int | None = self.cleaned_data["tokens"]
        if tokens is not None and tokens < 0:
            raise ValidationError(_("Tokens can't be fewer than none."))
        return tokens

    def clean_emails(self) -> str:
        found = [each.strip() for each in self.cleaned_data["emails"].split(",") if each.strip()]
        for each in found:
            validate_email(each)
        return ", ".join(found)

    def clean_webhook(self) -> str:
        address = str(self.cleaned_data["webhook"]).strip()
        schemes = ("https", "http") if settings.PRIVATE_WEBHOOKS else ("https",)
        parts = urlsplit(address)
        if address and (parts.scheme not in schemes or not parts.hostname or parts.username):
            raise ValidationError(_("A webhook's address starts with https:// and a host."))
        return address

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("user") and cleaned.get("group"):
            self.add_error("group", _("Choose a person or a group, not both."))
        if cleaned.get("money") is None and cleaned.get("tokens") is None and not self.errors:
            self.add_error("money", _("Set a limit: money, tokens or both."))
        if cleaned.get("money") is not None and not cleaned.get("currency"):
            self.add_error("currency", _("Name the currency of the money."))
        if cleaned.get("money") is None:
            cleaned["currency"] = ""
        # A person's own is not shared by anybody.
        cleaned["is_each"] = bool(cleaned.get("is_each")) and not cleaned.get("user")
        return cleaned


class BudgetList(ChangeList):
    """With what of each is used now, in one query more for each kind of period."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        for budget in self.result_list:
            budget.call, budget.fullest = naming(request), None
        for budget, allowance in fullest(self.result_list):
            budget.fullest = allowance


def naming(request: HttpRequest) -> Naming:
    """How a person is called for whoever asks."""
    return str if reading.may_name(request) else lambda person: pseudonym(person.key)


def fullest(budgets: Any) -> list[tuple[Budget, Allowance]]:
    """Of each the allowance of now, of those for each person the one of which most is spent."""
    by_pk = {budget.pk: budget for budget in budgets}
    rows: dict[int, Allowance] = {}
    for period in Budget.Period.values:
        of_period = [b for b in by_pk.values() if b.period == period]
        if not of_period:
            continue
        now = Allowance.objects.filter(budget__in=of_period, starts_on=of_period[0].starts_on)
        # Of each budget in one walk through its people: it may have all of them.
        most = Window(
            RowNumber(),
            partition_by="budget",
            order_by=(F("spent_nano").desc(), F("spent_tokens").desc(), "id"),
        )
        for row in now.annotate(place=most).filter(place=1).select_related("user"):
            row.budget = by_pk[row.budget_id]
            rows[row.budget_id] = row
    return [(by_pk[pk], row) for pk, row in rows.items()]


@admin.register(Budget)
class BudgetAdmin(admin.ModelAdmin):
    form = BudgetForm
    change_form_template = "admin/budget.html"
    list_display = ("whose", "period", "limits", "kind", "used")
    told_when_empty = gettext_lazy("No budget yet: nobody is warned and nothing is refused.")
    list_display_links = ("whose",)
    list_select_related = ("user", "group")
    list_filter = ("period", "is_hard")
    # Any other column could be found out by its beginning, a webhook's secret too.
    allowed_lookups = ("period__exact", "is_hard__exact")
    list_per_page = 50
    sortable_by = ()
    show_facets = admin.ShowFacets.NEVER
    actions = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return BudgetList

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        return lookup in self.allowed_lookups

    def get_fieldsets(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        # An address may hold a secret, as those of chats do.
        may_set = self.has_add_permission(request) or self.has_change_permission(request, obj)
        whose = ("user", "group", "is_each") if reading.may_name(request) else ("group", "is_each")
        return [
            (_("For whom"), {"fields": whose}),
            (_("How much"), {"fields": ("period", ("money", "currency"), "tokens", "is_hard")}),
            (_("Who is told"), {"fields": ("contact", *(SECRET if may_set else ()))}),
        ]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Plain fields: the stock ones would offer to add a person or a group."""
        label = capfirst(db_field.verbose_name)
        if db_field.name == "group":
            return OneGroup(Group.objects.order_by("pk"), required=False, label=label)
        if db_field.name == "user":
            return OnePerson(
                User.objects.all(),
                to_field_name="username",
                required=False,
                label=label,
                help_text=BudgetForm.Meta.help_texts["user"],
                error_messages={"invalid_choice": _("There is nobody of this name.")},
                widget=forms.TextInput(attrs=BY_NAME),
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {"names": _names()} | (extra_context or {}))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        budget = self.get_object(request, object_id)
        people = _people(budget, naming(request)) if budget else []
        names = _names() if self.has_change_permission(request) else []
        context = {"people": people, "most": MOST_PEOPLE, "names": names}
        if budget:
            person = budget.user and naming(request)(budget.user)
            period = budget.get_period_display()
            context["heading"] = f"{person}, {period}" if person else capfirst(str(budget))
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """What it counted goes with it, and needs no right of its own; the ledger stays."""
        _nested, _counts, _lacking, protected = super().get_deleted_objects(objs, request)
        return [str(budget) for budget in objs], {}, set(), protected

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("for whom"))
    def whose(self, budget: Any) -> str:
        name = name_of(budget, budget.call)
        return name if budget.user else capfirst(name)

    @admin.display(description=gettext_lazy("limit"))
    def limits(self, budget: Budget) -> str:
        return " · ".join(_limits(budget))

    @admin.display(description=gettext_lazy("beyond it"))
    def kind(self, budget: Budget) -> str:
        return _("refused") if budget.is_hard else _("warned of")

    @admin.display(description=gettext_lazy("used"))
    def used(self, budget: Any) -> str | None:
        if budget.fullest is None:
            return None
        who = budget.call(budget.fullest.user) if budget.fullest.user else ""
        return format_html("{}{}", f"{who}: " if who else "", bars(budget.fullest))


def _names() -> list[str]:
    """What the field for a person offers."""
    active = User.objects.filter(is_active=True).order_by("username")
    return list(active.values_list("username", flat=True)[:MOST_NAMES])


def name_of(budget: Budget, call: Naming) -> str:
    """Who shares it, or has one each."""
    if budget.user:
        return call(budget.user)
    group = budget.group and str(ROLE_NAMES.get(budget.group.name, budget.group.name))
    if budget.is_each:
        return _("each of %(group)s") % {"group": group} if group else _("each person")
    return group or _("everybody")


def bars(allowance: Allowance) -> str:
    """A bar for each limit, and what it shows in words."""
    return format_html_join(
        " ",
        '<span class="level"><meter value="{}" max="100" high="79" optimum="0" aria-hidden="true">'
        "</meter> {}</span>",
        ((percent, words) for percent, words in _used(allowance)),
    )


def _used(allowance: Allowance) -> list[tuple[int, str]]:
    budget, found = allowance.budget, []
    if (limit := budget.limit_nano) is not None:
        left = Decimal(max(0, limit - allowance.spent_nano)) / NANO
        used = money(Decimal(allowance.spent_nano) / NANO, budget.currency)
        found.append((_percent(allowance.spent_nano, limit), used, money(left, budget.currency)))
    if (limit := budget.tokens) is not None:
        left_tokens = whole(max(0, limit - allowance.spent_tokens))
        found.append(
            (_percent(allowance.spent_tokens, limit), whole(allowance.spent_tokens), left_tokens)
        )
    words = _("%(used)s used, %(left)s left (%(percent)d %%)")
    return [
        (min(100, percent), words % {"used": used, "left": left, "percent": percent})
        for percent, used, left in found
    ]


def _percent(used: int, limit: int) -> int:
    return used * 100 // limit if limit else 100


def _limits(budget: Budget) -> list[str]:
    found = [money(budget.money, budget.currency)] if budget.money is not None else []
    if budget.tokens is not None:
        found.append(_("%(tokens)s tokens") % {"tokens": whole(budget.tokens)})
    return [each for each in found if each]


def _people(budget: Budget, call: Naming) -> list[tuple[str, str]]:
    """Who has used most of it in this period, with bars."""
    now = budget.allowances.filter(starts_on=budget.starts_on).select_related("user")
    rows = list(now.order_by("-spent_nano", "-spent_tokens", "id")[:MOST_PEOPLE])
    for row in rows:
        row.budget = budget
    return [(call(row.user) if row.user else name_of(budget, call), bars(row)) for row in rows]
