"""What is done beside the replies: forgetting, purging, cleaning after an erasure, settling budgets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from chat.models import Charge, Command, Erasure, LoginAttempt, Purge
from chat.models.sessions import forget_over

from .database import in_database

logger = logging.getLogger(__name__)
# Looked for more often than it is due: a process may be restarted each day, or never.
EVERY_S = 3600.0


async def tidy_forever() -> None:
    while True:
        for chore in (_forget, _purge, _clean, _settle):
            await _undisturbed(chore)
        await asyncio.sleep(EVERY_S)


async def _undisturbed(chore: Callable[[], Awaitable[None]]) -> None:
    """One that fails keeps none of the others, and is tried again."""
    try:
        await chore()
    except Exception:
        logger.exception("A daily chore failed: %s", chore.__name__.strip("_"))


async def _forget() -> None:
    await in_database(Command.forget_old)()
    await in_database(LoginAttempt.forget_old)()
    await in_database(forget_over)()


async def _purge() -> None:
    """By one process of several, a batch at a time, so that nobody waits for all of it."""
    purge = await in_database(Purge.begin)()
    if purge is None:
        return
    while await in_database(purge.step)():
        pass
    await in_database(purge.refresh_from_db)()
    if purge.conversations or purge.messages:
        logger.info(
            "Purged %d conversations, %d messages in all", purge.conversations, purge.messages
        )


async def _clean() -> None:
    """After an erasure whose files could not be cleaned at once."""
    await in_database(Erasure.clean_files)()


async def _settle() -> None:
    """What budgets still hold for calls that nobody settled: of a deleted conversation, say."""
    await in_database(Charge.settle_left)()
