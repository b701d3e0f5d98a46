"""Models: which are offered, which is the default, which writes titles, and for whom they are."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.models import LanguageModel

from .people import ROLE_NAMES, GroupChoice


@admin.register(LanguageModel)
class LanguageModelAdmin(admin.ModelAdmin):
    change_form_template = "admin/language_model.html"
    list_display = ("name", "gateway", "context_tokens", "marks", "only_for")
    list_select_related = ("gateway",)
    list_filter = ("gateway", "is_hidden", "is_listed")
    list_per_page = 100
    search_fields = ("name",)
    show_facets = admin.ShowFacets.NEVER
    actions = ["hide", "show"]
    fields = (
        "name",
        "label",
        "gateway",
        "context_tokens",
        "capabilities",
        "is_listed",
        "is_hidden",
        "is_default",
        "is_title_model",
        "groups",
    )
    readonly_fields = (
        "name",
        "label",
        "gateway",
        "context_tokens",
        "capabilities",
        "is_listed",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[LanguageModel]:
        return super().get_queryset(request).prefetch_related("groups")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: LanguageModel | None = None) -> bool:
        """Only what the gateway lists no more: the rest would come back with the next list."""
        if obj is None or obj.is_listed:
            return False
        return super().has_delete_permission(request, obj)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "groups":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return GroupChoice(
            Group.objects.order_by("pk"),
            required=False,
            label=capfirst(db_field.verbose_name),
            help_text=db_field.help_text,
        )

    @admin.display(description=gettext_lazy("marks"))
    def marks(self, model: LanguageModel) -> str | None:
        """The names of the fields that say something about it."""
        found = [
            str(LanguageModel._meta.get_field(name).verbose_name)
            for name in ("is_default", "is_title_model", "is_hidden")
            if getattr(model, name)
        ]
        return ", ".join(found if model.is_listed else [*found, _("listed no more")]) or None

    @admin.display(description=gettext_lazy("only for the groups"))
    def only_for(self, model: LanguageModel) -> str | None:
        names = [str(ROLE_NAMES.get(group.name, group.name)) for group in model.groups.all()]
        return ", ".join(names) or None

    @admin.action(description=gettext_lazy("Hide from the choice"), permissions=["change"])
    def hide(self, request: HttpRequest, queryset: QuerySet[LanguageModel]) -> None:
        self._set_hidden(request, queryset, True)

    @admin.action(description=gettext_lazy("Show in the choice"), permissions=["change"])
    def show(self, request: HttpRequest, queryset: QuerySet[LanguageModel]) -> None:
        self._set_hidden(request, queryset, False)

    def _set_hidden(
        self, request: HttpRequest, queryset: QuerySet[LanguageModel], is_hidden: bool
    ) -> None:
        changed = queryset.update(is_hidden=is_hidden)
        words = ngettext("%(n)d model changed.", "%(n)d models changed.", changed)
        messages.success(request, words % {"n": changed})
