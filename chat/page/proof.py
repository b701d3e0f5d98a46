"""What changes how somebody logs in asks first whether it is they: a session may be left open."""

from typing import Any

from django import forms
from django.contrib.auth.forms import PasswordChangeForm, SetPasswordForm
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat.entrance import address_of, is_fresh, too_many
from chat.models import LoginAttempt
from chat.security import note


class Proof:
    """Of a form: the password once more, guessed as slowly as at the door; `status` as it went."""

    errors: Any
    request: HttpRequest
    wait_s = 0

    @property
    def status(self) -> int:
        if not self.errors:
            return 200
        return 429 if self.wait_s else 422

    def prove(self, password: str) -> str:
        """Raises ValidationError."""
        user, address = self.request.user, address_of(self.request)
        self.wait_s = LoginAttempt.wait_s(user.username, address)
        if self.wait_s:
            raise forms.ValidationError(too_many(self.wait_s))
        if not user.check_password(password):
            LoginAttempt.note_failure(user.username, address)
            note("proof_failed", user=user.username)
            raise forms.ValidationError(_("That is not your password."))
        return password

    def prove_fresh(self) -> None:
        """For whoever has no password, a login of the last ten minutes; raises ValidationError."""
        if not is_fresh(self.request):
            raise forms.ValidationError(_("Log out and in again first: your login is too old."))


class ProofForm(Proof, forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Your password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, data: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        self.request = request
        if not request.user.has_usable_password():
            del self.fields["password"]

    def clean_password(self) -> str:
        return self.prove(self.cleaned_data["password"])

    def clean(self) -> dict[str, Any]:
        if "password" not in self.fields:
            self.prove_fresh()
        return super().clean() or self.cleaned_data


class PasswordForm(Proof, PasswordChangeForm):
    """old_password, new_password1, new_password2."""

    def __init__(self, request: HttpRequest, data: Any = None) -> None:
        super().__init__(request.user, data)
        self.request = request

    def clean_old_password(self) -> str:
        return self.prove(self.cleaned_data["old_password"])


class FirstPasswordForm(Proof, SetPasswordForm):
    """new_password1, new_password2: for whoever came in by other ways so far."""

    def __init__(self, request: HttpRequest, data: Any = None) -> None:
        super().__init__(request.user, data)
        self.request = request

    def clean(self) -> dict[str, Any]:
        self.prove_fresh()
        return super().clean() or self.cleaned_data


def password_form(request: HttpRequest, data: Any = None) -> PasswordForm | FirstPasswordForm:
    kind = PasswordForm if request.user.has_usable_password() else FirstPasswordForm
    return kind(request, data)
