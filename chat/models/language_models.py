"""The models that gateways serve, who may ask them, and through which gateway a question goes.

A name that a gateway doesn't list works like one that it lists, unless the gateway is closed to such
names; only a listed one can be kept to some groups.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Exists, ExpressionWrapper, OuterRef, Q, Value
from django.utils.translation import gettext_lazy as _

from .gateways import MAX_MODEL_NAME, Gateway

if TYPE_CHECKING:
    from .people import User


class NoGateway(Exception):
    """No gateway is set up, or none of that slug."""


class NoAccess(Exception):
    """This person may not ask that model."""


class Destination(NamedTuple):
    """Where a question goes; an empty model is the first that the gateway lists."""

    gateway: Gateway
    model: str


def validate_model_name(name: str) -> None:
    """A model's id is opaque, but it is one short line."""
    if len(name) > MAX_MODEL_NAME or not name.isprintable():
        raise ValidationError(_("This is not a model's name."), code="model")


class LanguageModelQuerySet(models.QuerySet["LanguageModel"]):
    def shown(self) -> Self:
        """What a picker offers."""
        return self.filter(is_listed=True, is_hidden=False, gateway__enabled=True)

    def open_to(self, user: "User") -> Self:
        """Those that this person may ask."""
        return self if user.is_superuser else self.with_access(user).filter(is_open=True)

    def with_access(self, user: "User") -> Self:
        """With `is_open`: whether this person may ask it."""
        if user.is_superuser:
            return self.annotate(is_open=Value(True))
        of_row = LanguageModel.groups.through.objects.filter(languagemodel=OuterRef("pk"))
        is_open = ~Exists(of_row) | Exists(of_row.filter(group__user=user))
        return self.annotate(is_open=ExpressionWrapper(is_open, models.BooleanField()))

    def marked(self) -> Self:
        """Those about which an administrator has decided something."""
        of_row = LanguageModel.groups.through.objects.filter(languagemodel=OuterRef("pk"))
        return self.filter(
            Q(is_hidden=True) | Q(is_default=True) | Q(is_title_model=True) | Exists(of_row)
        )


class LanguageModel(models.Model):
    gateway = models.ForeignKey(
        Gateway, models.CASCADE, related_name="language_models", verbose_name=_("gateway")
    )
    name = models.CharField(_("name"), max_length=MAX_MODEL_NAME)
    label = models.CharField(_("shown as"), max_length=300, blank=True, editable=False)
    context_tokens = models.BigIntegerField(_("context, tokens"), null=True, editable=False)
    # In the gateway's words, such as tools, reasoning, image.
    capabilities = models.JSONField(_("capabilities"), default=list, editable=False)
    position = models.PositiveIntegerField(default=0)
    # One that the gateway no longer lists stays while something was decided about it.
    is_listed = models.BooleanField(_("listed"), default=True, editable=False)
    is_hidden = models.BooleanField(
        _("hidden"),
        default=False,
        help_text=_("Not offered for choice; works for whoever types its name."),
    )
    is_default = models.BooleanField(
        _("default"), default=False, help_text=_("Answers where no model is chosen.")
    )
    is_title_model = models.BooleanField(
        _("writes titles"), default=False, help_text=_("A cheap one is best.")
    )
    groups = models.ManyToManyField(
        Group,
        blank=True,
        verbose_name=_("only for the groups"),
        help_text=_("None: for everybody."),
    )

    objects = LanguageModelQuerySet.as_manager()

    class Meta:
        ordering = ["gateway__position", "gateway_id", "position", "id"]
        permissions = [("type_model", _("Can ask for models that no gateway lists"))]
        constraints = [
            models.UniqueConstraint(fields=["gateway", "name"], name="model_once"),
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_model"
            ),
            models.UniqueConstraint(
                fields=["is_title_model"],
                condition=models.Q(is_title_model=True),
                name="one_title_model",
            ),
        ]
        verbose_name = _("model")
        verbose_name_plural = _("models")

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def save(self, *args: Any, **kwargs: Any) -> None:
        """There is one default and one that writes titles: whoever becomes it takes the place."""
        for place in ("is_default", "is_title_model"):
            if getattr(self, place):
                others = LanguageModel.objects.filter(**{place: True}).exclude(pk=self.pk)
                others.update(**{place: False})
        super().save(*args, **kwargs)

    def validate_constraints(self, exclude: Any = None) -> None:
        super().validate_constraints({*(exclude or ()), "is_default", "is_title_model"})

    @classmethod
    def title_model(cls) -> "LanguageModel | None":
        """The cheap one that an owner picked to write titles."""
        chosen = cls.objects.filter(is_title_model=True, gateway__enabled=True)
        return chosen.select_related("gateway").first()


