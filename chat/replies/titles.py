"""A short title for a conversation, by a cheap model that an owner picked; nothing waits for it."""

import logging
from functools import partial
from typing import Any

from django.conf import settings

from chat.models import Call, Conversation, LanguageModel, Message
from chat.models.budgets import OverBudget
from chat.models.calls import CallEnd
from chat.upstream.client import Client, Endpoint
from chat.upstream.errors import GatewayError

from . import weights
from .attempt import reported
from .database import in_database
from .endpoints import endpoint_of, note_taught

logger = logging.getLogger(__name__)
EXCERPT_CHARS = 1500
MAX_TOKENS = 40
TOTAL_S = 60
TASK = (
    "Give this conversation a title of two to six words, in the language of the conversation."
    " Answer with the title alone: no quotes, no full stop, no Markdown."
)


async def give(client: Client, conversation: int) -> None:
    """Ask for a title once the first reply is there; without a title model nothing is asked."""
    found = await in_database(_due)(conversation) if settings.TITLES else None
    if found is None:
        return
    row, model, excerpt = found
    body = {
        "model": model.name,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "system", "content": TASK}, {"role": "user", "content": excerpt}],
    }
    try:
        endpoint: Endpoint | None = endpoint_of(model.gateway)
    except GatewayError as error:
        logger.info("No title for conversation %d: %s", conversation, error.kind)
        return
    while endpoint:
        try:
            call = await in_database(_begin)(row, model, body)
        except OverBudget:
            logger.info("No title for conversation %d: over budget", conversation)
            return
        try:
            completion = await client.complete(endpoint, body, total_s=TOTAL_S)
        except GatewayError as error:
            # Not the gateway's words, which may quote what was said.
            logger.info("No title for conversation %d: %s", conversation, error.kind)
            end = CallEnd(call.pk, error_kind=error.kind, error_message=error.message or "")
            endpoint = endpoint.taught_by(error, body)
            await in_database(_note_failure)(model, end, endpoint)
        else:
            used = reported(completion.usage) if completion.usage else {}
            end = CallEnd(call.pk, finish_reason=completion.finish_reason or "", **used)
            await in_database(_take)(conversation, end, one_line(completion.text))
            return


def one_line(text: str) -> str:
    """A model's answer as a title: the first line, without the dressing that models put on."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line.strip("#*_`\"'«»“”„ ").rstrip(".").strip()


def _due(conversation: int) -> tuple[Conversation, LanguageModel, str] | None:
    row = Conversation.objects.alive().select_related("owner").filter(pk=conversation).first()
    model = LanguageModel.title_model()
    if row is None or model is None or row.title_source != Conversation.TitleSource.WORDS:
        return None
    turns = list(row.branch().values_list("role", "text")[:3])
    if len(turns) != 2 or turns[1][0] != Message.Role.ASSISTANT:
        return None
    excerpt = "\n\n".join(f"{role}: {text[:EXCERPT_CHARS]}" for role, text in turns)
    return row, model, excerpt


def _begin(row: Conversation, model: LanguageModel, body: dict[str, Any]) -> Call:
    place = (model.gateway, model.name)
    return Call.begin_title(row, *place, partial(weights.of_call, *place, body["messages"], body))


def _note_failure(model: LanguageModel, end: CallEnd, endpoint: Endpoint | None) -> None:
    Call.end(end)
    if endpoint:
        note_taught(model.gateway, endpoint, model.name)


def _take(conversation: int, end: CallEnd, title: str) -> None:
    Call.end(end)
    row = Conversation.objects.alive().select_related("owner").filter(pk=conversation).first()
    if row is not None:
        row.take_title(title)
