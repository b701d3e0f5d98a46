"""Groups that people are sorted into, and the models that are kept to them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy

from chat.models import LanguageModel
from chat.models.people import ROLES

from .people import ROLE_NAMES

admin.site.unregister(Group)


class ModelChoice(forms.ModelMultipleChoiceField):
    widget = forms.CheckboxSelectMultiple(attrs={"class": "choices"})

    def label_from_instance(self, model: LanguageModel) -> str:
        return f"{model.gateway} · {model.name}"


class GroupForm(forms.ModelForm):
    """With the models that are kept to it, which a model's own page has as well."""

    models = ModelChoice(
        LanguageModel.objects.none(),
        required=False,
        label=gettext_lazy("Models kept to this group"),
        help_text=gettext_lazy(
            "A model that is ticked here answers only to the groups that have it ticked; one that"
            " no group has is for everybody."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "models" in self.fields:
            kept = Q(groups=self.instance.pk) if self.instance.pk else Q()
            offered = LanguageModel.objects.filter(Q(is_listed=True) | kept).distinct()
            self.fields["models"].queryset = offered.select_related("gateway")
            if self.instance.pk:
                self.initial["models"] = self.instance.languagemodel_set.all()


@admin.register(Group)
class GroupAdmin(admin.ModelAdmin):
    """The roles, which stay as they are, and whatever other groups people are sorted into."""

    form = GroupForm
    list_display = ("label", "people", "models")
    search_fields = ("name",)
    ordering = ("pk",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        people = Count("user", distinct=True)
        models = Count("languagemodel", distinct=True)
        return super().get_queryset(request).annotate(people=people, model_count=models)

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> list[str]:
        name = "label" if obj is not None and obj.name in ROLES else "name"
        may_keep = request.user.has_perm("chat.change_languagemodel")
        return [name, "models"] if may_keep else [name]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """A role is called as it is everywhere, in the reader's language."""
        if group := context.get("original"):
            context |= {"heading": self.label(group)}
        return super().render_change_form(request, context, *args, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if "models" in form.cleaned_data:
            form.instance.languagemodel_set.set(form.cleaned_data["models"])

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        is_role = obj is not None and obj.name in ROLES
        return not is_role and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        is_role = obj is not None and obj.name in ROLES
        return not is_role and super().has_delete_permission(request, obj)

    @admin.display(description=gettext_lazy("name"), ordering="name")
    def label(self, group: Group) -> str:
        return str(ROLE_NAMES.get(group.name, group.name))

    @admin.display(description=gettext_lazy("people"), ordering="people")
    def people(self, group: Any) -> int:
        return int(group.people)

    @admin.display(description=gettext_lazy("models kept to it"), ordering="model_count")
    def models(self, group: Any) -> int:
        return int(group.model_count)
