"""Gateways, and the language models that they say they serve."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

MAX_MODEL_NAME = 200


class NoGateway(Exception):
    """No gateway is set up, or none of that slug."""


class GatewayQuerySet(models.QuerySet["Gateway"]):
    def usable(self) -> "GatewayQuerySet":
        return self.filter(enabled=True)


class Gateway(models.Model):
    class Source(models.TextChoices):
        ENVIRONMENT = "environment", _("environment")
        DATABASE = "database", _("database")

    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=100)
    base_url = models.CharField(_("address"), max_length=500)
    currency = models.CharField(_("currency"), max_length=3, default="USD")
    source = models.CharField(_("source"), max_length=20, choices=Source, default=Source.DATABASE)
    enabled = models.BooleanField(_("enabled"), default=True)
    # The order in which a model that several gateways serve is looked for.
    position = models.PositiveSmallIntegerField(_("order"), default=0)
    slots = models.PositiveIntegerField(_("parallel replies"), default=200)
    sealed_key = models.TextField(blank=True, editable=False)
    headers = models.JSONField(_("extra headers"), default=dict, blank=True)
    is_private_allowed = models.BooleanField(
        _("may lie in a private network"),
        default=False,
        help_text=_("Allow an address of this machine or of the local network."),
    )
    stands_in = models.BooleanField(
        _("stands in for others"),
        default=True,
        help_text=_("Take over a reply that another gateway of the same model could not begin."),
    )
    # False once it has refused stream_options.include_usage.
    takes_include_usage = models.BooleanField(default=True, editable=False)
    listed_at = models.DateTimeField(_("models listed"), null=True, editable=False)
    listing_error = models.CharField(max_length=500, blank=True, editable=False)

    objects = GatewayQuerySet.as_manager()

    class Meta:
        ordering = ["position", "id"]
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        """The secret that calls carry; it lives in the environment, never in this row."""
        return next((g["key"] for g in settings.GATEWAYS if g["slug"] == self.slug), "")

    @classmethod
    def sync_environment(cls) -> None:
        """Make the rows say what the environment says now; a gateway that left it is switched off."""
        with transaction.atomic():
            named = {g["slug"]: (place, g) for place, g in enumerate(settings.GATEWAYS)}
            cls.objects.filter(source=cls.Source.ENVIRONMENT).exclude(slug__in=named).update(
                enabled=False
            )
            for slug, (place, found) in named.items():
                facts = {
                    "name": found["name"],
                    "base_url": found["base_url"],
                    "currency": found["currency"],
                    "source": cls.Source.ENVIRONMENT,
                    "enabled": True,
                    "position": place,
                }
                row = cls.objects.filter(slug=slug).first()
                if row and row.base_url != found["base_url"]:
                    # Another server stands behind the name: what was learned of the old one is void.
                    facts |= {"takes_include_usage": True, "listed_at": None}
                    row.language_models.all().delete()
                cls.objects.update_or_create(slug=slug, defaults=facts)

    @classmethod
    def choose(cls, model: str, slug: str = "") -> "Gateway":
        """The gateway that a send goes to; raises NoGateway.

        By its slug; else the first that lists the model; else the first that isn't the demo.
        """
        usable = list(cls.objects.usable())
        if slug:
            usable = [gateway for gateway in usable if gateway.slug == slug]
        elif model:
            lists_it = set(
                LanguageModel.objects.filter(name=model).values_list("gateway_id", flat=True)
            )
            if listing := [gateway for gateway in usable if gateway.pk in lists_it]:
                return listing[0]
        if not usable:
            raise NoGateway
        return next((g for g in usable if g.slug != "demo"), usable[0])

    def stand_ins(self, model: str) -> list["Gateway"]:
        """The other gateways that list the model and may take over, in the owner's order."""
        if not model:
            return []
        others = Gateway.objects.usable().filter(stands_in=True, language_models__name=model)
        return list(others.exclude(pk=self.pk))

    def default_model(self) -> str:
        """The id that stands for an empty model field: the first that the gateway lists, or ''."""
        first = self.language_models.order_by("position", "id").first()
        return first.name if first else ""

    @transaction.atomic
    def replace_models(self, names: list[str]) -> None:
        """Take over what the gateway lists now, in its order."""
        self.language_models.exclude(name__in=names).delete()
        LanguageModel.objects.bulk_create(
            [LanguageModel(gateway=self, name=n, position=i) for i, n in enumerate(names)],
            update_conflicts=True,
            unique_fields=["gateway", "name"],
            update_fields=["position"],
        )
        Gateway.objects.filter(pk=self.pk).update(listed_at=timezone.now(), listing_error="")

    def note_listing_error(self, error: str) -> None:
        Gateway.objects.filter(pk=self.pk).update(listing_error=error[:500])


def validate_model_name(name: str) -> None:
    """A model's id is opaque, but it is one short line."""
    if len(name) > MAX_MODEL_NAME or not name.isprintable():
        raise ValidationError(_("This is not a model's name."), code="model")


class LanguageModel(models.Model):
    gateway = models.ForeignKey(Gateway, models.CASCADE, related_name="language_models")
    name = models.CharField(_("name"), max_length=MAX_MODEL_NAME)
    position = models.PositiveIntegerField(default=0)
    is_hidden = models.BooleanField(_("hidden"), default=False)
    is_default = models.BooleanField(_("default"), default=False)
    is_title_model = models.BooleanField(_("writes titles"), default=False)
    # Empty: for everybody.
    groups = models.ManyToManyField(Group, blank=True, verbose_name=_("only for the groups"))

    class Meta:
        ordering = ["gateway__position", "position", "id"]
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

    @classmethod
    def title_model(cls) -> "LanguageModel | None":
        """The cheap one that an owner picked to write titles."""
        chosen = cls.objects.filter(is_title_model=True, gateway__enabled=True)
        return chosen.select_related("gateway").first()
