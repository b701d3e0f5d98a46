"""The second step of a login by password: to take it, to turn it on and off."""

import logging
from typing import Any

from django import forms
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from chat.entrance import By, address_of, enter, pending, strengthen, too_many
from chat.models import LoginAttempt, SecondFactor
from chat.models.logins import Step
from chat.models.second_factors import bare, is_recovery
from chat.models.secrets import Unsealable
from chat.security import note

from ..access import member_only, see_other
from ..forms import Typed
from ..proof import ProofForm
from ..qr import drawn

# Which draft this session began: nobody else who holds the account's session is shown its secret.
DRAFTED = "second_factor_drafted"
ISSUER = "Potok"


class CodeForm(forms.Form):
    code = Typed(label=gettext_lazy("Code from your app"), widget=forms.TextInput)

    def __init__(self, data: Any = None, *, takes_recovery: bool = False) -> None:
        super().__init__(data)
        attrs = self.fields["code"].widget.attrs
        attrs |= {"autocomplete": "one-time-code", "dir": "ltr", "autofocus": True}
        attrs |= {"autocapitalize": "none", "spellcheck": "false", "maxlength": 40}
        if takes_recovery:
            self.fields["code"].label = _("Recovery code")
        else:
            attrs["inputmode"] = "numeric"

    def clean_code(self) -> str:
        return bare(self.cleaned_data["code"])


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """The second step; `?recovery` has it by a code that was written down."""
    waiting = pending(request)
    if request.user.is_authenticated:
        return redirect("home")
    if waiting is None:
        return redirect("login")
    context = {"recovery": "recovery" in request.GET, "name": waiting.user.username}
    form = CodeForm(request.POST or None, takes_recovery=context["recovery"])
    status = 200
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data["code"]
        step = Step.RECOVERY if is_recovery(given) else Step.CODE
        who = waiting.user.username, address_of(request), step
        if wait_s := LoginAttempt.wait_s(*who):
            note("login_held_back", level=logging.WARNING, user=waiting.user.username)
            context["alert"] = too_many(wait_s, step)
            response = render(request, "login_code.html", {"form": form, **context}, status=429)
            response["Retry-After"] = str(wait_s)
            return response
        factor = SecondFactor.of(waiting.user)
        if factor is None or _takes(factor, given, step):
            enter(request, waiting.user, By.RECOVERY if step == Step.RECOVERY else By.CODE)
            return redirect(waiting.goal)
        LoginAttempt.note_failure(*who)
        note("second_factor_failed", level=logging.WARNING, user=waiting.user.username)
        form.add_error("code", _("This code isn't right, or was used already."))
    if form.errors:
        status = 422
    return render(request, "login_code.html", {"form": form, **context}, status=status)


def _takes(factor: SecondFactor, given: str, step: Step) -> bool:
    if step == Step.RECOVERY:
        return factor.take_recovery(given)
    try:
        return factor.take(given)
    except Unsealable:
        # Its secret is under a key that isn't here: only what was written down is left.
        return False


# --- to turn it on and off ----------------------------------------------------------------------


@member_only
@require_http_methods(["GET", "HEAD"])
def second_factor(request: HttpRequest) -> HttpResponse:
    return _page(request, is_off="off" in request.GET, is_needed="needed" in request.GET)


@sensitive_post_parameters()
@member_only
@require_POST
def begin(request: HttpRequest) -> HttpResponse:
    """A secret for one's device, which is asked for only once it is confirmed."""
    form = _proof(request, "begin", request.POST)
    if not form.is_valid():
        return _page(request, begin=form, status=form.status)
    request.session[DRAFTED] = SecondFactor.begin(request.user).pk
    return see_other("second_factor")


@sensitive_post_parameters()
@member_only
@require_POST
def confirm(request: HttpRequest) -> HttpResponse:
    """The device shows that it knows the secret; logins that knew the password alone end."""
    draft = _draft(request)
    if draft is None:
        return see_other("second_factor")
    form = CodeForm(request.POST)
    codes = draft.confirm(form.cleaned_data["code"]) if form.is_valid() else []
    if not codes:
        if not form.errors:
            form.add_error("code", _("This code isn't right. Is the clock of your device right?"))
        return _page(request, confirm=form, status=422)
    del request.session[DRAFTED]
    request.user.end_sessions()
    update_session_auth_hash(request, request.user)
    strengthen(request, By.CODE)
    return _page(request, codes=codes, is_new=True)


@sensitive_post_parameters()
@member_only
@require_POST
def renew(request: HttpRequest) -> HttpResponse:
    """New recovery codes; the old ones are worth nothing from then on."""
    factor, form = SecondFactor.of(request.user), _proof(request, "renew", request.POST)
    if factor is None:
        return see_other("second_factor")
    if not form.is_valid():
        return _page(request, renew=form, status=form.status)
    note("recovery_codes_renewed", user=request.user.username)
    return _page(request, codes=factor.renew_recovery())


@sensitive_post_parameters()
@member_only
@require_POST
def off(request: HttpRequest) -> HttpResponse:
    """The password alone is enough again."""
    factor, form = SecondFactor.of(request.user), _proof(request, "off", request.POST)
    if factor is None:
        return see_other("second_factor")
    if not form.is_valid():
        return _page(request, off=form, status=form.status)
    factor.delete()
    strengthen(request, By.PASSWORD)
    return see_other(f"{reverse('second_factor')}?off")


def _draft(request: HttpRequest) -> SecondFactor | None:
    drafts = SecondFactor.objects.filter(user=request.user, confirmed_at=None)
    return drafts.filter(pk=request.session.get(DRAFTED)).first()


def _page(request: HttpRequest, status: int = 200, **said: Any) -> HttpResponse:
    """The page as things are, with what was just said on it: a refused form, new codes."""
    factor, draft = SecondFactor.of(request.user), _draft(request)
    context: dict[str, Any] = {"factor": factor, **said}
    if draft:
        context |= {"draft": draft, "qr": drawn(draft.address(ISSUER))}
        context.setdefault("confirm", CodeForm())
    for name in ("begin", "renew", "off"):
        context.setdefault(name, _proof(request, name))
    return render(request, "second_factor.html", context, status=status)


def _proof(request: HttpRequest, name: str, data: Any = None) -> ProofForm:
    """Of several forms with a password on one page each has ids of its own."""
    return ProofForm(data, request, auto_id=f"id_{name}_%s")
