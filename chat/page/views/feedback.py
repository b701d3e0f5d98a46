"""A reader's word on a reply: `/m/<uuid>/feedback/`."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from chat.models import Feedback, Message
from chat.rendering.thread import shown

from ..access import for_message, see_other
from ..forms import FeedbackForm
from .chat import refused


@for_message("GET", "POST")
def feedback(request: HttpRequest, message: Message) -> HttpResponse:
    """GET: a form for a comment; POST: `rating` 1, -1 or 0 for none, and the comment if it is there."""
    if not message.is_reply or message.is_open:
        sentence = _("Only a reply that has ended can be rated.")
        return refused(request, 409, sentence, message.conversation)
    if request.method != "POST":
        (m,) = shown([message])
        template = "_feedback_form.html" if request.htmx else "feedback.html"
        return render(request, template, {"m": m})
    form = FeedbackForm(request.POST)
    if not form.is_valid():
        return refused(request, 422, form.first_error(), message.conversation)
    Feedback.give(message, form.cleaned_data["rating"], form.cleaned_data["comment"])
    if not request.htmx:
        return see_other(message.conversation)
    rows = Message.objects.filter(pk=message.pk, deleted_at=None).for_display()
    context = {"thread": shown(rows.select_related("conversation"))}
    return render(request, "_thread.html", context)
