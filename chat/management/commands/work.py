"""`manage.py work`: runs replies beside the processes that serve, in the scaled form."""

import asyncio
import os
import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from chat.allocator import give_back, keep
from chat.models import Gateway, IdentityProvider
from chat.replies.process import process

from .serve import check_migrated

try:
    from uvloop import new_event_loop
except ImportError:  # uvloop has no Windows
    from asyncio import new_event_loop

GRACE_S = 4.0


class Command(BaseCommand):
    help = "Run replies. Any number of workers may run beside any number of `serve`, with Redis."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.EMBEDDED:
            raise CommandError(
                "Without REDIS_URL, `serve` runs the replies itself. Set REDIS_URL and PostgreSQL's"
                " DATABASE_URL to have workers."
            )
        give_back()
        check_migrated()
        # It may be the first of all processes to start.
        Gateway.sync_environment()
        IdentityProvider.sync_environment()
        # The worker's threads make their own.
        connection.close()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        asked = asyncio.Event()

        def end(number: int) -> None:
            """Drain once; a second signal ends at once."""
            if asked.is_set():
                os._exit(128 + number)
            asked.set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        await process.start(runs=True)
        keep()
        self.stdout.write("This worker is ready. Ctrl-C ends it.")
        self.stdout.flush()
        await asked.wait()
        # Whatever misbehaves, the process is gone in time.
        watchdog = threading.Timer(settings.DRAIN_S + GRACE_S, os._exit, [0])
        watchdog.daemon = True
        watchdog.start()
        await process.drain(settings.DRAIN_S)
