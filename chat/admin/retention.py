"""Rules of retention by group, what they say is to go, and its going."""

import time
from typing import Any

from django.contrib import admin
from django.contrib import messages as notices
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat import security
from chat.models import Purge, Retention, retention

from .people import ROLE_NAMES

# Longer than that nobody waits for a page; the rest goes by itself within the day.
PURGE_S = 10.0


@admin.register(Retention)
class RetentionAdmin(admin.ModelAdmin):
    change_list_template = "admin/retention.html"
    fields = ("group", "idle_days", "deleted_days")
    list_display = ("whose", "idle_days", "deleted_days")
    told_when_empty = gettext_lazy(
        "There is no rule: everything is kept, what people deleted as well."
    )
    list_select_related = ("group",)
    ordering = ("group_id",)
    sortable_by = ()
    actions = None

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        field.empty_label = _("all others")
        field.label_from_instance = lambda group: str(ROLE_NAMES.get(group.name, group.name))
        return field

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, *args, **kwargs)
        if "idle_days" in form.base_fields:
            form.base_fields["group"].widget.can_add_related = False
            form.base_fields["group"].widget.can_change_related = False
            form.base_fields["group"].widget.can_delete_related = False
            form.base_fields["group"].widget.can_view_related = False
            form.base_fields["idle_days"].help_text = _("Empty: it is kept.")
            form.base_fields["deleted_days"].help_text = _(
                "Until then whoever may see what was deleted sees it. Empty: it is kept."
            )
        return form

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        rule = self.get_object(request, unquote(object_id))
        heading = capfirst(self.whose(rule)) if rule else ""
        return super().change_view(request, object_id, form_url, {"heading": heading})

    def save_model(self, request: HttpRequest, obj: Retention, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        _note("retention_changed", obj)

    def delete_model(self, request: HttpRequest, obj: Retention) -> None:
        _note("retention_removed", obj)
        super().delete_model(request, obj)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.due)
        return [path("due/", view, name="chat_retention_due"), *super().get_urls()]

    def due(self, request: HttpRequest) -> HttpResponse:
        """What would go if the purge ran now; a POST has it run."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._purge(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "POST"])
        lines = [(self.whose(each.rule), each.counts()) for each in retention.due()]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("What would go now"),
            "lines": lines,
            "is_anything": any(counts[:3] != (0, 0, 0) for _whose, counts in lines),
            "held": sum(counts.held for _whose, counts in lines),
            "purges": Purge.objects.all()[:10],
        }
        return TemplateResponse(request, "admin/retention_due.html", context)

    def _purge(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        purge, until = Purge.begin(request.user, by_hand=True), time.monotonic() + PURGE_S
        assert purge
        is_more = True
        while is_more and time.monotonic() < until:
            is_more = purge.step()
        purge.refresh_from_db()
        security.note("purged", conversations=purge.conversations, messages=purge.messages)
        gone = ngettext(
            "%(n)d conversation is gone.", "%(n)d conversations are gone.", purge.conversations
        )
        in_all = ngettext("%(n)d message in all.", "%(n)d messages in all.", purge.messages)
        told = f"{gone % {'n': purge.conversations}} {in_all % {'n': purge.messages}}"
        notices.success(request, told)
        if is_more:
            notices.warning(request, _("There is more; it goes by itself within the day."))
        return redirect("admin:chat_retention_due")

    @admin.display(description=gettext_lazy("group"))
    def whose(self, rule: Retention) -> str:
        if rule.group is None:
            return _("all others")
        return str(ROLE_NAMES.get(rule.group.name, rule.group.name))


def _note(event: str, rule: Retention) -> None:
    group = rule.group.name if rule.group else "(all others)"
    security.note(event, group=group, idle_days=rule.idle_days, deleted_days=rule.deleted_days)
