"""Who may read what people wrote, and the note in the log that comes before it is shown."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from chat import security
from chat.models import Conversation, ReadLog
from chat.models.read_log import MAX_WHY_CHARS, Seen

What = ReadLog.What
REASON_HOLDS_S = 3600
_REASON = "reason_to_read"


def may_read(request: HttpRequest) -> bool:
    """Words: the role allows it, and nobody has switched it off for all."""
    return settings.STAFF_READING != "0" and request.user.has_perm("chat.view_conversation")


def may_name(request: HttpRequest) -> bool:
    """Names: of those who read conversations or manage people; for others a person is a key."""
    user = request.user
    return user.has_perm("chat.view_conversation") or user.has_perm("chat.view_user")


def may_see_deleted(request: HttpRequest) -> bool:
    """What its owner deleted and is not purged yet."""
    return request.user.has_perm("chat.see_deleted")


def note(request: HttpRequest, what: str, conversations: Iterable[Conversation]) -> None:
    """Log that these are about to be shown; each with its `owner` at hand."""
    seen = [Seen(each.uuid, each.owner.key) for each in conversations]
    ReadLog.note(request.user, what, seen, reason(request))
    others = [str(each.conversation) for each in seen if each.owner_key != request.user.key]
    if others:
        # Which ones a list showed is in the read log; the reason is a person's own words.
        one = {"conversation": others[0]} if len(others) == 1 else {}
        security.note("staff_read", what=str(what), conversations=len(others), **one)


def reason(request: HttpRequest) -> str:
    """What was said last, for an hour."""
    said, at = request.session.get(_REASON, ("", 0))
    return str(said) if timezone.now().timestamp() - at < REASON_HOLDS_S else ""


def readers_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For a view that shows words: who may not read is refused, who may is asked why if that is set."""

    @wraps(view)
    def inner(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.has_perm("chat.view_conversation"):
            raise PermissionDenied
        if not may_read(request):
            context = self.admin_site.each_context(request)
            return render(request, "admin/reading_off.html", context, status=403)
        if must_say_why(request):
            return ask_why(request)
        return view(self, request, *args, **kwargs)

    return inner


def must_say_why(request: HttpRequest) -> bool:
    return settings.STAFF_READING == "reason" and not reason(request)


def ask_why(request: HttpRequest) -> HttpResponse:
    query = urlencode({"next": request.get_full_path()})
    return redirect(f"{reverse('admin:why')}?{query}")


class WhyForm(forms.Form):
    why = forms.CharField(label=_("Why do you read it?"), max_length=MAX_WHY_CHARS)


def why(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Ask for the reason; it stands in the log beside whatever is read within the hour."""
    form = WhyForm(request.POST or None, initial={"why": reason(request)})
    goal = request.POST.get("next") or request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(goal, None):
        goal = reverse("admin:index")
    if request.method == "POST" and form.is_valid():
        request.session[_REASON] = (form.cleaned_data["why"], timezone.now().timestamp())
        return redirect(goal)
    status = 422 if form.errors else 200
    context |= {"form": form, "next": goal, "title": _("Why do you read it?")}
    return render(request, "admin/why.html", context, status=status)
