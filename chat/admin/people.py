"""People and their roles. Rights come from roles alone; nobody gives or takes one they don't hold.

The roles' own rights are set by a migration and by nothing here, so no form leads to more of them.
"""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import UserAdmin as StockUserAdmin
from django.contrib.auth.forms import UserChangeForm
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.models import SecondFactor, User

from .export import Exporting, is_export
from .people_spending import DaysOfUse, UserList, add_use, columns
from .person_data import PersonData

ROLE_NAMES = {
    "owner": gettext_lazy("owner"),
    "administrator": gettext_lazy("administrator"),
    "reviewer": gettext_lazy("reviewer"),
    "analyst": gettext_lazy("analyst"),
    "member": gettext_lazy("member"),
}


class GroupChoice(forms.ModelMultipleChoiceField):
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, group: Group) -> str:
        return str(ROLE_NAMES.get(group.name, group.name))


class GroupsFilter(admin.RelatedFieldListFilter):
    """Roles by their names in the reader's language."""

    include_empty_choice = False  # it would be a dash

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[Any]:
        groups = Group.objects.order_by("pk").values_list("pk", "name")
        return [(pk, str(ROLE_NAMES.get(name, name))) for pk, name in groups]


class UserForm(UserChangeForm):
    drops_second_factor = forms.BooleanField(
        label=gettext_lazy("Turn off the two-step login"),
        required=False,
        help_text=gettext_lazy("For somebody who lost both the phone and the recovery codes."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not SecondFactor.of(self.instance):
            self.fields["drops_second_factor"].disabled = True
        if self.instance.is_superuser and "groups" in self.fields:
            # `createsuperuser` knows nothing of roles.
            owner = Group.objects.filter(name="owner")
            self.initial["groups"] = [*self.initial["groups"], *owner]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        stays_owner = cleaned.get("is_active") and makes_owner(cleaned.get("groups", ()))
        if not stays_owner and is_last_owner(self.instance):
            raise ValidationError(_("This is the last owner; make somebody else an owner first."))
        return cleaned


def is_last_owner(user: User) -> bool:
    """Without them nobody would have every right."""
    owners = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    return user.is_superuser and not owners.exists()


def makes_owner(groups: Any) -> bool:
    return any(group.name == "owner" for group in groups)


@admin.register(User)
class UserAdmin(Exporting, PersonData, StockUserAdmin):
    export_name = "users"
    form = UserForm
    list_display = ("username", "roles", "is_active", "more")
    list_filter = (DaysOfUse, "is_active", ("groups", GroupsFilter))
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    actions = ["switch_off", "switch_on"]
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("username", "password", "drops_second_factor"),
                    *("email", "first_name", "last_name"),
                )
            },
        ),
        (gettext_lazy("Rights"), {"fields": ("is_active", "groups")}),
        (gettext_lazy("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ChangeList if is_export(request) else UserList

    def export_rows(
        self, request: HttpRequest, batch: list[Any], form: str
    ) -> Iterator[dict[str, Any]]:
        """What the list says of each; of what they have used, in the days that it is narrowed to."""
        sees_sums = request.user.has_perm("chat.see_sums")
        add_use(request, batch)
        for user in batch:
            used = {
                "cost": [f"{cost:f} {code}" for code, cost in sorted(user.used.costs.items())],
                "tokens": user.used.tokens,
                "messages": user.used.replies,
                "last_active": user.active_at and user.active_at.isoformat(),
            }
            yield {
                "username": user.username,
                "key": user.key.hex,
                "roles": self.roles(user).split(", "),
                "is_active": user.is_active,
                "joined_at": user.date_joined.isoformat(),
                **(used if sees_sums else {}),
            }

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """What they have used stands before the links."""
        *names, more = self.list_display
        used = columns(request) if request.user.has_perm("chat.see_sums") else []
        return [*names, *used, more]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        if obj is None or request.user.is_superuser:
            return True
        beyond = obj.groups.exclude(pk__in=request.user.grantable_groups())
        return not obj.is_superuser and not beyond.exists()

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Never: what somebody used must outlive them. They are switched off, or erased."""
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "groups":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        return GroupChoice(
            request.user.grantable_groups().order_by("pk"),
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
        factor = SecondFactor.of(obj)
        if change and factor and form.cleaned_data["drops_second_factor"]:
            factor.delete()

    # --- many at once -------------------------------------------------------------------------

    @admin.action(description=gettext_lazy("Switch off"), permissions=["change"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """They are logged out and what runs for them is stopped; what they have stays."""
        self._switch(request, queryset.filter(is_active=True), False)

    @admin.action(description=gettext_lazy("Switch on again"), permissions=["change"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._switch(request, queryset.filter(is_active=False), True)

    def _switch(self, request: HttpRequest, people: QuerySet[User], is_on: bool) -> None:
        """Each by a change of its own, as everything that follows from one hangs on that."""
        done, left = 0, []
        with transaction.atomic():
            # One after the other, so that two who do this at once leave an owner.
            for user in people.select_for_update(of=("self",)).order_by("pk"):
                is_spared = not is_on and (user == request.user or is_last_owner(user))
                if is_spared or not self.has_change_permission(request, user):
                    left.append(user.username)
                    continue
                user.is_active = is_on
                user.save(update_fields=["is_active"])
                self.log_change(request, user, "switched on" if is_on else "switched off")
                done += 1
        if done:
            words = ngettext("%(n)d person changed.", "%(n)d people changed.", done)
            messages.success(request, words % {"n": done})
        if left:
            words = _("Left as they are, as you may not switch them off or on: %(names)s.")
            messages.warning(request, words % {"names": ", ".join(left)})

    # --- columns ------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("Roles and groups"))
    def roles(self, user: User) -> str:
        names = [str(ROLE_NAMES.get(group.name, group.name)) for group in user.groups.all()]
        if user.is_superuser and "owner" not in {group.name for group in user.groups.all()}:
            names.insert(0, str(ROLE_NAMES["owner"]))
        return ", ".join(names)

    @admin.display(description="")
    def more(self, user: User) -> str:
        """What is behind the figures."""
        of_theirs = {"user": user.key.hex}
        links = [
            (reverse("admin:spend"), of_theirs, _("Spending")),
            (
                reverse("admin:chat_conversation_changelist"),
                {"owner__id__exact": user.pk},
                _("Conversations"),
            ),
        ]
        return format_html_join(
            " · ",
            '<a href="{}?{}">{}</a>',
            [(address, urlencode(query), words) for address, query, words in links],
        )
