"""A person's account: coming in and going out, the password, the settings."""

import logging
from typing import Any

from django.conf import settings as installation
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from chat.entrance import By, enter, too_many, wait_for_code
from chat.models import (
    Hold,
    IdentityProvider,
    LoginAttempt,
    ReadLog,
    SecondFactor,
    User,
    retention,
)
from chat.models.language_models import offers
from chat.models.people import OwnerExists, time_zones
from chat.security import note

from .. import limits
from ..access import member_only, see_other
from ..forms import SettingsForm, SetupForm
from ..middleware import THEME_COOKIE, ZONE_COOKIE
from ..proof import password_form
from ..ways_in import ways_in
from .single_sign_on import logged_out

YEAR_S = 365 * 24 * 3600


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def setup(request: HttpRequest) -> HttpResponse:
    """Make the first owner; there is no such page once there is a user."""
    if User.objects.exists():
        raise Http404
    form = SetupForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            owner = User.create_owner(form.cleaned_data["username"], form.cleaned_data["password1"])
        except OwnerExists:
            raise Http404 from None
        enter(request, owner, By.PASSWORD)
        return redirect("home")
    status = 422 if form.errors else 200
    return render(request, "setup.html", {"form": form}, status=status)


class Login(auth_views.LoginView):
    template_name = "login.html"
    redirect_authenticated_user = True
    http_method_names = ["get", "head", "post", "options"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**ways_in(self.request), **super().get_context_data(**kwargs)}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Neither a password nor whether there is such an account is looked at while one waits."""
        wait_s = LoginAttempt.wait_s(*self._who())
        if not wait_s:
            return super().post(request, *args, **kwargs)
        note("login_held_back", level=logging.WARNING)
        form = self.form_class(request, initial={"username": request.POST.get("username")})
        response = self.render_to_response(self.get_context_data(form=form, alert=too_many(wait_s)))
        response.status_code = 429
        response["Retry-After"] = str(wait_s)
        return response

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        if SecondFactor.of(user):
            wait_for_code(self.request, user, self.get_success_url())
            return redirect("login_code")
        enter(self.request, user, By.PASSWORD)
        return redirect(self.get_success_url())

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        if form.cleaned_data.get("password"):
            LoginAttempt.note_failure(*self._who())
        response = super().form_invalid(form)
        response.status_code = 422
        return response

    def _who(self) -> tuple[str, str]:
        return self.request.POST.get("username", ""), self.request.META.get("REMOTE_ADDR", "")


class Logout(auth_views.LogoutView):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Who came by a provider is still logged in there, and is told so."""
        elsewhere = logged_out(request)
        response = super().post(request, *args, **kwargs)
        if elsewhere is None:
            return response
        name, address = elsewhere
        return render(request, "logged_out.html", {"name": name, "address": address})


@sensitive_post_parameters()
@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password; every other session of the account ends by it."""
    form = password_form(request, request.POST or None)
    status = 200
    is_changed = request.method == "POST" and form.is_valid()
    if is_changed:
        form.save()
        update_session_auth_hash(request, form.user)
        form = password_form(request)
    elif form.errors:
        status = form.status
    context = {"form": form, "is_changed": is_changed}
    return render(request, "password.html", context, status=status)


@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: HttpRequest) -> HttpResponse:
    """How this person likes to read and to write, and who else may read."""
    zone = request.COOKIES.get(ZONE_COOKIE, "")
    # A row of its own: what a refused form says must not rule the page that says so.
    form = SettingsForm(
        request.POST or None,
        instance=User.objects.get(pk=request.user.pk),
        device_zone=zone if zone in time_zones() else "",
    )
    if request.method == "POST" and form.is_valid():
        person = form.save()
        response = see_other(f"{reverse('settings')}?saved")
        # The login page knows nobody, and should look and speak like what comes after it.
        _keep(response, THEME_COOKIE, person.theme)
        _keep(response, installation.LANGUAGE_COOKIE_NAME, person.language)
        return response
    identities = request.user.identities.all()
    connected = [identity.issuer for identity in identities]
    context = {
        "form": form,
        "offers": offers(request.user),
        "is_saved": "saved" in request.GET,
        "is_read_by_staff": installation.STAFF_READING != "0",
        "readings": ReadLog.told(request.user),
        "kept": retention.rule_of(request.user),
        "is_held": Hold.objects.standing().filter(person=request.user).exists(),
        "limits": limits.levels(request.user),
        "identities": identities,
        "providers": IdentityProvider.objects.filter(enabled=True).exclude(issuer__in=connected),
        "has_second_factor": SecondFactor.of(request.user) is not None,
    }
    return render(request, "settings.html", context, status=422 if form.errors else 200)


@member_only
@require_POST
def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every session of this person, this one too."""
    request.user.end_sessions()
    note("sessions_ended", user=request.user.username)
    logout(request)
    return redirect("login")


def _keep(response: HttpResponse, cookie: str, value: str) -> None:
    """For a year, or not at all where it is empty."""
    if value:
        secure = installation.HTTPS
        response.set_cookie(cookie, value, YEAR_S, secure=secure, httponly=True, samesite="Lax")
    else:
        response.delete_cookie(cookie, samesite="Lax")
