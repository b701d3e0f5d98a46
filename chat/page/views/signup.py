"""A new account: by invitation, or by anybody where the owner has opened the door."""

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from chat.entrance import By, address_of, enter, too_many
from chat.models import AccountPolicy, IdentityProvider, Invitation, LoginAttempt, User
from chat.models.invitations import InvitationGone
from chat.models.logins import Step
from chat.security import note

from ..forms import SignUpForm
from ..middleware import refuse


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def signup(request: HttpRequest) -> HttpResponse:
    """`?invitation=TOKEN` for whoever has one; without any there is such a page only where it's open."""
    policy = AccountPolicy.current()
    token = (request.POST or request.GET).get("invitation", "")
    invitation = Invitation.open_with(token) if token and policy.takes_invitations else None
    if invitation is None and not policy.is_open:
        if token and policy.takes_invitations:
            return _gone(request)
        raise Http404
    if request.user.is_authenticated:
        return redirect("home")
    form = SignUpForm(request.POST or None)
    context = {
        "form": form,
        "invitation": token if invitation else "",
        "providers": IdentityProvider.objects.filter(enabled=True) if invitation else (),
    }
    wait_s = 0 if invitation else LoginAttempt.wait_s("", address_of(request), Step.SIGN_UP)
    if request.method == "POST" and wait_s:
        context |= {"form": SignUpForm(), "alert": too_many(wait_s, Step.SIGN_UP)}
        response = render(request, "signup.html", context, status=429)
        response["Retry-After"] = str(wait_s)
        return response
    if request.method == "POST" and form.is_valid():
        try:
            user = _admitted(request, policy, invitation, form)
        except InvitationGone:
            return _gone(request)
        enter(request, user, By.PASSWORD)
        return redirect("home")
    return render(request, "signup.html", context, status=422 if form.errors else 200)


@transaction.atomic
def _admitted(
    request: HttpRequest, policy: AccountPolicy, invitation: Invitation | None, form: SignUpForm
) -> User:
    if invitation:
        user = invitation.accept(form.save)
        note("invitation_used", user=user.username, invitation=invitation.pk)
        return user
    LoginAttempt.note_failure("", address_of(request), Step.SIGN_UP)
    return policy.admit(form.save)


def _gone(request: HttpRequest) -> HttpResponse:
    sentence = _("This invitation was used, taken back or is too old. Ask for a new one.")
    return refuse(request, 404, sentence)
