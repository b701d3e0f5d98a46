"""Which models a person has at hand."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from chat.models import Price
from chat.models.language_models import keep_favourite, offers

from ..access import member_only, see_other
from ..forms import FavouriteForm
from ..middleware import refuse


@member_only
@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """All that this person may choose from, with prices: for the picker, and as a page of its own."""
    offered = offers(request.user)
    prices = Price.of_all((offer.gateway, offer.name) for offer in offered)
    context = {
        "offers": [(offer, prices.get((offer.gateway.pk, offer.name))) for offer in offered],
    }
    template = "_offers.html" if request.htmx else "models.html"
    return render(request, template, context)


@member_only
@require_POST
def favourite(request: HttpRequest) -> HttpResponse:
    """Keep a model among the favourites, or with `keep` 0 no longer; answers with the picker's list."""
    form = FavouriteForm(request.POST, user=request.user)
    if not form.is_valid():
        return refuse(request, 422, form.first_error())
    keep_favourite(request.user, form.destination, form.cleaned_data["keep"] != "0")
    if not request.htmx:
        return see_other("home")
    return render(request, "_models.html", {"offers": offers(request.user)})
