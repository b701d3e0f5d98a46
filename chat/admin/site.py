"""The admin's site: whom it lets in, and in which order it shows what staff do.

It is imported while the apps load, so nothing here may import a model.
"""

import re
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from typing import Any

from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.sites import AdminSite
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

TOPICS = (
    "conversations",
    "feedback",
    "generations",
    "calls",
    "budgets",
    "people",
    "groups",
    "accounts",
    "identities",
    "gateways",
    "language_models",
    "prices",
    "rates",
    "read_log",
    "retention",
    "holds",
    "scores",
    "erasures",
)
# By what staff do most: the first are in the bar, all others in its menu, under these headings.
ROOMS = (
    (
        _("Every day"),
        ("Conversation", "Feedback", "Generation", "Call", "Budget", "User", "Gateway"),
    ),
    (_("People"), ("Group", "Invitation", "AccountPolicy", "IdentityProvider")),
    (_("Models and prices"), ("LanguageModel", "Price", "Rate")),
    (_("Review"), ("Scale", "ReadLog")),
    (_("Keeping and erasing"), ("Retention", "Hold", "Erasure")),
)
ORDER = [name for _heading, names in ROOMS for name in names]
# What the list of generations shows has a name of its own.
NAMES = {"Generation": _("Running now"), "Feedback": _("Feedback")}


# What no column holds, and a database raises an error for.
_NO_VALUE = re.compile(r"[+-]?\d{19,}|.*\0.*", re.S)


class PotokAdminConfig(SimpleAdminConfig):
    default_site = "chat.admin.site.PotokAdmin"

    def ready(self) -> None:
        super().ready()
        for topic in TOPICS:
            import_module(f"chat.admin.{topic}")
        # Django's icons are called "True" and "False" in every language, and have no setting.
        import_module("django.contrib.admin.templatetags.admin_list")._boolean_icon = _truth


class PotokAdmin(AdminSite):
    site_title = "Potok"
    site_header = "Potok"
    index_title = _("Administration")
    empty_value_display = "—"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Whoever holds a right of ours; `is_staff` is not asked, so there is no flag to forget."""
        return bool(request.user.has_module_perms("chat"))

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Callable[..., Any]:
        guarded = super().admin_view(view, cacheable)

        @wraps(view)
        @login_required
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            # The stock site would offer a member its login form again, for ever.
            if not self.has_permission(request):
                raise PermissionDenied
            from chat.entrance import may_administer

            if not may_administer(request):
                return redirect(f"{reverse('second_factor')}?needed")
            if any(map(_NO_VALUE.fullmatch, _asked(request, kwargs))):
                raise Http404
            return guarded(request, *args, **kwargs)

        return inner

    def get_urls(self) -> list[Any]:
        own = [
            path("why/", self.admin_view(self.why), name="why"),
            path("spend/", self.admin_view(self.spend), name="spend"),
        ]
        return [*own, *super().get_urls()]

    def why(self, request: HttpRequest) -> HttpResponse:
        """For those who read: what they read for."""
        from . import reading

        if not reading.may_read(request):
            raise PermissionDenied
        return reading.why(request, self.each_context(request))

    def spend(self, request: HttpRequest) -> HttpResponse:
        """For those who see sums."""
        from .spend import spend

        return spend(request, self.each_context(request))

    # There is one door to log in, to log out and to change a password: the product's own.

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("login")

    def logout(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("home")

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("password")

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        return context | {"rooms": self._rooms(request, context["available_apps"])}

    @staticmethod
    def _rooms(request: HttpRequest, apps: list[Any]) -> list[dict[str, Any]]:
        """[{"heading", "links"}]: all that this person may open; the first are those of the bar."""
        models = {model["object_name"]: model for app in apps for model in app["models"]}
        rooms = []
        for place, (heading, names) in enumerate(ROOMS):
            links = [
                (model["name"], model["admin_url"]) for name in names if (model := models.get(name))
            ]
            if place == 0 and request.user.has_perm("chat.see_sums"):
                links.insert(0, (_("Spending"), reverse("admin:spend")))
            if links:
                rooms.append({"heading": heading, "links": links})
        return rooms

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """One list for all, by what staff do most, wherever a model comes from."""
        apps = super().get_app_list(request, app_label)
        models = [model for app in apps for model in app["models"]]
        if not models:
            return []
        for model in models:
            model["name"] = NAMES.get(model["object_name"], model["name"])
        models.sort(key=lambda model: ORDER.index(model["object_name"]))
        return [apps[0] | {"name": self.site_header, "models": models}]


def _truth(is_so: bool | None) -> str:
    return PotokAdmin.empty_value_display if is_so is None else _("yes") if is_so else _("no")


def _asked(request: HttpRequest, place: dict[str, Any]) -> Iterator[str]:
    """What an address asks for but in words: the values of filters, and the key of a row."""
    for name, values in request.GET.lists():
        if name != SEARCH_VAR:
            yield from values
    yield from map(str, place.values())
