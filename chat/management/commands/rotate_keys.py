"""`manage.py rotate_keys`: seal gateways' keys, and whatever else is sealed, under a new secret."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from chat.models import Gateway, IdentityProvider, SecondFactor, secrets
from chat.security import note


class Command(BaseCommand):
    help = (
        "Seal every gateway's key and every second factor's secret under a new secret, which comes "
        "before the others in the file gateway_keys; with POTOK_SECRETS_KEY set, under the first "
        "one of that."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.SECRETS_KEYS:
            secrets.renew()
        resealed = [Gateway.reseal_keys(), SecondFactor.reseal(), IdentityProvider.reseal()]
        done = sum(count for count, _lost in resealed)
        failed = [name for _count, lost in resealed for name in lost]
        note("secrets_rotated", keys=done)
        self.stdout.write(f"{done} keys are sealed under the newest secret.")
        if failed:
            raise CommandError(
                f"These could not be unsealed and stay as they are: {', '.join(failed)}. "
                "Put the secret that they were sealed under back, or enter the keys again."
            )
