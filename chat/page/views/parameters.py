"""What a conversation asks for beside its messages, and with what a new one begins."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from chat.models import Conversation, User

from ..access import for_conversation, member_only, see_other
from ..parameters import ParametersForm


@member_only
@require_http_methods(["GET", "HEAD", "POST"])
def defaults(request: HttpRequest) -> HttpResponse:
    """With `new` the fields for the composer of a new chat, which send goes with its first question."""
    if "new" in request.GET and request.htmx:
        context = {"form": ParametersForm.of(request.user.asked, owner="composer"), "is_new": True}
        return render(request, "_parameters.html", context)
    return _answer(request, request.user, reverse("parameters"))


@for_conversation("GET", "POST")
def conversation(request: HttpRequest, conversation: Conversation) -> HttpResponse:
    address = reverse("conversation_parameters", args=[conversation.uuid])
    return _answer(request, conversation, address, conversation)


def _answer(
    request: HttpRequest,
    whose: User | Conversation,
    address: str,
    conversation: Conversation | None = None,
) -> HttpResponse:
    form = ParametersForm.of(whose.asked)
    if request.method == "POST":
        form = ParametersForm(request.POST, auto_id="parameter-%s")
        if form.is_valid():
            whose.ask_for(form.asked)
            if request.htmx:
                return render(request, "_parameters_link.html", {"conversation": conversation})
            return see_other(conversation or f"{address}?saved")
    context = {
        "form": form,
        "address": address,
        "conversation": conversation,
        "is_saved": "saved" in request.GET,
    }
    template = "_parameters.html" if request.htmx else "parameters.html"
    response = render(request, template, context, status=422 if form.errors else 200)
    if form.errors:
        response["HX-Retarget"], response["HX-Reswap"] = "#ask", "innerHTML"
    return response
