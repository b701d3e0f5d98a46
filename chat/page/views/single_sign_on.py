"""Single sign-on: to the provider and back; to connect it to an account that is there already."""

import logging
import secrets as random
import time
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from chat.entrance import By, enter
from chat.models import AccountPolicy, IdentityProvider, Invitation, User
from chat.models.identities import ConnectedOtherwise, NotLetIn, SwitchedOff
from chat.models.invitations import InvitationGone
from chat.models.secrets import Unsealable
from chat.security import note
from chat.upstream import oidc

from ..access import member_only, see_other
from ..middleware import refuse
from ..proof import ProofForm

BACK_WITHIN_S = 900
_SENT, _CONNECTS, _LOGOUT = "sso_sent", "sso_connects", "sso_logout"


@require_http_methods(["GET", "HEAD"])
def begin(request: HttpRequest, slug: str) -> HttpResponse:
    """Send the browser there; a link, as no form of ours may lead to another host."""
    provider = get_object_or_404(IdentityProvider, slug=slug, enabled=True)
    connects = request.session.get(_CONNECTS) == slug
    if request.user.is_authenticated and not connects:
        return redirect("home")
    asked = oidc.Asked(
        state=random.token_urlsafe(32),
        nonce=random.token_urlsafe(32),
        verifier=random.token_urlsafe(64),
        redirect_uri=request.build_absolute_uri(reverse("sso_back", args=[slug])),
    )
    try:
        relation = relation_to(provider)
        metadata = async_to_sync(oidc.discover)(relation)
    except (oidc.SignOnError, Unsealable) as exc:
        return _failed(request, provider, exc)
    goal = request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        goal, {request.get_host()}, require_https=request.is_secure()
    )
    request.session[_SENT] = {
        "slug": slug,
        "state": asked.state,
        "nonce": asked.nonce,
        "verifier": asked.verifier,
        "redirect_uri": asked.redirect_uri,
        "goal": goal if is_ours else reverse("home"),
        "invitation": request.GET.get("invitation", ""),
        "until": time.time() + BACK_WITHIN_S,
    }
    return redirect(oidc.address(metadata, relation, asked))


@require_http_methods(["GET", "HEAD"])
def back(request: HttpRequest, slug: str) -> HttpResponse:
    """Here the provider sends people back; what was sent with them is taken out and fits once."""
    provider = get_object_or_404(IdentityProvider, slug=slug, enabled=True)
    sent = request.session.pop(_SENT, None)
    connects = request.session.pop(_CONNECTS, None) == slug
    if not sent or sent["slug"] != slug or sent["until"] < time.time():
        return _failed(request, provider, oidc.SignOnError("nobody was sent from here"))
    goal, invitation = sent["goal"], sent["invitation"]
    asked = oidc.Asked(*(sent[name] for name in ("state", "nonce", "verifier", "redirect_uri")))
    try:
        relation = relation_to(provider)
        claims, metadata = async_to_sync(oidc.claims)(relation, asked, request.GET.dict())
    except (oidc.SignOnError, Unsealable) as exc:
        return _failed(request, provider, exc)
    try:
        if request.user.is_authenticated:
            return _connected(request, provider, claims) if connects else redirect("home")
        user = _admitted(provider, claims, invitation)
    except (NotLetIn, InvitationGone) as exc:
        return _not_let_in(request, provider, exc)
    enter(request, user, By.SSO)
    request.session[_LOGOUT] = [provider.name, metadata.end_session_endpoint]
    return redirect(goal)


def _admitted(provider: IdentityProvider, claims: dict[str, Any], token: str) -> User:
    policy = AccountPolicy.current()
    usable = Invitation.open_with(token) if token and policy.takes_invitations else None
    return provider.admit(claims, usable)


def relation_to(provider: IdentityProvider) -> oidc.Relation:
    """Raises Unsealable."""
    return oidc.Relation(
        issuer=provider.issuer,
        client_id=provider.client_id,
        secret=provider.secret,
        scope=provider.scope,
        allow_private=provider.is_private_allowed,
    )


# --- to connect it ------------------------------------------------------------------------------


@sensitive_post_parameters()
@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask for the password, then offer the way there: whoever comes back is this person."""
    provider = get_object_or_404(IdentityProvider, slug=slug, enabled=True)
    form = ProofForm(request.POST if request.method == "POST" else None, request)
    context: dict[str, Any] = {"form": form, "provider": provider}
    if request.method == "POST" and form.is_valid():
        request.session[_CONNECTS] = slug
        context["is_ready"] = True
    return render(request, "connect.html", context, status=form.status)


def _connected(
    request: HttpRequest, provider: IdentityProvider, claims: dict[str, Any]
) -> HttpResponse:
    provider.connect(claims, request.user)
    note("identity_connected", user=request.user.username, provider=provider.slug)
    return redirect("settings")


@member_only
@require_POST
def disconnect(request: HttpRequest, number: int) -> HttpResponse:
    """It opens this account no more; for whoever has another way in."""
    identity = get_object_or_404(request.user.identities, pk=number)
    user = request.user
    others = user.identities.exclude(pk=number).exists() or user.passkeys.exists()
    if not (user.has_usable_password() or others):
        sentence = _("This is your only way to log in. Add another one or set a password first.")
        return refuse(request, 409, sentence)
    identity.delete()
    note("identity_disconnected", user=user.username)
    return see_other("settings")


# --- what else may happen -----------------------------------------------------------------------


def logged_out(request: HttpRequest) -> tuple[str, str] | None:
    """Of a session that came by a provider: its name, and where one logs out there as well."""
    name, address = request.session.get(_LOGOUT, ("", ""))
    return (name, address) if address else None


def _failed(request: HttpRequest, provider: IdentityProvider, exc: Exception) -> HttpResponse:
    note("sso_failed", level=logging.WARNING, provider=provider.slug, why=str(exc))
    if isinstance(exc, oidc.Unreachable):
        sentence = _("%(name)s doesn't answer. Try again later, or use another way to log in.")
        return _refused(request, provider, 503, sentence, 30)
    if isinstance(exc, oidc.TurnedBack):
        sentence = _("%(name)s did not let you through, or you turned back there.")
    else:
        sentence = _("%(name)s did not say for certain who you are. Try to log in again.")
    return _refused(request, provider, 403, sentence)


def _not_let_in(request: HttpRequest, provider: IdentityProvider, exc: Exception) -> HttpResponse:
    note("sso_refused", level=logging.WARNING, provider=provider.slug, why=str(exc))
    if isinstance(exc, SwitchedOff):
        sentence = _("Your account here is switched off. Ask whoever runs this Potok.")
    elif isinstance(exc, ConnectedOtherwise):
        sentence = _("Your account at %(name)s opens another account here already.")
    else:
        sentence = _("Your account at %(name)s is not let in here. Ask whoever runs this Potok.")
    return _refused(request, provider, 403, sentence)


def _refused(
    request: HttpRequest,
    provider: IdentityProvider,
    status: int,
    sentence: str,
    retry_after_s: int | None = None,
) -> HttpResponse:
    title = _("Not connected") if request.user.is_authenticated else _("Not logged in")
    sentence %= {"name": provider.name}
    return refuse(request, status, sentence, retry_after_s, title=title)
