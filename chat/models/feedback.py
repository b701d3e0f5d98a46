"""What readers think of replies, and what reviewers make of it."""

from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .messages import Message

MAX_COMMENT_CHARS = 2_000


class Feedback(models.Model):
    """A reader's thumb and words on a reply, then a reviewer's verdict on that."""

    class Rating(models.IntegerChoices):
        DOWN = -1, _("thumbs down")
        UP = 1, _("thumbs up")

    class Verdict(models.TextChoices):
        WRONG = "wrong", _("the model is wrong")
        REFUSED = "refused", _("the model refused without need")
        STYLE = "style", _("right, but badly written")
        UNSAFE = "unsafe", _("harmful")
        DEFECT = "defect", _("a defect of Potok or of the gateway")
        FINE = "fine", _("the reply is fine")

    message = models.OneToOneField(Message, models.CASCADE, verbose_name=_("reply"))
    rating = models.SmallIntegerField(_("rating"), choices=Rating)
    comment = models.TextField(_("comment"), blank=True)
    created_at = models.DateTimeField(_("given"), default=timezone.now)
    verdict = models.CharField(_("verdict"), max_length=10, choices=Verdict, blank=True)
    note = models.TextField(_("note"), blank=True)
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("reviewer"),
    )
    done_at = models.DateTimeField(_("done"), null=True, blank=True)

    class Meta:
        # What is to be done first: thumbs down, the oldest of them.
        ordering = ["rating", "id"]
        indexes = [models.Index(fields=["rating", "id"], name="feedback_queue")]
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")

    def __str__(self) -> str:
        return f"{self.get_rating_display()} {self.created_at:%Y-%m-%d %H:%M}"

    @classmethod
    @transaction.atomic
    def give(cls, message: Message, rating: int, comment: str | None = None) -> None:
        """Keep a reader's word on a reply; rating 0 takes it back, None leaves the comment.

        Whatever is new is to be reviewed anew.
        """
        message.conversation.lock()
        if not rating:
            cls.objects.filter(message=message).delete()
        else:
            said: dict[str, Any] = {"rating": rating}
            if comment is not None:
                said["comment"] = comment[:MAX_COMMENT_CHARS]
            row, is_new = cls.objects.get_or_create(message=message, defaults=said)
            if not is_new and any(getattr(row, name) != value for name, value in said.items()):
                cls.objects.filter(pk=row.pk).update(**said, done_at=None)
        version = message.conversation.bump()
        Message.objects.filter(pk=message.pk).update(version=version)


class Scale(models.Model):
    """What replies are scored by: a name with numbers from low to high, or with labels.

    A label's value is its place, so labels are added at the end and reworded, never reordered.
    """

    name = models.CharField(_("name"), max_length=50, unique=True)
    meaning = models.CharField(_("meaning"), max_length=200, blank=True)
    low = models.SmallIntegerField(_("lowest"), default=1)
    high = models.SmallIntegerField(_("highest"), default=5)
    labels = models.JSONField(_("labels"), default=list, blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name = _("scale")
        verbose_name_plural = _("scales")

    def __str__(self) -> str:
        return self.name

    @property
    def options(self) -> list[tuple[int, str]]:
        """Each value that may be given, and how it is told."""
        if self.labels:
            return [(value, str(label)) for value, label in enumerate(self.labels)]
        return [(value, str(value)) for value in range(self.low, self.high + 1)]

    def told(self, value: int) -> str:
        """A value that the scale no longer has is told as a number."""
        return dict(self.options).get(value, str(value))


class Score(models.Model):
    """What a reviewer gave a reply on a scale, each their own; it outlives the scale."""

    message = models.ForeignKey(Message, models.CASCADE, related_name="scores")
    name = models.CharField(_("name"), max_length=50)
    value = models.SmallIntegerField(_("value"))
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "id"]
        indexes = [models.Index(fields=["name", "value"], name="score_values")]
        constraints = [
            models.UniqueConstraint(fields=["message", "name", "reviewer"], name="score_once")
        ]
        verbose_name = _("score")
        verbose_name_plural = _("scores")

    def __str__(self) -> str:
        return f"{self.name}: {self.value}"

    @classmethod
    @transaction.atomic
    def give(cls, message: Message, reviewer: Any, given: dict[str, int | None]) -> None:
        """Keep a reviewer's values by the names of their scales; None takes one back."""
        mine = cls.objects.filter(message=message, reviewer=reviewer)
        for name, value in given.items():
            if value is None:
                mine.filter(name=name).delete()
            elif not mine.filter(name=name, value=value).exists():
                mine.update_or_create(
                    message=message,
                    reviewer=reviewer,
                    name=name,
                    defaults={"value": value, "created_at": timezone.now()},
                )
