"""Somebody who asks in this process, and what a request would have written."""

import re
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client

from chat.models import User
from tests.access import FIELDS

# A refused request may note that it came, and write nothing else.
NOTES = ("django_session", "chat_loginattempt")
WRITES = re.compile(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+\"?(\w+)", re.I)


class Visitor:
    """Somebody whose requests leave nothing behind: each is undone once it is answered."""

    def __init__(self, person: User | None = None) -> None:
        self.client = Client()
        if person is not None:
            self.client.force_login(person)
        self._cookies = self.client.cookies.output(header="", sep=";")
        self.written: list[str] = []

    def ask(self, verb: str, path: str, fields: Any = FIELDS, **headers: str) -> HttpResponse:
        """The answer; `written` has the tables that it wrote to, but for notes."""
        more = {"data": fields} if verb == "POST" else {}
        return self._send(lambda: getattr(self.client, verb.lower())(path, headers=headers, **more))

    def send(self, verb: str, path: str, body: bytes, kind: str, **headers: str) -> HttpResponse:
        """As `ask`, with a body that no form would make."""
        return self._send(lambda: self.client.generic(verb, path, body, kind, headers=headers))

    def _send(self, send: Callable[[], HttpResponse]) -> HttpResponse:
        self.client.cookies = SimpleCookie(self._cookies)
        self.written = []
        with transaction.atomic(), connection.execute_wrapper(self._note):
            answer = send()
            transaction.set_rollback(True)
        return answer

    def _note(self, execute: Any, sql: str, *rest: Any) -> Any:
        match = WRITES.match(sql)
        if match and match[1] not in NOTES:
            self.written.append(match[1])
        return execute(sql, *rest)
