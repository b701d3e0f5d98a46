"""Single sign-on as the owner sets it: a provider's secret goes in and never comes out."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from chat.models import IdentityProvider
from chat.security import note

from .gateway_form import is_web_address

SET_IN_ENVIRONMENT = (
    *("name", "issuer", "client_id", "scope", "domains", "groups_claim", "groups"),
    *("makes_accounts", "is_private_allowed", "enabled"),
)


class ProviderForm(forms.ModelForm):
    secret = forms.CharField(
        label=gettext_lazy("New client secret"),
        required=False,
        max_length=1000,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text=gettext_lazy("Left empty, it stays as it is. It is stored sealed."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.is_from_environment:
            del self.fields["secret"]

    def clean_issuer(self) -> str:
        issuer = str(self.cleaned_data["issuer"]).strip()
        if not is_web_address(issuer):
            raise ValidationError(_("An issuer starts with https:// and a host."))
        return issuer

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        is_plain = str(cleaned.get("issuer", "")).startswith("http://")
        if is_plain and not cleaned.get("is_private_allowed"):
            self.add_error("issuer", _("Without https only in a private network that is allowed."))
        moved = self.instance.pk and "issuer" in self.changed_data
        if moved and self.instance.sealed_secret and not cleaned.get("secret"):
            self.add_error("secret", _("It was entered for another issuer. Enter it again."))
        return cleaned


@admin.register(IdentityProvider)
class IdentityProviderAdmin(admin.ModelAdmin):
    """The owner's alone: whose word is taken decides who comes in."""

    form = ProviderForm
    list_display = ("name", "issuer", "enabled", "makes_accounts")
    told_when_empty = gettext_lazy("No provider yet: everybody logs in with a password.")
    prepopulated_fields: dict[str, Any] = {}
    actions = None

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        secret = () if obj and obj.is_from_environment else ("secret",)
        return (
            *("name", "slug", "return_address", "issuer", "client_id", *secret, "scope"),
            *("domains", "groups_claim", "groups", "makes_accounts"),
            *("is_private_allowed", "enabled"),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = ("return_address", *(("slug",) if obj else ()))
        return (*fixed, *SET_IN_ENVIRONMENT) if obj and obj.is_from_environment else fixed

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_fixed = obj is not None and obj.is_from_environment
        return not is_fixed and super().has_delete_permission(request, obj)

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(
        self, request: HttpRequest, obj: IdentityProvider, form: Any, change: bool
    ) -> None:
        if secret := form.cleaned_data.get("secret"):
            obj.secret = secret
        super().save_model(request, obj, form, change)
        note("identity_provider_set", provider=obj.slug, issuer=obj.issuer, enabled=obj.enabled)

    @admin.display(description=gettext_lazy("return address, to be entered at the provider"))
    def return_address(self, provider: IdentityProvider) -> str:
        slug = provider.slug or "SLUG"
        back = reverse("sso_back", args=[slug])
        return ", ".join(f"{origin}{back}" for origin in settings.ORIGINS)
