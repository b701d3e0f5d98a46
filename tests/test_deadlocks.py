"""A command that met another one in a circle of locks is done again, unseen."""

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory

from chat.page.middleware import AgainAfterDeadlock


class Refused(Exception):
    """As psycopg tells what PostgreSQL did."""

    def __init__(self, sqlstate):
        super().__init__("deadlock detected")
        self.sqlstate = sqlstate


def command(failures, sqlstate="40P01"):
    """A view that fails so many times; counts its calls."""

    def view(_request, number):
        view.calls += 1
        if view.calls <= failures:
            raise OperationalError from Refused(sqlstate)
        return HttpResponse(f"done {number}")

    view.calls = 0
    return view


def ask(view, method="POST"):
    middleware = AgainAfterDeadlock(lambda _request: HttpResponse("nobody asked"))
    request = RequestFactory().generic(method, "/m/x/stop/")
    answer = middleware.process_view(request, view, (), {"number": 7})
    return answer if answer is not None else view(request, number=7)


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_command_is_done_again_after_a_deadlock(failures):
    view = command(failures)
    assert ask(view).content == b"done 7"
    assert view.calls == failures + 1


def test_what_never_ends_well_is_an_error():
    view = command(9)
    with pytest.raises(OperationalError):
        ask(view)
    assert view.calls == 3


def test_any_other_error_of_the_database_is_told_at_once():
    view = command(1, sqlstate="57014")
    with pytest.raises(OperationalError):
        ask(view)
    assert view.calls == 1


def test_a_page_is_left_to_django():
    view = command(1)
    with pytest.raises(OperationalError):
        ask(view, "GET")
    assert view.calls == 1


def test_nothing_that_is_asked_before_a_view_is_passed_over(settings):
    assert settings.MIDDLEWARE[-1] == "chat.page.middleware.AgainAfterDeadlock"
