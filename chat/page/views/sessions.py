"""Where somebody is logged in: to see their sessions, and to end them."""

from django.contrib.auth import logout, update_session_auth_hash
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from chat.models.sessions import OpenSession, sessions_of
from chat.security import note

from ..access import member_only, see_other


@member_only
@require_http_methods(["GET", "HEAD"])
def sessions(request: HttpRequest) -> HttpResponse:
    found = sessions_of(request.user)
    here = request.session.session_key
    context = {
        "sessions": [(each, _label(each), each.key == here) for each in found],
        "has_others": any(each.key != here for each in found),
        "is_ended": "ended" in request.GET,
    }
    return render(request, "sessions.html", context)


@member_only
@require_POST
def end(request: HttpRequest, name: str) -> HttpResponse:
    """Log out one browser, which may be this one."""
    session = next((each for each in sessions_of(request.user) if each.name == name), None)
    if session is None:
        raise Http404
    if session.key == request.session.session_key:
        logout(request)
        return redirect("login")
    session.end()
    note("session_ended", user=request.user.username)
    return see_other(f"{reverse('sessions')}?ended")


@member_only
@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    """Log out every browser but this one."""
    for session in sessions_of(request.user):
        if session.key != request.session.session_key:
            session.end()
    # One that was opened meanwhile ends as well.
    request.user.end_sessions()
    update_session_auth_hash(request, request.user)
    note("sessions_ended", user=request.user.username)
    return see_other(f"{reverse('sessions')}?ended")


def _label(session: OpenSession) -> str:
    if session.browser and session.system:
        names = {"browser": session.browser, "system": session.system}
        return _("%(browser)s on %(system)s") % names
    return session.browser or session.system or _("Another program")
