"""Gateways: where they are, as whom they are asked, what they said last."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import OuterRef, Subquery, Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from . import secrets
from .money import MAX_NANO, NANO

MAX_MODEL_NAME = 200
MAX_REFUSING_MODELS = 500
RATE_DAYS = 7
DEMO_POSITION = 1000
# They say of themselves that a last message of the assistant's is the beginning of its reply.
TAKE_PREFILL = ("openrouter", "demo")


class GatewayQuerySet(models.QuerySet["Gateway"]):
    def usable(self) -> "GatewayQuerySet":
        return self.filter(enabled=True)

    def with_spending(self) -> "GatewayQuerySet":
        """With `spent_nano`: what the calls of the last week cost, in the gateway's own currency."""
        from .calls import Call

        calls = Call.objects.filter(
            gateway=OuterRef("pk"),
            currency=OuterRef("currency"),
            started_at__gte=timezone.now() - timedelta(days=RATE_DAYS),
        )
        total = calls.order_by().values("gateway").annotate(sum=Sum("cost_nano")).values("sum")
        return self.annotate(spent_nano=Subquery(total))


class Gateway(models.Model):
    class Source(models.TextChoices):
        ENVIRONMENT = "environment", _("environment")
        DATABASE = "database", _("database")

    class Continuation(models.TextChoices):
        """What follows the conversation where a reply that was cut is to be continued."""

        REQUEST = "request", _("a request to go on")
        PREFILL = "prefill", _("the reply's beginning, last")
        PREFIX = "prefix", _('the reply\'s beginning, last, with "prefix": true')
        FINAL = "final", _('the reply\'s beginning, last, with "continue_final_message": true')

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
    takes_any_model = models.BooleanField(
        _("takes models that it doesn't list"),
        default=True,
        help_text=_("Off: only administrators may type other names than those listed."),
    )
    continuation = models.CharField(
        _("continues a cut reply after"),
        max_length=10,
        choices=Continuation,
        default=Continuation.REQUEST,
        db_default=Continuation.REQUEST,
        help_text=_("Where a model refuses the beginning, it is asked to go on instead."),
    )
    # False once it has refused stream_options.include_usage.
    takes_include_usage = models.BooleanField(default=True, editable=False)
    # {model: [parameter, ...]} that it has refused; NULL is none.
    refused_parameters = models.JSONField(null=True, editable=False)
    listed_at = models.DateTimeField(_("models listed"), null=True, editable=False)
    # Why they could not be listed last: the fields of the error.
    listing_failure = models.JSONField(null=True, editable=False)
    # 10^-9 of the currency; NULL where the gateway doesn't tell.
    balance_nano = models.BigIntegerField(null=True, editable=False)
    balance_at = models.DateTimeField(_("balance asked"), null=True, editable=False)

    objects = GatewayQuerySet.as_manager()

    class Meta:
        ordering = ["position", "id"]
        verbose_name = _("gateway")
        verbose_name_plural = _("gateways")

    def __str__(self) -> str:
        return self.name

    # --- who asks, and where ------------------------------------------------------------------

    @property
    def is_from_environment(self) -> bool:
        return self.source == self.Source.ENVIRONMENT

    @property
    def key(self) -> str:
        """The secret that calls carry: the environment's, else the sealed one; raises Unsealable."""
        if self.is_from_environment:
            return next((g["key"] for g in settings.GATEWAYS if g["slug"] == self.slug), "")
        return secrets.unseal(self.sealed_key) if self.sealed_key else ""

    @key.setter
    def key(self, key: str) -> None:
        self.sealed_key = secrets.seal(key) if key else ""

    @property
    def allows_private(self) -> bool:
        """Whoever sets the environment has said so by it."""
        return self.is_private_allowed or self.is_from_environment

    @classmethod
    def reseal_keys(cls) -> tuple[int, list[str]]:
        """Seal every key under the newest secret: how many, and the gateways whose can't be opened."""
        return secrets.reseal_column(cls.objects.all(), "sealed_key", "slug")

    @classmethod
    def sync_environment(cls) -> None:
        """Make the rows say what the environment says now.

        A gateway that left it is switched off, and from then on is one of the database's.
        """
        with transaction.atomic():
            named = {g["slug"]: (place, g) for place, g in enumerate(settings.GATEWAYS)}
            cls.objects.filter(source=cls.Source.ENVIRONMENT).exclude(slug__in=named).update(
                enabled=False, source=cls.Source.DATABASE
            )
            for slug, (place, found) in named.items():
                facts = {
                    "name": found["name"],
                    "base_url": found["base_url"],
                    "currency": found["currency"],
                    "source": cls.Source.ENVIRONMENT,
                    "enabled": True,
                }
                row = cls.objects.filter(slug=slug).first()
                if row and row.base_url != found["base_url"]:
                    row.forget()
                # The administrators' once the row is there; the demo begins as the last.
                decided = {"position": DEMO_POSITION if slug == "demo" else place}
                if slug in TAKE_PREFILL:
                    decided["continuation"] = cls.Continuation.PREFILL
                cls.objects.update_or_create(
                    slug=slug, defaults=facts, create_defaults=facts | decided
                )

    # --- what it said last --------------------------------------------------------------------

    @transaction.atomic
    def replace_models(self, names: list[str]) -> None:
        """Take over what the gateway lists now, in its order; what was decided of a model stays."""
        self._unlist(but=names)
        model = self.language_models.model
        model.objects.bulk_create(
            [model(gateway=self, name=n, position=i) for i, n in enumerate(names)],
            update_conflicts=True,
            unique_fields=["gateway", "name"],
            update_fields=["position", "is_listed"],
        )
        Gateway.objects.filter(pk=self.pk).update(listed_at=timezone.now(), listing_failure=None)

    def note_listing_failure(self, failure: dict[str, Any]) -> None:
        """Keep the fields of the error that kept it from being listed."""
        Gateway.objects.filter(pk=self.pk).update(listing_failure=failure)

    @transaction.atomic
    def note_refused(self, model: str, parameters: Sequence[str]) -> None:
        """Keep which parameters a model of it does not take."""
        row = Gateway.objects.select_for_update().get(pk=self.pk)
        refused = row.refused_parameters or {}
        known = refused.pop(model, [])
        refused[model] = list(dict.fromkeys([*known, *parameters]))
        newest = dict(list(refused.items())[-MAX_REFUSING_MODELS:])
        Gateway.objects.filter(pk=self.pk).update(refused_parameters=newest)

    def note_balance(self, amount: Decimal | None) -> None:
        """Keep what is left, in its currency; None, where it doesn't tell, leaves what was known."""
        if amount is None or not abs(amount) * NANO <= MAX_NANO:
            return
        self.balance_nano, self.balance_at = round(amount * NANO), timezone.now()
        with transaction.atomic():
            Gateway.objects.filter(pk=self.pk).update(
                balance_nano=self.balance_nano, balance_at=self.balance_at
            )
            self.balances.create(at=self.balance_at, nano=self.balance_nano, currency=self.currency)

    @transaction.atomic
    def forget(self) -> None:
        """Another server stands behind the name: what was learned of the old one is void."""
        self._unlist()
        void = {
            "takes_include_usage": True,
            "refused_parameters": None,
            "listed_at": None,
            "listing_failure": None,
            "balance_nano": None,
            "balance_at": None,
        }
        for name, value in void.items():
            setattr(self, name, value)
        Gateway.objects.filter(pk=self.pk).update(**void)
        self.balances.all().delete()
        listed = self.prices.filter(source="gateway", valid_until=None)
        listed.update(valid_until=timezone.now())

    def _unlist(self, but: Iterable[str] = ()) -> None:
        """Drop the models that aren't listed; those that were decided about only leave the list."""
        gone = self.language_models.exclude(name__in=but)
        gone.exclude(pk__in=gone.marked().values("pk")).delete()
        gone.update(is_listed=False)

    # --- money --------------------------------------------------------------------------------

    @property
    def balance(self) -> Decimal | None:
        """What was left at `balance_at`, in its currency; None is unknown."""
        return None if self.balance_nano is None else Decimal(self.balance_nano) / NANO

    @property
    def days_left(self) -> int | None:
        """How long the balance lasts at the rate of the last week; needs `with_spending`."""
        spent_nano = getattr(self, "spent_nano", None)
        if not spent_nano or self.balance_nano is None:
            return None
        return max(0, self.balance_nano * RATE_DAYS // int(spent_nano))
