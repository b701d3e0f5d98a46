"""People and their roles. Rights come from roles alone; nobody gives or takes one they don't hold.

The roles' own rights are set by a migration and by nothing here, so no form leads to more of them.
"""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.models import User
from chat.models.people import ROLES

from .person_data import PersonData

ROLE_NAMES = {
    "owner": gettext_lazy("owner"),
    "administrator": gettext_lazy("administrator"),
    "reviewer": gettext_lazy("reviewer"),
    "analyst": gettext_lazy("analyst"),
    "member": gettext_lazy("member"),
}


def grantable(user: User) -> QuerySet[Group]:
    """The groups that hold no right which this person lacks."""
    if user.is_superuser:
        return Group.objects.all()
    lacking = Permission.objects.exclude(group__user=user)
    return Group.objects.exclude(name="owner").exclude(permissions__in=lacking)


class GroupChoice(forms.ModelMultipleChoiceField):
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, group: Group) -> str:  # type: ignore[override]
        return str(ROLE_NAMES.get(group.name, group.name))


class UserForm(UserChangeForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.is_superuser and "groups" in self.fields:
            # `createsuperuser` knows nothing of roles.
            owner = Group.objects.filter(name="owner")
            self.initial["groups"] = [*self.initial["groups"], *owner]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        stays_owner = cleaned.get("is_active") and makes_owner(cleaned.get("groups", ()))
        owners = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=self.instance.pk)
        if self.instance.is_superuser and not stays_owner and not owners.exists():
            raise ValidationError(_("This is the last owner; make somebody else an owner first."))
        return cleaned


def makes_owner(groups: Any) -> bool:
    return any(group.name == "owner" for group in groups)


@admin.register(User)
class UserAdmin(PersonData, StockUserAdmin):
    form = UserForm
    list_display = ("username", "email", "roles", "is_active", "last_login", "date_joined", "more")
    list_filter = ("is_active", "groups")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    actions = None
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "first_name", "last_name")}),
        (gettext_lazy("Rights"), {"fields": ("is_active", "groups")}),
        (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        if obj is None or request.user.is_superuser:
            return True
        beyond = obj.groups.exclude(pk__in=grantable(request.user))
        return not obj.is_superuser and not beyond.exists()

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Never: what somebody used must outlive them. They are switched off, or erased."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "groups":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return GroupChoice(
            grantable(request.user).order_by("pk"),
            required=False,
            label=_("Roles and groups"),
            help_text=_(
                "An owner may do everything; an administrator manages people and gateways and "
                "sees sums; a reviewer reads conversations; an analyst sees sums only."
            ),
        )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if change:
            obj.is_superuser = makes_owner(form.cleaned_data["groups"])
        super().save_model(request, obj, form, change)

    @admin.display(description=gettext_lazy("Roles and groups"))
    def roles(self, user: User) -> str:
        names = [str(ROLE_NAMES.get(group.name, group.name)) for group in user.groups.all()]
        if user.is_superuser and "owner" not in {group.name for group in user.groups.all()}:
            names.insert(0, str(ROLE_NAMES["owner"]))
        return ", ".join(names)

    @admin.display(description="")
    def more(self, user: User) -> str:
        address = reverse("admin:chat_call_changelist")
        return format_html('<a href="{}?user__id__exact={}">{}</a>', address, user.pk, _("Calls"))


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """The roles, which stay as they are, and whatever other groups people are sorted into."""

    fields = ("name",)
    list_display = ("label", "people")
    search_fields = ("name",)
    ordering = ("pk",)
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(people=Count("user"))

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
