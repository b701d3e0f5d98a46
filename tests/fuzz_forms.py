"""Hostile forms, queries, headers and bodies to every address of the chat, by several people.

    python tests/fuzz_forms.py --seconds 60 --seed 1

Claims that nothing is raised and nothing answered with 500, that every answer has the policy, that
what is another's is never there and never written to, and that memory does not grow. Each request is
undone once it is answered.
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import fuzzing
from tests.fuzz_setup import world  # before whatever else imports Django

from tests.access import ADDRESSES, OPEN, OWNED, STRANGERS  # isort: skip
from tests.corpus import BODIES, WORDS, encoded  # isort: skip
from tests.visitor import Visitor  # isort: skip

VISITORS = {who: Visitor(world.people.get(who)) for who in ("anonymous", "owner", "other")}
NAMES = """text title model gateway place client_key rating comment version pinned keep recovery parent
    username password password1 password2 old_password new_password1 new_password2 code credential
    theme language time_zone enter_sends default_model system_prompt temperature top_p top_k
    max_tokens reasoning_effort verbosity frequency_penalty presence_penalty seed stop asked
    invitation next q before after at undo compose saved off new csrfmiddlewaretoken x""".split()
HEADERS = """HX-Request HX-Current-URL HX-Target Potok-Span Accept-Language X-Forwarded-For Origin
    If-None-Match Range Referer""".split()
TOKENS = ["%", "%00", "&", "=", ";", "[]", "%ed%a0%80", "\xff", "+", "%u0000"]


def word(chance: random.Random) -> str:
    found = chance.choice([*WORDS, *(str(each) for each in world.ids.values())])
    return found if len(found) < 5000 else found[: chance.choice([10, 5000])]


def fields(chance: random.Random) -> str:
    names = chance.choices(NAMES, k=chance.choice([0, 1, 3, 10]))
    told = "&".join(f"{name}={encoded(word(chance))}" for name in names)
    for _ in range(chance.choice([0, 0, 0, 1, 5])):
        at = chance.randrange(len(told) + 1)
        told = told[:at] + chance.choice(TOKENS) + told[at:]
    return told


def headers_of(chance: random.Random) -> dict[str, str]:
    """What a server lets through: no control characters, and each letter a byte."""
    told = {}
    for name in chance.choices(HEADERS, k=chance.choice([0, 0, 1, 3])):
        raw = word(chance).encode("utf-8", "surrogatepass").decode("latin-1")
        told[name] = "true" if name == "HX-Request" else "".join(c for c in raw if c.isprintable())
    return told


def play(chance: random.Random) -> str:
    who = chance.choice(list(VISITORS))
    visitor = VISITORS[who]
    name, at = chance.choice(list(ADDRESSES.items()))
    ids = world.ids
    if chance.random() < 0.1:
        ids = ids | dict.fromkeys(
            ("conversation", "message"), encoded(word(chance)).replace("%2F", "x") or "x"
        )
    path = at.path.format(**ids)
    verb = chance.choice(["GET", "POST", "POST"])
    query = fields(chance) if chance.random() < 0.4 else ""
    body, kind = fields(chance).encode(), "application/x-www-form-urlencoded"
    if chance.random() < 0.1:
        body, kind = chance.choice(BODIES)
    answer = visitor.send(verb, f"{path}?{query}", body, kind, **headers_of(chance))
    what = (
        who,
        verb,
        name,
        path,
        query[:200],
        body[:200],
        kind,
        answer.status_code,
        visitor.written,
    )
    assert answer.status_code < 500 or name == "readyz", what
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"], what
    if who in STRANGERS and at.who != OPEN:
        assert answer.status_code in (302, 401), what
        assert visitor.written == [], what
    if who == "other" and (at.who == OWNED or at.part):
        assert answer.status_code in (404, 405), what
        assert visitor.written == [], what
    return f"{who} {answer.status_code // 100}xx"


if __name__ == "__main__":
    fuzzing.run("Forms", play)
