"""Some hundreds of hostile texts, requests and frames (tests/corpus.py), each through the real thing."""

from typing import Any

import pytest
from django.http import HttpResponse

from chat.page.consumers import FRAMES_A_SECOND
from chat.rendering.markdown import Growing, render
from tests.access import FIELDS, World
from tests.corpus import BODIES, FRAMES, MARKDOWN, WORDS, encoded
from tests.line import Line, session_of
from tests.test_markdown import faults
from tests.visitor import Visitor

pytestmark = pytest.mark.usefixtures("plain_static")


def test_there_are_some_hundreds_of_each():
    assert len(set(MARKDOWN)) > 1000
    assert len(FRAMES) > 200
    assert len(WORDS) * len(READ) + len(WORDS) * len(WRITTEN) > 500


def test_no_text_gets_anything_into_a_page():
    wrong = []
    for text in MARKDOWN:
        growing = Growing()
        patches = [*growing.grow(text[: len(text) // 2]), *growing.grow(text[len(text) // 2 :])]
        found = [*render(text), *patches, *growing.finish()]
        wrong += [(text, fault) for each in found for fault in faults(each.html)]
    assert wrong == []


# --- requests -------------------------------------------------------------------------------------

# Where a word stands in an address of somebody else's: always the same 404, and never a write.
READ = [
    ("GET", "/c/{}/"),
    ("GET", "/c/{}/export.json"),
    ("POST", "/c/{}/messages/"),
    ("POST", "/m/{}/edit/"),
    ("POST", "/m/{}/delete/"),
    ("GET", "/m/{reply}/pictures/{}/"),
]
# Where it is what somebody tells of their own: any answer but a failure.
WRITTEN = [
    ("POST", "/c/{conversation}/messages/", "text"),
    ("POST", "/c/{conversation}/messages/", "model"),
    ("POST", "/c/{conversation}/messages/", "gateway"),
    ("POST", "/c/{conversation}/messages/", "parent"),
    ("POST", "/c/{conversation}/messages/", "client_key"),
    ("POST", "/c/{conversation}/rename/", "title"),
    ("POST", "/c/{conversation}/read/", "version"),
    ("POST", "/m/{reply}/feedback/", "rating"),
    ("POST", "/m/{reply}/feedback/", "comment"),
    ("POST", "/parameters/", "temperature"),
    ("POST", "/parameters/", "stop"),
    ("POST", "/parameters/", "seed"),
    ("POST", "/settings/", "time_zone"),
    ("POST", "/login/", "username"),
    ("GET", "/search/", "q"),
    ("GET", "/c/{conversation}/", "at"),
    ("GET", "/", "undo"),
    ("GET", "/login/", "next"),
]
HEADERS = [
    *("HX-Request HX-Current-URL HX-Target HX-Trigger Potok-Span Accept-Language Accept".split()),
    *("Origin Referer X-Forwarded-For X-Forwarded-Proto X-Forwarded-Host Forwarded Range".split()),
    *(
        "If-None-Match If-Modified-Since X-CSRFToken Cookie User-Agent X-HTTP-Method-Override".split()
    ),
]


class Judge:
    """What is wrong about answers; places of `other`, who asks, are filled in."""

    def __init__(self) -> None:
        world = World()
        self.visitor = Visitor(world.people["other"])
        self.places = world.others
        self.wrong: list[str] = []

    def look(self, what: str, send: Any) -> HttpResponse | None:
        try:
            answer = send()
        except Exception as error:  # noqa: BLE001
            self.wrong.append(f"{what:.200}: {error!r:.200}")
            return None
        if answer.status_code >= 500:
            self.wrong.append(f"{what:.200}: {answer.status_code}")
        kept = (
            answer.headers.get("Content-Security-Policy", ""),
            answer.headers.get("Set-Cookie", ""),
        )
        if "default-src 'none'" not in kept[0] or "a=b" in kept[1]:
            self.wrong.append(f"{what:.200}: {kept}")
        return answer


@pytest.mark.django_db
def test_no_word_in_an_address_leads_to_what_is_anothers():
    judge = Judge()
    for verb, place in READ:
        for word in WORDS:
            path = place.format(encoded(word), **judge.places)
            answer = judge.look(f"{verb} {path}", lambda v=verb, p=path: judge.visitor.ask(v, p))
            # An empty word, or one that leads elsewhere, is another address.
            if answer is not None and answer.status_code < 400 and "/c//" not in path:
                judge.wrong.append(f"{verb} {path:.200}: {answer.status_code}")
            if judge.visitor.written:
                judge.wrong.append(f"{verb} {path:.200} wrote {judge.visitor.written}")
    assert judge.wrong == []


@pytest.mark.django_db
def test_no_word_in_a_field_or_a_query_makes_a_request_fail():
    judge = Judge()
    for verb, place, name in WRITTEN:
        path = place.format(**judge.places)
        for word in WORDS:
            body = "&".join(
                f"{key}={value}" for key, value in (FIELDS | {name: encoded(word)}).items()
            )
            if verb == "GET":
                judge.look(
                    f"GET {path} {name} {word!r}",
                    lambda p=path, n=name, w=word: judge.visitor.ask(
                        "GET", f"{p}?{n}={encoded(w)}"
                    ),
                )
            else:
                judge.look(
                    f"POST {path} {name} {word!r}",
                    lambda p=path, b=body: judge.visitor.send(
                        "POST", p, b.encode(), "application/x-www-form-urlencoded"
                    ),
                )
    assert judge.wrong == []


@pytest.mark.django_db
def test_no_body_makes_a_request_fail():
    judge = Judge()
    for place in (
        "/messages/",
        "/c/{conversation}/messages/",
        "/m/{reply}/edit/",
        "/login/",
        "/parameters/",
    ):
        path = place.format(**judge.places)
        for body, kind in BODIES:
            judge.look(
                f"{path} {kind:.60} {body[:60]!r}",
                lambda p=path, b=body, k=kind: judge.visitor.send("POST", p, b, k),
            )
    assert judge.wrong == []


@pytest.mark.django_db
def test_no_header_makes_a_request_fail():
    judge = Judge()
    # A server takes no NUL and no line end in a header; a word of 70,000 letters it refuses as well.
    words = [word for word in WORDS if not {"\0", "\r", "\n"} & set(word) and len(word) < 10_000]
    for name in HEADERS:
        # What is read for every page alike is read for the shortest.
        is_of_pages = name.startswith(("HX-", "Potok-"))
        path = "/c/{conversation}/".format(**judge.places) if is_of_pages else "/c/nothing/"
        for word in words:
            told = word.encode("utf-8", "surrogatepass").decode("latin-1")
            judge.look(
                f"{name}: {word!r}",
                lambda p=path, n=name, t=told: judge.visitor.ask("GET", p, **{n: t}),
            )
    assert judge.wrong == []


# --- frames ---------------------------------------------------------------------------------------


@pytest.fixture
def asked(transactional_db) -> tuple[str, str]:
    """The session of `other`, and a conversation of theirs."""
    world = World()
    return session_of(world.people["other"]), world.others["conversation"]


async def test_no_frame_ends_a_socket_or_keeps_it_from_its_work(asked):
    session, conversation = asked
    errors = 0
    for frames in batches(FRAMES, FRAMES_A_SECOND - 10):
        line = await Line(session).open()
        for frame in frames:
            await line.say(frame)
        await line.say({"watch": {"conversation": conversation, "version": 0}})
        await line.listen(lambda line=line: "Because." in line.words)
        assert line.closed is None, [frame[:100] for frame in frames]
        errors += sum("error" in each for each in line.frames)
        await line.close()
    assert errors > 100


def batches(frames: list[Any], size: int) -> list[list[Any]]:
    return [frames[at : at + size] for at in range(0, len(frames), size)]
