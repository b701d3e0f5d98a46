"""Who may make an account, and the links by which people are invited."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from chat.entrance import is_strong
from chat.models import AccountPolicy, Invitation
from chat.models.invitations import MAX_DAYS
from chat.security import note

from .people import ROLE_NAMES, GroupChoice

STATES = {
    "open": gettext_lazy("open"),
    "used": gettext_lazy("used"),
    "revoked": gettext_lazy("taken back"),
    "expired": gettext_lazy("too old"),
}

_ONE_BUTTON = {"show_save_and_add_another": False, "show_save_and_continue": False}


class PolicyForm(forms.ModelForm):
    request: HttpRequest

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Who comes by himself gets no right of staff with it.
        self.fields["default_group"].queryset = Group.objects.filter(permissions=None).exclude(
            name="owner"
        )
        group = self.fields["default_group"].widget
        group.can_add_related = group.can_change_related = group.can_view_related = False
        group.can_delete_related = False
        self.fields["default_group"].label_from_instance = lambda group: str(
            ROLE_NAMES.get(group.name, group.name)
        )

    def clean_staff_takes_two_steps(self) -> bool:
        wanted: bool = self.cleaned_data["staff_takes_two_steps"]
        if wanted and not is_strong(self.request):
            raise ValidationError(
                _("Set up your own two-step login first, or this would lock you out.")
            )
        return wanted


@admin.register(AccountPolicy)
class AccountPolicyAdmin(admin.ModelAdmin):
    """The owner's alone: what he decides here he decides for all."""

    form = PolicyForm
    fields = ("sign_up", "default_group", "staff_takes_two_steps")
    radio_fields = {"sign_up": admin.VERTICAL}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """There is one row, and its form stands in the list's place."""
        return self.changeform_view(request, "1", "", {**_ONE_BUTTON, **(extra_context or {})})

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        return AccountPolicy.objects.get_or_create(pk=1)[0] if object_id == "1" else None

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)
        form.request = request
        return form

    def save_model(self, request: HttpRequest, obj: AccountPolicy, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        note("account_policy_changed", sign_up=obj.sign_up, two_steps=obj.staff_takes_two_steps)

    def response_change(self, request: HttpRequest, obj: AccountPolicy) -> HttpResponse:
        self.message_user(request, _("Saved."), messages.SUCCESS)
        return redirect("admin:chat_accountpolicy_changelist")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class InvitationForm(forms.ModelForm):
    days = forms.IntegerField(
        label=gettext_lazy("Good for so many days"), min_value=1, max_value=MAX_DAYS, initial=7
    )


@admin.register(Invitation)
class InvitationAdmin(admin.ModelAdmin):
    form = InvitationForm
    fields = ("note", "groups", "days")
    told_when_empty = gettext_lazy("No invitation yet. Each is a link by which somebody signs up.")
    list_display = (
        "__str__",
        "note",
        "roles",
        "state_",
        "made_by",
        "made_at",
        "expires_at",
        "used_by",
    )
    list_per_page = 50
    show_full_result_count = False
    actions = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invitation]:
        people = super().get_queryset(request).select_related("made_by", "used_by")
        return people.prefetch_related("groups")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        told = ("note", "roles", "state_", "made_by", "made_at", "expires_at", "used_by", "used_at")
        return told if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.get_fields(request, obj) if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name != "groups":
            return super().formfield_for_dbfield(db_field, request, **kwargs)
        # An owner is made of somebody who is there already.
        given = request.user.grantable_groups().exclude(name="owner")
        return GroupChoice(given.order_by("pk"), required=False, label=_("Roles and groups"))

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        is_closed = not AccountPolicy.current().takes_invitations
        if is_closed and request.method == "GET":
            self.message_user(
                request,
                _("Sign-up is closed: links open once the owner allows invitations."),
                messages.WARNING,
            )
        return super().add_view(request, form_url, {**_ONE_BUTTON, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Invitation, form: Any, change: bool) -> None:
        entered = form.cleaned_data
        made, request.invitation_token = Invitation.make(
            request.user, entered["groups"], entered["days"], entered["note"]
        )
        obj.pk, obj.expires_at, obj.digest = made.pk, made.expires_at, made.digest
        obj._state.adding = False
        roles = ", ".join(sorted(group.name for group in entered["groups"]))
        note("invitation_made", invitation=obj.pk, roles=roles)

    def response_add(
        self, request: HttpRequest, obj: Invitation, post_url_continue: Any = None
    ) -> HttpResponse:
        """The link, on the only page that ever has it: its token is stored as a digest."""
        token = request.invitation_token
        link = request.build_absolute_uri(f"{reverse('signup')}?invitation={token}")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("The invitation's link"),
            "link": link,
            "invitation": obj,
        }
        return TemplateResponse(request, "admin/invitation.html", context)

    @admin.action(description=gettext_lazy("Take back"), permissions=["add"])
    def revoke(self, request: HttpRequest, invitations: QuerySet[Invitation]) -> None:
        done = Invitation.revoke(invitations)
        note("invitations_revoked", count=done)
        told = ngettext("%(n)d link opens no more.", "%(n)d links open no more.", done)
        self.message_user(request, told % {"n": done}, messages.SUCCESS)

    @admin.display(description=gettext_lazy("Roles and groups"))
    def roles(self, invitation: Invitation) -> str:
        return ", ".join(str(ROLE_NAMES.get(g.name, g.name)) for g in invitation.groups.all())

    @admin.display(description=gettext_lazy("state"))
    def state_(self, invitation: Invitation) -> str:
        return str(STATES[invitation.state])
