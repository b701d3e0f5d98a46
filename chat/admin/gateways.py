"""Gateways: entered, checked, switched off. Those from the environment are set there."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_post_parameters

from chat.models import Gateway, bells
from chat.models.language_models import validate_model_name
from chat.models.secrets import Unsealable
from chat.rendering import diagnosis
from chat.replies import check
from chat.replies.check import Finding

from . import health
from .figures import moment, money, whole
from .gateway_form import GatewayForm

# Of a shorter key the last four would be too large a part.
SHORTEST_KEY_HINTED = 16
# A balance that lasts for fewer is marked.
FEW_DAYS = 3
SET_IN_ENVIRONMENT = (
    "name",
    "base_url",
    "headers",
    "currency",
    "enabled",
    "is_private_allowed",
)


@admin.register(Gateway)
class GatewayAdmin(admin.ModelAdmin):
    form = GatewayForm
    change_form_template = "admin/gateway.html"
    list_display = (
        *("name", "base_url", "enabled", "key_hint", "state", "left"),
        *("errors_today", "last_error", "command"),
    )
    has_row_commands = True
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Gateway]:
        return health.told(super().get_queryset(request).with_spending())

    def get_list_display(self, request: HttpRequest) -> list[str]:
        may_check = self.has_change_permission(request)
        return [name for name in self.list_display if may_check or name != "command"]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if gateway := kwargs.get("obj"):
            context["errors_of_late"] = health.errors_of_late(gateway)
        return super().render_change_form(request, context, *args, **kwargs)

    # --- the form -----------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Gateway | None = None) -> Any:
        takes_key = obj is None or not obj.is_from_environment
        key = ("key", "clears_key") if takes_key else ()
        return [
            (None, {"fields": (("name", "slug"), "base_url", "key_hint", *key, "headers")}),
            (
                _("Use"),
                {
                    "fields": (
                        "enabled",
                        ("currency", "slots", "position"),
                        "stands_in",
                        "takes_any_model",
                        "continuation",
                        "is_private_allowed",
                    )
                },
            ),
            (
                _("What it said last"),
                {"fields": ("source", "state", "left", "errors_today", "last_error")},
            ),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Gateway | None = None) -> list[str]:
        fixed = ["key_hint", "source", "state", "left", "errors_today", "last_error"]
        if obj is not None:
            fixed.append("slug")  # calls and favourites know it by this name
            fixed += SET_IN_ENVIRONMENT if obj.is_from_environment else ()
        # Whoever may reach into the network that Potok stands in is the owner's to decide.
        if not request.user.is_superuser and "is_private_allowed" not in fixed:
            fixed.append("is_private_allowed")
        return fixed

    def has_delete_permission(self, request: HttpRequest, obj: Gateway | None = None) -> bool:
        """One of the environment would come back; calls keep what they were."""
        is_fixed = obj is not None and obj.is_from_environment
        return not is_fixed and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its models and prices go with it, and need no right of their own."""
        _nested, counts, _lacking, protected = super().get_deleted_objects(objs, request)
        return [str(gateway) for gateway in objs], counts, set(), protected

    @method_decorator(sensitive_post_parameters("key"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Gateway, form: Any, change: bool) -> None:
        changed, entered = form.changed_data, form.cleaned_data
        if change and "base_url" in changed:
            obj.forget()
            # It was allowed for the address that was there.
            obj.is_private_allowed &= request.user.is_superuser
        if "currency" in changed:
            obj.balance_nano = obj.balance_at = None
        if entered.get("key") or entered.get("clears_key"):
            obj.key = entered["key"]
        super().save_model(request, obj, form, change)
        bells.ring(bells.RUNNERS, gateway=obj.pk)

    def response_post_save_add(self, request: HttpRequest, obj: Gateway) -> HttpResponse:
        """To its own page, where it can be checked."""
        return redirect("admin:chat_gateway_change", obj.pk)

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("key"))
    def key_hint(self, gateway: Gateway) -> str:
        try:
            key = gateway.key
        except Unsealable:
            return _("can't be unsealed; enter it again")
        if not key:
            return _("not set")
        return f"…{key[-4:]}" if len(key) >= SHORTEST_KEY_HINTED else _("set")

    @admin.display(description=gettext_lazy("models"))
    def state(self, gateway: Gateway) -> str:
        if gateway.listing_failure:
            return diagnosis.of_fields(gateway.listing_failure)
        if not gateway.listed_at:
            return _("not listed yet")
        return _("listed %(when)s") % {"when": moment(gateway.listed_at)}

    @admin.display(description=gettext_lazy("balance"))
    def left(self, gateway: Gateway) -> str:
        if gateway.balance is None or gateway.balance_at is None:
            # The stock form would show a None as such.
            return str(self.get_empty_value_display())
        parts = [money(gateway.balance, gateway.currency) or ""]
        days = gateway.days_left
        if days is not None:
            parts.append(ngettext("lasts %(n)d day", "lasts %(n)d days", days) % {"n": days})
        parts.append(moment(gateway.balance_at))
        is_low = gateway.balance <= 0 or (days is not None and days < FEW_DAYS)
        told = " · ".join(parts)
        return format_html('<span class="bad">{}</span>', told) if is_low else told

    @admin.display(description=gettext_lazy("errors today"))
    def errors_today(self, gateway: Any) -> str:
        """Of so many calls."""
        if not gateway.calls_today:
            return str(self.get_empty_value_display())
        return f"{whole(gateway.failed_today)} / {whole(gateway.calls_today)}"

    @admin.display(description=gettext_lazy("last error"))
    def last_error(self, gateway: Any) -> str:
        if not gateway.last_error_kind:
            return str(self.get_empty_value_display())
        return f"{gateway.last_error_kind} · {moment(gateway.last_error_at)}"

    @admin.display(description="")
    def command(self, gateway: Gateway) -> str:
        address = reverse("admin:chat_gateway_check", args=[gateway.pk])
        return format_html(
            '<button form="row-command" formaction="{}" name="check">{}</button>',
            address,
            _("Check now"),
        )

    # --- commands -----------------------------------------------------------------------------

    def get_urls(self) -> list[Any]:
        commands = {"check": self._check, "list": self._list, "balance": self._balance}
        return [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(self._command(run)),
                name=f"chat_gateway_{name}",
            )
            for name, run in commands.items()
        ] + super().get_urls()

    def _command(
        self, run: Callable[[HttpRequest, Gateway], list[Finding]]
    ) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            """Ask the gateway, tell what came of it on its page."""
            if not self.has_change_permission(request):
                raise PermissionDenied
            gateway = self.get_object(request, object_id)
            if gateway is None:
                raise Http404
            if request.method != "POST":
                return HttpResponseNotAllowed(["POST"])
            for finding in run(request, gateway):
                level = messages.ERROR if finding.error else messages.SUCCESS
                messages.add_message(request, level, told(finding, gateway))
            return redirect("admin:chat_gateway_change", gateway.pk)

        return view

    def _check(self, request: HttpRequest, gateway: Gateway) -> list[Finding]:
        model = request.POST.get("model", "").strip()
        try:
            validate_model_name(model)
        except ValidationError as error:
            messages.error(request, error.messages[0])
            return []
        return check.check(gateway, request.user, model)

    def _list(self, request: HttpRequest, gateway: Gateway) -> list[Finding]:
        return [check.list_models(gateway)]

    def _balance(self, request: HttpRequest, gateway: Gateway) -> list[Finding]:
        return [check.ask_balance(gateway)]


def told(finding: Finding, gateway: Gateway) -> str:
    """What was found, in a sentence."""
    seconds = number_format(finding.seconds, 1)
    match finding.name:
        case "models" if finding.error:
            return _("The models can't be listed. %(why)s") % {"why": diagnosis.of(finding.error)}
        case "models" if not finding.count:
            return _(
                "The gateway answers, but lists no models. A name that is typed may still work."
            )
        case "models":
            return ngettext(
                "%(n)d model listed in %(s)s s.", "%(n)d models listed in %(s)s s.", finding.count
            ) % {"n": finding.count, "s": seconds}
        case "answer" if finding.error:
            return _("No answer from %(model)s. %(why)s") % {
                "model": finding.model,
                "why": diagnosis.of(finding.error),
            }
        case "answer":
            return _("One token from %(model)s in %(s)s s.") % {
                "model": finding.model,
                "s": seconds,
            }
    if finding.error:
        return _("The balance can't be asked. %(why)s") % {"why": diagnosis.of(finding.error)}
    if finding.balance is None:
        return _("This gateway has no way to ask for the balance.")
    return _("Balance: %(money)s.") % {"money": money(finding.balance, gateway.currency)}
