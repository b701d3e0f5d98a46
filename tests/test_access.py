"""The table of who may what (tests/access.py), walked: each address, by each person, by each verb.

Whatever is refused is refused without a write, and what isn't mine answers as what isn't there does.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.forms import BaseForm
from django.http import HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver

from tests.access import (
    ADDRESSES,
    FIELDS,
    KINDS,
    NO_PAGE,
    OPEN,
    OTHER_VERBS,
    OWNED,
    PEOPLE,
    REACHES_OUT,
    STAFF,
    STAFF_ROLES,
    STRANGERS,
    TELLS_ITS_VERBS,
    VERBS,
    At,
    World,
    staff_address,
)
from tests.server import ROOT
from tests.visitor import Visitor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("plain_static")]
HTMX = {"HX-Request": "true"}


def patterns(resolver: URLResolver, before: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    """Each address: its name and its pattern."""
    for each in resolver.url_patterns:
        path = before + str(each.pattern)
        if isinstance(each, URLPattern):
            yield space + (each.name or path), path
        else:
            yield from patterns(each, path, f"{each.namespace}:" if each.namespace else space)


FOUND = list(patterns(get_resolver()))
ALL = dict(FOUND)
STAFF_PATHS = {
    name.removeprefix("admin:"): path for name, path in ALL.items() if path.startswith("admin/")
}
LETTERS = {role: letter for letter, role in STAFF_ROLES.items()}


def test_every_address_is_in_the_table():
    assert len(ALL) == len(FOUND)  # of two with one name, one would be asked by nobody
    own = {name: path for name, path in ALL.items() if not path.startswith("admin/")}
    shapes = {name: re.sub(r"<[^>]*>", "{}", f"/{path}") for name, path in own.items()}
    assert {name: re.sub(r"{\w+}", "{}", at.path) for name, at in ADDRESSES.items()} == shapes
    assert set(STAFF) == set(STAFF_PATHS)


def differences(first: HttpResponse, second: HttpResponse, *names: str) -> list[str]:
    """Between two answers, headers included, but for these names and what chance put into them."""

    def told(answer: HttpResponse) -> list[str]:
        page = answer.content.decode(errors="replace")  # a picture is no text
        for name in names:
            page = page.replace(name, "ID")
        headers = [
            f"{key}: {value}"
            for key, value in sorted(answer.headers.items())
            if key not in ("Content-Length", "X-Request-ID")
        ]
        whole = "\n".join([str(answer.status_code), *headers, page])
        return without_chance(whole).splitlines()

    return list(difflib.unified_diff(told(first), told(second), n=0))


def is_sent_to_login(answer: HttpResponse, goal: str, status: int = 302) -> bool:
    """And from there to `goal`; a program and htmx are told so by 401 and a header of their own."""
    where = answer.headers.get("HX-Redirect" if status == 401 else "Location")
    return (answer.status_code, where) == (status, f"/login/?next={goal}")


def unknown(ids: dict[str, Any]) -> dict[str, Any]:
    """Ids of the same kinds that nothing has."""
    return {
        name: value if name == "slug" else 10**9 if isinstance(value, int) else str(uuid4())
        for name, value in ids.items()
    }


def verbs(who: str, most: str) -> tuple[str, ...]:
    """By which this person asks; `most` is who may most at these addresses."""
    return VERBS + OTHER_VERBS if who in (most, "other", "anonymous") else VERBS


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", PEOPLE)
def test_an_address_answers_each_as_the_table_says(who):
    world = World()
    visitor, wrong = Visitor(world.people.get(who)), []
    for name, at in ADDRESSES.items():
        path = at.path.format(**world.ids)
        nowhere = at.path.format(**unknown(world.ids))
        for verb in verbs(who, "owner"):
            wanted, is_refused = expected(name, at, who, verb)
            for headers in ({}, HTMX) if is_refused else ({},):
                answer, unlike = visitor.ask(verb, path, **headers), []
                written = visitor.written if is_refused else []
                if wanted == 404 and is_refused:
                    unlike = differences(answer, visitor.ask(verb, nowhere, **headers))
                if not is_as_told(answer, at, wanted) or written or unlike:
                    got = f"{who} {verb} {name} {headers}: {answer.status_code} {answer.headers}"
                    wrong.append(f"{got}, not {wanted}, or it wrote {written}, or {unlike}")
    assert wrong == []


def expected(name: str, at: At, who: str, verb: str) -> tuple[int | str, bool]:
    """The status (or `login`) of the table, and whether the request is refused."""
    is_member = who not in STRANGERS
    if name == "login" and is_member:
        return 302, True  # whoever is in already goes on, by whatever verb
    if verb == "OPTIONS" and name in TELLS_ITS_VERBS:
        return 200, True
    if at.who == OPEN:
        return at.status(verb, is_member=is_member), False
    if not is_member:
        return "login", True
    status = at.status(verb, is_member=True)
    if who != "owner" and (at.who == OWNED or (at.part and status != 405)):
        return 404, True
    return status, status == 405


def is_as_told(answer: HttpResponse, at: At, wanted: int | str) -> bool:
    """The status (or `login`), and what goes with it: the way on, and the verbs that there are."""
    request = answer.wsgi_request
    if wanted == "login":
        is_htmx = "HX-Request" in request.headers
        # What can be opened again once one is logged in.
        goal = request.path if request.method == "GET" and not is_htmx else "/"
        is_program = is_htmx or request.path.endswith(".json")
        return is_sent_to_login(answer, goal, 401 if is_program else 302)
    if wanted == 405:
        answered = {verb for verb in VERBS if at.status(verb, is_member=True) != 405}
        allowed = answer.headers.get("Allow", "").split(", ")
        return answer.status_code == 405 and answered <= set(allowed)
    return answer.status_code == wanted


@pytest.mark.parametrize("who", PEOPLE)
def test_a_page_of_the_administration_opens_for_the_roles_of_the_table(who):
    world = World()
    visitor, wrong = Visitor(world.people.get(who)), []
    for name, path in STAFF_PATHS.items():
        address = staff_address(path, world.pks, world.reply.uuid)
        sees, does = STAFF[name]
        for verb in verbs(who, "superuser"):
            may = LETTERS.get(who, "none") in (does if verb == "POST" else sees)
            if may and verb == "POST" and name in REACHES_OUT:
                continue
            answer = visitor.ask(verb, address)
            got = f"{who} {verb} {name} {address}: {answer.status_code}"
            if name == "login":
                is_right = (answer.status_code, answer["Location"]) == (302, "/login/")
            elif who in STRANGERS:
                is_right = is_sent_to_login(answer, address)
            elif verb in OTHER_VERBS and who != "other":
                is_right = answer.status_code < 500  # they may all be refused
            elif may and verb == "GET":
                is_right = answer.status_code == NO_PAGE.get(name, 200)
            elif may:
                is_right = answer.status_code < 500 and answer.status_code != 403
            else:
                is_right = answer.status_code == 403
            if not is_right:
                wrong.append(got)
            written = set(visitor.written) - ({"chat_readlog"} if may else set())
            if written and not (may and verb == "POST"):
                wrong.append(f"{got}, and wrote {written}")
    assert wrong == []


@pytest.mark.parametrize("who", ["other", *STAFF_ROLES.values()])
def test_a_forged_post_changes_no_history(who):
    """What no page offers is not done for whoever sends it all the same."""
    world = World()
    visitor, wrong, asked = Visitor(world.people[who]), [], 0
    for kind in [kind for kind, rights in KINDS.items() if rights.is_history]:
        forged = {
            "title": "changed",
            "cost_nano": "1",
            "status": "complete",
            "post": "yes",
            "action": "delete_selected",
            "_selected_action": [str(world.pks[kind.split("_")[1]])],
        }
        for name, (_, does) in KINDS[kind].pages(kind).items():
            if LETTERS.get(who, "none") in does:
                continue
            address = staff_address(STAFF_PATHS[name], world.pks, world.reply.uuid)
            answer, asked = visitor.ask("POST", address, forged), asked + 1
            if answer.status_code != 403 or visitor.written:
                wrong.append(f"{who} {address}: {answer.status_code}, wrote {visitor.written}")
    assert wrong == []
    assert asked > 20


# --- ids that come otherwise than in the address --------------------------------------------------

# Where a request carries the id of a row: verb, address (of `other`'s own rows), how it is carried,
# its name, and which of the owner's rows it names.
CARRIED = [
    ("POST", "/c/{conversation}/messages/", "field", "parent", "message"),
    ("POST", "/messages/", "field", "parent", "message"),
    ("POST", "/m/{question}/edit/", "field", "parent", "message"),
    ("POST", "/c/{conversation}/forecast/", "field", "parent", "message"),
    ("GET", "/", "query", "undo", "deleted"),
    ("GET", "/c/{conversation}/", "query", "at", "message"),
    ("GET", "/c/{conversation}/", "htmx query", "before", "message"),
    ("GET", "/c/{conversation}/", "htmx query", "after", "message"),
    # (Of a search, `before` is a place in an order: only what is one's own is found behind it.)
    ("POST", "/m/{reply}/regenerate/", "span", "", "message"),
    ("GET", "/m/{reply}/pictures/{id}/", "path", "", "picture"),
]
# Every other name under which the chat reads something of a request; none is the id of a row.
OTHERWISE = set(
    """text title model gateway place client_key rating comment version pinned keep recovery needed
    off saved new ended compose q next asked invitation code credential name
    username password password1 password2 old_password new_password1 new_password2
    theme language time_zone enter_sends default_model system_prompt temperature top_p top_k
    max_tokens reasoning_effort verbosity frequency_penalty presence_penalty seed stop""".split()
)


@pytest.mark.parametrize(
    ("verb", "path", "how", "name", "kind"), CARRIED, ids=lambda value: str(value) or "-"
)
def test_an_id_that_is_carried_is_anothers_or_nobodys_all_the_same(verb, path, how, name, kind):
    world = World()
    visitor = Visitor(world.people["other"])
    theirs = str(world.ids[kind])
    nobodys = str(unknown(world.ids)[kind])

    def ask(carried: str) -> HttpResponse:
        where, fields, headers = path.format(id=carried, **world.others), dict(FIELDS), {}
        if how == "field":
            fields[name] = carried
        elif "query" in how:
            where += f"{'&' if '?' in where else '?'}{name}={carried}"
            headers = {"HX-Request": "true"} if "htmx" in how else {}
        elif how == "span":
            headers = {"HX-Request": "true", "Potok-Span": f"{carried},{carried}"}
        return visitor.ask(verb, where, fields, **headers)

    # A number of one digit stands in every page, and names no row there.
    names = [each for each in (theirs, nobodys) if len(each) > 5]
    assert differences(ask(theirs), ask(nobodys), *names) == []


def without_chance(page: str) -> str:
    """The page without what differs each time: tokens, moments, and the ids of what was just made."""
    page = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID", page)
    page = re.sub(r'data-(now|since)="\d+"', r"data-\1", page)
    return re.sub(r'(csrf\w+"? (?:value|content)=|X-CSRFToken":\s*)"\w+"', r"\1", page)


def test_every_name_under_which_a_request_carries_something_is_in_the_table():
    source = "".join(path.read_text() for path in (ROOT / "chat" / "page").rglob("*.py"))
    places = (
        r"(?:request\.GET|request\.POST|\(request\.POST or request\.GET\)|self\.data|data|query)"
    )
    found = re.findall(rf'{places}(?:\.get\(|\[)"(\w+)"|"(\w+)" in {places}', source)
    read = {name for pair in found for name in pair if name}
    assert {"before", "undo", "credential", "pinned"} <= read
    fields = {name for form in forms_of(BaseForm) for name in form.base_fields}
    assert {"parent", "client_key", "text"} <= fields
    assert (read | fields) - {name for *_, name, _ in CARRIED} == OTHERWISE


def forms_of(base: type) -> Iterator[type]:
    for each in base.__subclasses__():
        yield from forms_of(each)
        if each.__module__.startswith("chat.page") and "<locals>" not in each.__qualname__:
            yield each


def test_a_row_of_anothers_behind_ones_own_page_of_the_administration_is_not_there():
    """A conversation's own page shows no message of another conversation."""
    world = World()
    reviewer = Visitor(world.people["reviewer"])
    here, elsewhere = world.reply, world.others["reply"]
    for name in ("replay", "score"):
        path = f"/admin/chat/conversation/{here.conversation.pk}/{name}/{elsewhere}/"
        unknown_path = f"/admin/chat/conversation/{here.conversation.pk}/{name}/{uuid4()}/"
        for verb in ("GET", "POST"):
            answer = reviewer.ask(verb, path)
            assert answer.status_code in (403, 404, 405), (verb, name)
            assert differences(answer, reviewer.ask(verb, unknown_path)) == []
            assert reviewer.written == []
