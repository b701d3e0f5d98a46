"""The administration in this process: one person of each role, and a conversation with its calls."""

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat.models import Call, Conversation, Gateway, Generation, User
from chat.models.calls import CallEnd
from chat.models.generations import Checkpoint, Outcome
from chat.models.people import ROLES
from tests.people import browser

NANO_UNIT = 1_000_000_000


@pytest.fixture
def people():
    """One person of each role."""
    found = {"owner": User.create_owner("owner", "a-long-password-1")}
    for role in ROLES[1:]:
        found[role] = User.objects.create_user(role, password="a-long-password-1")
        found[role].groups.add(Group.objects.get(name=role))
    return found


@pytest.fixture
def reviewer(people):
    return browser(people["reviewer"])


@pytest.fixture
def gateway(settings):
    settings.GATEWAYS = [
        {
            "slug": "openai",
            "name": "OpenAI",
            "base_url": "https://gateway.example/v1",
            "key": "the-secret-of-the-gateway-7f3a",
            "currency": "USD",
        }
    ]
    Gateway.sync_environment()
    return Gateway.objects.get(slug="openai")


@pytest.fixture
def conversation(people, gateway):
    """The member's: a question, a first answer, and a second one that failed."""
    reply = ask(people["member"], "How do rivers begin?", gateway)
    answer(reply, "They begin **high up**.", **USAGE)
    answer(reply.regenerate(), "", Outcome("failed", "", "server", "upstream said no"))
    return reply.conversation


USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 30,
    "total_tokens": 42,
    "confidence": "exact",
    "cost_nano": 1_000_000_001,
    "cost_confidence": "exact",
    "currency": "USD",
    "usage_raw": '{"prompt_tokens": 12, "completion_tokens": 30}',
    "request_id": "req-1",
}


def ask(owner, text, gateway, model="gpt-4o"):
    return Conversation.start(owner, text, model, gateway)


def answer(reply, text, outcome=Outcome("complete", "stop"), currency="", **usage):  # noqa: B008
    """Run the queued reply to its end, as a runner would."""
    generation = Generation.claim("test")
    assert generation is not None
    assert generation.message_id == reply.pk
    call = Call.objects.create(
        generation=generation,
        message=reply,
        gateway=reply.gateway,
        gateway_slug=reply.gateway.slug,
        user=generation.user,
        user_key=generation.user.key,
        model=reply.model,
    )
    if text:
        Generation.checkpoint([Checkpoint(generation.pk, generation.fence, (0, 0), "", text, 5)])
    end = CallEnd(
        call.pk,
        error_kind=outcome.error_kind,
        error_message=outcome.error_message,
        finish_reason=outcome.finish_reason,
        currency=currency,
        **usage,
    )
    assert Generation.finish(generation.pk, generation.fence, outcome, end)
    reply.refresh_from_db()
    return reply


def address(name, *args):
    return reverse(f"admin:{name}", args=args)
