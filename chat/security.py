"""The log of what matters to safety: who came in, who may what, whose keys changed, who read what.

Its logger is `chat.security`, apart from the rest. Events are noted where rows change, so that none is
missed whatever changed them: a form, the admin, a command. `by` is who did it: a person's name, or
`command` outside of a request. No text, no password, no key is ever among the facts.
"""

import logging
from typing import Any

from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver

from chat.logs import current_request
from chat.models import Gateway, Passkey, SecondFactor, User

logger = logging.getLogger(__name__)
# Of a person's row, what decides over rights.
_RIGHTS = ("is_active", "is_superuser", "is_staff")


def note(event: str, *, level: int = logging.INFO, **facts: Any) -> None:
    """Write an event down, with who did it and from where."""
    request = current_request()
    who = getattr(request, "user", None)
    told = {
        "event": event,
        **facts,
        "by": getattr(who, "username", "") or ("anonymous" if request else "command"),
        "address": request.META.get("REMOTE_ADDR", "") if request else "",
    }
    logger.log(level, event, extra={name: value for name, value in told.items() if value != ""})


@receiver(user_logged_in)
def _came_in(user: User, request: Any = None, **_: Any) -> None:
    note("login", user=user.username, how=str(getattr(request, "entered_by", "")))


@receiver(user_logged_out)
def _went_out(user: User | None, **_: Any) -> None:
    if user is not None and not isinstance(user, AnonymousUser):
        note("logout", user=user.username)


@receiver(user_login_failed)
def _was_refused(credentials: dict[str, Any], **_: Any) -> None:
    """Only a name that there is: what was typed into the wrong field may be a password."""
    name = str(credentials.get("username") or "")
    known = User.objects.filter(username__iexact=name).values_list("username", flat=True).first()
    note("login_failed", level=logging.WARNING, user=known or "(unknown)")


@receiver(pre_save, sender=User)
def _will_change(instance: User, update_fields: Any = None, **_: Any) -> None:
    told = set(update_fields or (*_RIGHTS, "password"))
    instance._events = []
    if instance._state.adding:
        instance._events.append(("user_created", _rights_of(instance)))
        return
    # Set by `set_password`, but not where a hash is only brought up to date.
    if "password" in told and getattr(instance, "_password", None) is not None:
        instance._events.append(("password_changed", {}))
    if not told.intersection(_RIGHTS):
        return
    before = User.objects.filter(pk=instance.pk).values(*_RIGHTS).first()
    if before and before != _rights_of(instance):
        changed = {
            name: is_so for name, is_so in _rights_of(instance).items() if before[name] != is_so
        }
        instance._events.append(("rights_changed", changed))


@receiver(post_save, sender=User)
def _has_changed(instance: User, **_: Any) -> None:
    for event, facts in getattr(instance, "_events", ()):
        note(event, user=instance.username, **facts)


def _rights_of(user: User) -> dict[str, bool]:
    return {name: bool(getattr(user, name)) for name in _RIGHTS}


@receiver(m2m_changed, sender=User.groups.through)
def _roles_changed(
    instance: Any, action: str, pk_set: set[int] | None, reverse: bool, **_: Any
) -> None:
    verb = {"post_add": "given", "post_remove": "taken", "post_clear": "taken"}.get(action)
    if verb is None or (action != "post_clear" and not pk_set):
        return
    users = [instance.username] if not reverse else _names(User, "username", pk_set)
    groups = _names(Group, "name", pk_set) if not reverse else [instance.name]
    note(f"roles_{verb}", user=", ".join(users) or "(all)", roles=", ".join(groups) or "(all)")


def _names(model: Any, field: str, pks: set[int] | None) -> list[str]:
    return sorted(model.objects.filter(pk__in=pks or ()).values_list(field, flat=True))


@receiver(post_save, sender=SecondFactor)
def _second_factor_is_on(
    instance: SecondFactor, update_fields: frozenset[str] | None, **_: Any
) -> None:
    if update_fields and "confirmed_at" in update_fields:
        note("second_factor_on", user=instance.user.username)


@receiver(post_delete, sender=SecondFactor)
def _second_factor_is_off(instance: SecondFactor, **_: Any) -> None:
    if instance.confirmed_at:
        note("second_factor_off", user=instance.user.username)


@receiver(post_save, sender=Passkey)
def _passkey_is_added(instance: Passkey, created: bool, **_: Any) -> None:
    if created:
        note("passkey_added", user=instance.user.username)


@receiver(post_delete, sender=Passkey)
def _passkey_is_gone(instance: Passkey, **_: Any) -> None:
    note("passkey_removed", user=instance.user.username)


@receiver(pre_save, sender=Gateway)
def _gateway_will_change(instance: Gateway, **_: Any) -> None:
    before = Gateway.objects.filter(pk=instance.pk).values("sealed_key", "base_url").first()
    if before is None:
        note("gateway_added", gateway=instance.slug)
        return
    for field, event in (("sealed_key", "gateway_key_changed"), ("base_url", "gateway_moved")):
        if before[field] != getattr(instance, field):
            note(event, gateway=instance.slug)


@receiver(post_delete, sender=Gateway)
def _gateway_is_gone(instance: Gateway, **_: Any) -> None:
    note("gateway_deleted", gateway=instance.slug)
