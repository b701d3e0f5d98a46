"""The table of who may what (tests/access.py), walked for the socket: each frame by each person.

In this process, with the consumer behind its check of origins as `chat.asgi` puts it up.
"""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission

from chat.doctor import probe
from chat.page.consumers import PROTOCOL, Socket
from tests.access import FRAMES, OWNED, PEOPLE, STRANGERS, World
from tests.line import Line, asgi, session_of

pytestmark = pytest.mark.usefixtures("plain_static")


@pytest.fixture
def world(transactional_db) -> World:
    made = World()
    right = Permission.objects.get(codename="view_conversation")
    made.people["reviewer"].user_permissions.add(right)
    made.sessions = {who: session_of(made.people.get(who)) for who in PEOPLE}
    return made


def frames_of(name: str, ids: dict[str, Any]) -> dict[str, Any]:
    """The frame of this kind, about these rows."""
    watch = {"protocol": PROTOCOL, "conversation": str(ids["conversation"]), "version": 0}
    return {"watch": {"watch": watch}, "ack": {"ack": 1}}[name]


def test_every_socket_and_every_frame_is_in_the_table():
    assert set(asgi.sockets) == {"/ws/", probe.SOCKET_PATH}
    assert set(Socket.frames) == set(FRAMES)


async def test_a_frame_answers_each_as_the_table_says(world):
    nobodys = {"conversation": uuid4()}
    wrong = []
    for who in PEOPLE:
        for name, whose in FRAMES.items():
            line = await Line(world.sessions[who]).open()
            if who in STRANGERS:
                if (line.closed, line.frames) != (4401, []):
                    wrong.append((who, name, line.closed, line.frames))
                await line.close()
                continue
            await line.say(frames_of(name, world.ids))
            is_told = whose == OWNED and who == "owner"
            closes = 4404 if whose == OWNED and not is_told else None
            if closes or is_told:
                await line.listen(lambda line=line: "Because." in line.words)
            else:
                await line.settle()
            if line.closed != closes or ("Because." in line.words) is not is_told:
                wrong.append((who, name, line.closed, line.words))
            await line.close()
            if closes:
                other = await Line(world.sessions[who]).open()
                await other.say(frames_of(name, nobodys))
                await other.listen(lambda: False)
                if (other.closed, other.frames) != (line.closed, line.frames):
                    wrong.append((who, name, "unlike what isn't there"))
                await other.close()
    assert wrong == []


async def test_ids_within_a_frame_that_are_anothers_are_nobodys(world):
    """The ends of what a page holds, and the replies whose text it has."""

    async def told(message: str) -> list[dict[str, Any]]:
        line = await Line(world.sessions["other"]).open()
        watch = {"protocol": PROTOCOL, "conversation": world.others["conversation"]}
        ends = {"first": message, "last": message, "cursors": {message: [1, 0, 0]}}
        await line.say({"watch": {**watch, "version": 0, **ends}})
        await line.listen(lambda: any("ops" in each for each in line.frames))
        await line.settle()
        await line.close()
        return line.frames

    assert await told(str(world.reply.uuid)) == await told(str(uuid4()))


async def test_a_foreign_origin_opens_nothing_for_the_owner_either(world):
    line = Line(world.sessions["owner"], origin="http://evil.example")
    await line.open()
    assert (line.closed, line.frames) == (1000, [])
