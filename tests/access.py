"""Who may what: every address and frame, by the person that asks; and the rows that they ask for.

`ADDRESSES`, `STAFF` and `FRAMES` are the table that tests/test_access.py walks, and whatever else asks
every address. Whoever adds an address says here who may use it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.contrib.auth.models import Group

from chat.models import (
    AccountPolicy,
    Budget,
    Call,
    Conversation,
    Feedback,
    Generation,
    Hold,
    Identity,
    IdentityProvider,
    Invitation,
    LanguageModel,
    Message,
    Passkey,
    Picture,
    Price,
    Rate,
    ReadLog,
    Retention,
    Scale,
    User,
    erasure,
)
from tests import rows

VERBS = ("GET", "POST")
# By these only three ask: whoever may most of all, a member who may nothing, and a visitor.
OTHER_VERBS = ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
STRANGERS = ("anonymous", "disabled")
STAFF_ROLES = {"S": "superuser", "A": "administrator", "R": "reviewer", "N": "analyst"}
# `owner` is the owner of the rows that are asked for, a plain member as `other` is.
PEOPLE = (*STRANGERS, "owner", "other", *STAFF_ROLES.values())
# What each POST carries: enough for every command of the chat.
FIELDS = {
    "text": "Again",
    "title": "Mine now",
    "rating": "1",
    "version": "1",
    "post": "yes",
    "reason": "theirs",
}

# --- addresses of the chat ----------------------------------------------------------------------

OPEN, MEMBER, OWNED = "open", "member", "owned"


@dataclass(frozen=True)
class At:
    """An address: for whom it is, and how GET and POST answer those for whom it is; 405 is no such verb.

    OPEN: to strangers one status or two, the second to whoever is logged in. MEMBER: strangers are
    sent to the login. OWNED: so they are, and for members whose row it isn't there is nothing.
    `part`: the row is a part of the reader's own; only its owner has it, the address is a MEMBER's.
    """

    path: str
    who: str
    get: int | tuple[int, int] = 405
    post: int | tuple[int, int] = 405
    part: bool = False

    def status(self, verb: str, *, is_member: bool) -> int:
        told = {"GET": self.get, "HEAD": self.get, "POST": self.post}.get(verb, 405)
        return told if isinstance(told, int) else told[is_member]


ADDRESSES = {
    "home": At("/", MEMBER, get=200),
    # There are users, and nobody has opened the door to others.
    "setup": At("/setup/", OPEN, get=404, post=404),
    "signup": At("/signup/", OPEN, get=404, post=404),
    "login": At("/login/", OPEN, get=(200, 302), post=(422, 302)),
    "login_code": At("/login/code/", OPEN, get=302, post=302),
    "login_passkey": At("/login/passkey/", OPEN, post=422),
    "login_passkey_options": At("/login/passkey/options/", OPEN, post=409),
    "sso": At("/login/with/{slug}/", OPEN, get=404),
    "sso_back": At("/login/with/{slug}/back/", OPEN, get=404),
    "logout": At("/logout/", OPEN, post=302),
    "password": At("/password/", MEMBER, get=200, post=422),
    "settings": At("/settings/", MEMBER, get=200, post=303),
    "log_out_everywhere": At("/settings/log-out/", MEMBER, post=302),
    "sessions": At("/settings/sessions/", MEMBER, get=200),
    "sessions_end": At("/settings/sessions/end-others/", MEMBER, post=303),
    # None has such a name; somebody else's is in test_sessions.py.
    "session_end": At("/settings/sessions/{slug}/end/", MEMBER, post=404),
    "own_data": At("/settings/data.zip", MEMBER, get=200),
    "delete_conversations": At("/settings/delete-conversations/", MEMBER, get=200, post=200),
    "delete_account": At("/settings/delete-account/", MEMBER, get=200, post=422),
    "second_factor": At("/settings/second-factor/", MEMBER, get=200),
    "second_factor_begin": At("/settings/second-factor/begin/", MEMBER, post=422),
    "second_factor_confirm": At("/settings/second-factor/confirm/", MEMBER, post=303),
    "second_factor_codes": At("/settings/second-factor/codes/", MEMBER, post=303),
    "second_factor_off": At("/settings/second-factor/off/", MEMBER, post=303),
    "passkeys": At("/settings/passkeys/", MEMBER, get=200),
    "passkey_add": At("/settings/passkeys/add/", MEMBER, post=422),
    "passkey_delete": At("/settings/passkeys/{passkey}/delete/", MEMBER, post=303, part=True),
    "sso_connect": At("/settings/connect/{slug}/", MEMBER, get=404, post=404),
    "sso_disconnect": At("/settings/identities/{identity}/delete/", MEMBER, post=303, part=True),
    "parameters": At("/parameters/", MEMBER, get=200, post=303),
    "forecast": At("/forecast/", MEMBER, post=200),
    "conversations": At("/conversations/", MEMBER, get=200),
    "start": At("/messages/", MEMBER, post=303),
    "conversation": At("/c/{conversation}/", OWNED, get=200),
    "conversation_forecast": At("/c/{conversation}/forecast/", OWNED, post=200),
    "send": At("/c/{conversation}/messages/", OWNED, post=303),
    "rename": At("/c/{conversation}/rename/", OWNED, post=303),
    "pin": At("/c/{conversation}/pin/", OWNED, post=303),
    "read": At("/c/{conversation}/read/", OWNED, post=303),
    "delete": At("/c/{conversation}/delete/", OWNED, get=200, post=303),
    "restore": At("/c/{deleted}/restore/", OWNED, post=303),
    "conversation_parameters": At("/c/{conversation}/parameters/", OWNED, get=200, post=303),
    "export": At("/c/{conversation}/export.json", OWNED, get=200),
    "stop": At("/m/{running}/stop/", OWNED, post=303),
    "retry": At("/m/{failed}/retry/", OWNED, post=303),
    "regenerate": At("/m/{message}/regenerate/", OWNED, get=200, post=303),
    "continue": At("/m/{cut}/continue/", OWNED, post=303),
    "edit": At("/m/{question}/edit/", OWNED, get=200, post=303),
    "delete_message": At("/m/{message}/delete/", OWNED, get=200, post=303),
    "fork": At("/m/{message}/fork/", OWNED, post=303),
    "branch": At("/m/{message}/branch/", OWNED, post=303),
    "feedback": At("/m/{message}/feedback/", OWNED, get=200, post=303),
    "text": At("/m/{message}/text/", OWNED, get=200),
    "picture": At("/m/{message}/pictures/{picture}/", OWNED, get=200),
    "models": At("/models/", MEMBER, get=200),
    "favourite": At("/models/favourite/", MEMBER, post=422),
    "search": At("/search/", MEMBER, get=200),
    "manifest": At("/manifest.webmanifest", OPEN, get=200),
    "healthz": At("/healthz", OPEN, get=200),
    # No runner runs where this is asked.
    "readyz": At("/readyz", OPEN, get=503),
    "metrics": At("/metrics", OPEN, get=404),
}
# These two are views of Django's own, which tell anybody what they take.
TELLS_ITS_VERBS = {"login", "logout"}

# --- frames of the socket ------------------------------------------------------------------------

# OWNED: told to the owner of the conversation, and for anybody else there is none. MEMBER: taken.
FRAMES = {"watch": OWNED, "ack": MEMBER}

# --- addresses of the administration ------------------------------------------------------------


_ALL = "SARN"


@dataclass(frozen=True)
class Kind:
    """A kind of rows in the administration: by the letters of STAFF_ROLES, who does what with them.

    `page`: who sees a row's own page, where that isn't all who see the list. History is read only:
    its list takes no POST, and its rows change, if at all, by what `change` says.
    """

    sees: str
    page: str = ""
    add: str = ""
    change: str = ""
    delete: str = ""
    is_history: bool = False

    def pages(self, kind: str) -> dict[str, tuple[str, str]]:
        """By the name of each of its stock addresses: whose GET, and whose POST, is not refused."""
        page = self.page or self.sees
        return {
            f"{kind}_changelist": (self.sees, "" if self.is_history else self.sees),
            f"{kind}_add": (self.add, self.add),
            f"{kind}_change": (page, self.change),
            f"{kind}_delete": (self.delete, self.delete),
            f"{kind}_history": (page, page),
            f"admin/{kind.replace('_', '/')}/<path:object_id>/": (_ALL, _ALL),
        }


KINDS = {
    "chat_conversation": Kind(_ALL, page="SR", is_history=True),
    "chat_feedback": Kind("SR", change="SR", is_history=True),
    "chat_readlog": Kind("SA", is_history=True),
    "chat_generation": Kind("SAR", is_history=True),
    "chat_call": Kind(_ALL, is_history=True),
    "chat_erasure": Kind("SA", is_history=True),
    "chat_price": Kind(_ALL, add="SA", is_history=True),
    "chat_rate": Kind(_ALL, add="SA", is_history=True),
    "chat_hold": Kind("SA", add="SA", change="SA", is_history=True),
    "chat_retention": Kind("SA", add="SA", change="SA", delete="SA"),
    "chat_budget": Kind("SAN", add="SA", change="SA", delete="SA"),
    "chat_scale": Kind("SA", add="SA", change="SA", delete="SA"),
    "chat_gateway": Kind("SA", add="SA", change="SA", delete="SA"),
    "chat_languagemodel": Kind("SA", change="SA"),
    "chat_user": Kind("SA", add="SA", change="SA"),
    "auth_group": Kind("SA", add="SA", change="SA", delete="SA"),
    "chat_invitation": Kind("SA", add="SA"),
    "chat_accountpolicy": Kind("S", change="S"),
    "chat_identityprovider": Kind("S", add="S", change="S", delete="S"),
}
# By name without `admin:`: whose GET, and whose POST, is not refused with 403. A stranger is sent to
# the login from all of them, and a member is refused at all but `login`, which says where that is.
STAFF = {
    "login": (_ALL, _ALL),
    "index": (_ALL, _ALL),
    "logout": (_ALL, _ALL),
    "password_change": (_ALL, _ALL),
    "password_change_done": (_ALL, _ALL),
    "jsi18n": (_ALL, _ALL),
    "autocomplete": ("", _ALL),
    "view_on_site": (_ALL, _ALL),
    "app_list": (_ALL, _ALL),
    "admin/(?P<url>.*)$": (_ALL, _ALL),
    "why": ("SR", "SR"),
    "spend": (_ALL, ""),
    "chat_conversation_export": (_ALL, ""),
    "chat_conversation_replay": ("SR", ""),
    "chat_conversation_picture": ("SR", ""),
    "chat_conversation_score": ("", "SR"),
    "chat_call_export": (_ALL, ""),
    "chat_feedback_export": ("SR", ""),
    "chat_readlog_export": ("SA", ""),
    "chat_user_export": ("SA", ""),
    "chat_generation_stop": ("SA", "SA"),
    "chat_gateway_check": ("SA", "SA"),
    "chat_gateway_list": ("SA", "SA"),
    "chat_gateway_balance": ("SA", "SA"),
    "chat_retention_due": ("SA", "SA"),
    "chat_user_data": ("S", ""),
    "chat_user_erase": ("SA", "SA"),
    "auth_user_password_change": ("SA", "SA"),
}
for _name, _kind in KINDS.items():
    STAFF |= _kind.pages(_name)
# These ask a gateway, which isn't there: what they do is in test_gateways_checked.py.
REACHES_OUT = {"chat_gateway_check", "chat_gateway_list", "chat_gateway_balance"}
# A GET that isn't refused is answered with a page, but for these.
NO_PAGE = {
    # These are the chat's own, as the login is.
    "logout": 302,
    "password_change": 302,
    # The row that is asked for has no page elsewhere, and `nothing` is no address.
    "view_on_site": 404,
    "admin/(?P<url>.*)$": 404,
    # Of these there is a list, and no page each.
    "chat_generation_change": 404,
    "chat_price_change": 404,
    "chat_rate_change": 404,
    "chat_readlog_change": 404,
    # These are done by POST alone.
    "chat_generation_stop": 405,
    **dict.fromkeys(REACHES_OUT, 405),
    # These lead to the row's own page.
    **{name: 302 for name in STAFF if name.endswith("<path:object_id>/")},
}


def staff_address(path: str, pks: dict[str, Any], message: object) -> str:
    """The address behind a pattern of the administration, of the row that `pks` has of its kind."""
    kind = path.split("/")[2] if path.count("/") > 2 else ""
    known = {
        "<path:object_id>": str(pks.get(kind, 1)),
        "<id>": str(pks.get(kind, "")),
        "<int:pk>": str(pks.get(kind, "")),
        "<int:picture>": str(pks["picture"]),
        "<uuid:message>": str(message),
        "<str:form>": "csv",
        "<path:content_type_id>": "1",
        "^(?P<app_label>chat|auth)/$": "chat/",
        "(?P<url>.*)$": "nothing",
    }
    for part, example in known.items():
        path = path.replace(part, example)
    return f"/{path}"


# --- rows ---------------------------------------------------------------------------------------


class World:
    """People of each kind, and one row of each kind that an address may ask for."""

    def __init__(self) -> None:
        self.people = {
            "owner": User.objects.create_user("owner"),
            "other": User.objects.create_user("other"),
            "disabled": User.objects.create_user("disabled"),
            "superuser": User.objects.create_superuser("superuser"),
        }
        for role in ("administrator", "reviewer", "analyst"):
            self.people[role] = User.objects.create_user(role)
            # Tests that commit leave no roles behind them.
            self.people[role].groups.add(Group.objects.get_or_create(name=role)[0])
        owner = self.people["owner"]
        self.gateway = rows.gateway()
        self.reply = self._ask(owner)
        self.deleted = self._ask(owner).conversation
        self.deleted.delete_for_owner()
        foreign = self._ask(self.people["other"])
        # Of `other`, who has no part in the rest.
        self.others = {
            "conversation": str(foreign.conversation.uuid),
            "reply": str(foreign.uuid),
            "question": str(foreign.parent.uuid),
        }
        cut = self._ask(owner, rows.Outcome("complete", "length"))
        failed = self._ask(owner, rows.Outcome("failed", "", "server", "no"))
        running = Conversation.start(owner, "Still running", "m", self.gateway)
        picture = Picture.objects.create(
            message=self.reply,
            media_type="image/png",
            content=b"\x89PNG\r\n\x1a\n",
            size_bytes=8,
            state=Picture.State.RAW,
        )
        self.ids = {
            "conversation": self.reply.conversation.uuid,
            "deleted": self.deleted.uuid,
            "message": self.reply.uuid,
            "question": self.reply.parent.uuid,
            "cut": cut.uuid,
            "failed": failed.uuid,
            "running": running.uuid,
            "picture": picture.pk,
            "passkey": Passkey.objects.create(
                user=owner, name="key", credential_id="a", credential=b"", rp_id="localhost"
            ).pk,
            "identity": Identity.objects.create(
                user=owner, issuer="https://id.example", subject="1"
            ).pk,
            "slug": "office",
        }
        User.objects.filter(username="disabled").update(is_active=False)

    @cached_property
    def pks(self) -> dict[str, int]:
        """A row of each kind that the administration has, by its name; some stay for ever."""
        owner = self.people["owner"]
        return {
            "conversation": self.reply.conversation.pk,
            "picture": self.ids["picture"],
            "feedback": Feedback.objects.create(message=self.reply, rating=Feedback.Rating.DOWN).pk,
            "readlog": ReadLog.objects.create(
                reader_key=owner.key,
                reader="reviewer",
                what=ReadLog.What.TITLE,
                conversation=self.reply.conversation.uuid,
                owner_key=owner.key,
            ).pk,
            "generation": Generation.objects.get(message__uuid=self.ids["running"]).pk,
            "call": Call.objects.create(
                message=self.reply,
                gateway=self.gateway,
                gateway_slug="first",
                user=owner,
                user_key=owner.key,
                model="m",
            ).pk,
            "user": owner.pk,
            "group": Group.objects.create(name="friends").pk,
            "invitation": Invitation.make(self.people["superuser"])[0].pk,
            "accountpolicy": AccountPolicy.objects.get_or_create(pk=1)[0].pk,
            "identityprovider": IdentityProvider.objects.create(
                slug="id", issuer="https://id.example"
            ).pk,
            "gateway": self.gateway.pk,
            "languagemodel": LanguageModel.objects.create(gateway=self.gateway, name="m").pk,
            "budget": Budget.objects.create(tokens=1000).pk,
            "price": Price.objects.create(
                gateway=self.gateway, model="m", currency="USD", prompt=1, completion=2
            ).pk,
            "rate": Rate.objects.create(currency="USD", into="RUB", rate=90).pk,
            "retention": Retention.objects.get_or_create(group=None)[0].pk,
            "scale": Scale.objects.create(name="accuracy").pk,
            "hold": Hold.place("A dispute", None, person=self.people["analyst"]).pk,
            "erasure": erasure.erase(
                User.objects.create_user("gone"), by=self.people["superuser"]
            ).pk,
        }

    def _ask(self, person: User, outcome: rows.Outcome = rows.COMPLETE) -> Message:
        reply = Conversation.start(person, "Why?", "m", self.gateway)
        return rows.answer(reply, outcome=outcome)