class Favourite(models.Model):
    """A model that a person wants at hand; by its name, as no gateway need list it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="favourites")
    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="+")
    name = models.CharField(max_length=MAX_MODEL_NAME)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "gateway", "name"], name="favourite_once")
        ]

    def __str__(self) -> str:
        return self.name


# --- who may ask what ---------------------------------------------------------------------------


def askable(
    user: "User", gateways: Collection[Gateway], names: Collection[str]
) -> set[tuple[int, str]]:
    """The pairs (gateway's id, name) of these that this person may ask."""
    return _askable(user, gateways, names, _known(user, gateways, names))


class _Known(NamedTuple):
    """What is decided about a model that a gateway lists, or has listed."""

    is_open: bool
    is_listed: bool


def _known(
    user: "User", gateways: Collection[Gateway], names: Collection[str]
) -> dict[tuple[int, str], _Known]:
    rows = LanguageModel.objects.filter(gateway__in=gateways, name__in=names).order_by()
    found = rows.with_access(user).values_list("gateway_id", "name", "is_open", "is_listed")
    return {(gateway, name): _Known(*known) for gateway, name, *known in found}


def _askable(
    user: "User",
    gateways: Collection[Gateway],
    names: Collection[str],
    known: Mapping[tuple[int, str], _Known],
) -> set[tuple[int, str]]:
    places = [(gateway, (gateway.pk, name)) for gateway in gateways for name in names]
    typed = {
        place
        for gateway, place in places
        if place not in known and (gateway.takes_any_model or user.has_perm("chat.type_model"))
    }
    return typed | {place for place, one in known.items() if one.is_open}


def destination(user: "User", model: str = "", slug: str = "") -> Destination:
    """Where this person's question goes; raises NoGateway, NoAccess.

    By the gateway's slug; else to the first that lists the model; else to the first that isn't the
    demo. Without a model it is the default one.
    """
    usable = [g for g in Gateway.objects.usable() if slug in ("", g.slug)]
    # The demo takes what nobody else does.
    usable.sort(key=lambda gateway: gateway.slug == "demo")
    if not usable:
        raise NoGateway
    if not model:
        return _default(user, usable)
    known = _known(user, usable, [model])
    places = _askable(user, usable, [model], known)
    if listed := {place for place, one in known.items() if one.is_listed}:
        places &= listed
    found = next((gateway for gateway in usable if (gateway.pk, model) in places), None)
    if found is None:
        raise NoAccess
    return Destination(found, model)


def preferred(user: "User") -> Destination | None:
    """The model that this person's new chats begin with, if they chose one and may still ask it."""
    if not user.default_model:
        return None
    try:
        return destination(user, user.default_model)
    except (NoGateway, NoAccess):
        return None


def _default(user: "User", usable: list[Gateway]) -> Destination:
    default = LanguageModel.objects.filter(is_default=True, is_listed=True, gateway__in=usable)
    if chosen := default.open_to(user).select_related("gateway").first():
        return Destination(chosen.gateway, chosen.name)
    for gateway in usable:
        # What a gateway has that hasn't been asked yet is known once it is.
        if not gateway.listed_at or first_listed(gateway, user):
            return Destination(gateway, "")
    return Destination(usable[0], "")


def first_listed(gateway: Gateway, user: "User") -> str:
    """The model that stands for an empty field at this gateway, or ''."""
    first = gateway.language_models.shown().open_to(user).order_by("position", "id").first()
    return first.name if first else ""


def routes(user: "User", gateway: Gateway, model: str) -> list[Gateway]:
    """The gateway, then the others that list the model and may take over, in the owner's order.

    Without a model it is the gateway alone. Raises NoAccess where this person may not ask it there.
    """
    if not model:
        return [gateway]
    rows = LanguageModel.objects.filter(name=model).with_access(user).select_related("gateway")
    here = {
        (row.gateway_id, model): _Known(row.is_open, row.is_listed)
        for row in rows
        if row.gateway_id == gateway.pk
    }
    if not _askable(user, [gateway], [model], here):
        raise NoAccess
    others = [row for row in rows if row.gateway_id != gateway.pk and row.is_open and row.is_listed]
    return [gateway] + [r.gateway for r in others if r.gateway.enabled and r.gateway.stands_in]


# --- the picker ---------------------------------------------------------------------------------


class Offer(NamedTuple):
    name: str
    gateway: Gateway
    is_favourite: bool
    context_tokens: int | None = None
    capabilities: Sequence[str] = ()


def offers(user: "User") -> list[Offer]:
    """What this person may choose from: favourites first, then each gateway's list."""
    gateways = {gateway.pk: gateway for gateway in Gateway.objects.filter(enabled=True)}
    kept = user.favourites.filter(gateway__in=gateways).values_list("gateway_id", "name")
    favourites = list(kept)
    usable = {gateways[pk] for pk, _name in favourites}
    places = askable(user, usable, {name for _pk, name in favourites}) if favourites else set()
    found = {
        (pk, name): Offer(name, gateways[pk], True)
        for pk, name in favourites
        if (pk, name) in places
    }
    # Hundreds, on each page: a row of each, and its gateway's again, would take longer than the query.
    listed = LanguageModel.objects.shown().open_to(user).filter(gateway__in=gateways)
    for pk, name, *facts in listed.values_list(
        "gateway_id", "name", "context_tokens", "capabilities"
    ):
        found[pk, name] = Offer(name, gateways[pk], (pk, name) in found, *facts)
    return list(found.values())


def keep_favourite(user: "User", place: Destination, is_kept: bool) -> None:
    """Put a model to this person's favourites, or take it away; doing it twice changes nothing."""
    favourite = {"gateway": place.gateway, "name": place.model}
    if is_kept:
        user.favourites.get_or_create(**favourite)
    else:
        user.favourites.filter(**favourite).delete()
