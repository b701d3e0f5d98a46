"""Passkeys: to make and to remove one's own, and to log in with one."""

import logging
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from chat.entrance import By, enter
from chat.models import Passkey
from chat.models.passkeys import MAX_PASSKEYS, LastWayIn
from chat.security import note

from .. import webauthn
from ..access import member_only, see_other
from ..forms import Typed
from ..proof import ProofForm
from ..ways_in import ways_in


class PasskeyForm(ProofForm):
    """What to call it, and what the browser answered: `credential`."""

    name = Typed(
        label=gettext_lazy("Name"),
        widget=forms.TextInput(attrs={"maxlength": 100, "autocomplete": "off"}),
    )
    credential = forms.CharField(widget=forms.HiddenInput, required=False)
    field_order = ("name", "password")

    def clean_name(self) -> str:
        return " ".join(self.cleaned_data["name"].split())[:100]


@member_only
@require_http_methods(["GET", "HEAD"])
def passkeys(request: HttpRequest) -> HttpResponse:
    return _page(request, PasskeyForm(None, request), is_saved="saved" in request.GET)


@sensitive_post_parameters()
@member_only
@require_POST
def add(request: HttpRequest) -> HttpResponse:
    """Keep the key that the browser has just made."""
    form = PasskeyForm(request.POST, request)
    if form.is_valid() and not _keep(request, form):
        form.add_error(None, _("The passkey could not be added. Try again."))
    if form.errors:
        return _page(request, form, status=form.status)
    return see_other(f"{resolve_url('passkeys')}?saved")


def _keep(request: HttpRequest, form: PasskeyForm) -> bool:
    if request.user.passkeys.count() >= MAX_PASSKEYS:
        return False
    try:
        made = webauthn.made(request, form.cleaned_data["credential"])
    except webauthn.Refused as exc:
        note("passkey_refused", level=logging.WARNING, user=request.user.username, why=str(exc))
        return False
    _passkey, is_new = Passkey.objects.get_or_create(
        credential_id=made.credential_id,
        defaults={
            "user": request.user,
            "name": form.cleaned_data["name"],
            "credential": made.credential,
            "sign_count": made.sign_count,
            "rp_id": webauthn.rp_id(request),
        },
    )
    return is_new


@member_only
@require_POST
def delete(request: HttpRequest, number: int) -> HttpResponse:
    passkey = get_object_or_404(request.user.passkeys, pk=number)
    try:
        passkey.delete()
    except LastWayIn:
        alert = _("This is your only way to log in. Add another one or set a password first.")
        return _page(request, PasskeyForm(None, request), alert=alert, status=409)
    return see_other("passkeys")


def _page(request: HttpRequest, form: PasskeyForm, status: int = 200, **said: Any) -> HttpResponse:
    user, host = request.user, webauthn.rp_id(request)
    context = {
        "form": form,
        "passkeys": user.passkeys.all(),
        "options": webauthn.creation_options(request, user) if host else "",
        "host": host,
        **said,
    }
    return render(request, "passkeys.html", context, status=status)


# --- to log in ----------------------------------------------------------------------------------


@require_POST
def options(request: HttpRequest) -> HttpResponse:
    """A challenge for whoever is about to log in."""
    if not webauthn.rp_id(request):
        return JsonResponse({}, status=409)
    return JsonResponse(webauthn.request_options(request))


@sensitive_post_parameters()
@require_POST
def login(request: HttpRequest) -> HttpResponse:
    """By a passkey alone: it says whose it is, and its device has looked who holds it."""
    goal = request.POST.get("next", "")
    try:
        passkey = webauthn.authenticated(request, request.POST.get("credential", ""))
    except webauthn.Refused as exc:
        note("passkey_refused", level=logging.WARNING, why=str(exc))
        alert = _("This passkey opens nothing here. Use another way.")
        context = {"form": AuthenticationForm(request), "next": goal, "alert": alert}
        context |= ways_in(request)
        return render(request, "login.html", context, status=422)
    enter(request, passkey.user, By.PASSKEY)
    is_ours = url_has_allowed_host_and_scheme(
        goal, {request.get_host()}, require_https=request.is_secure()
    )
    return see_other(goal if is_ours else "home")
