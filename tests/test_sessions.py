"""Where somebody is logged in: they see it, and end one login or all others; nobody else does."""

import re

import pytest

from tests.server import Client

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)


@pytest.fixture
def person(server) -> str:
    """Somebody of this test's own."""
    number = server.holders = getattr(server, "holders", 0) + 1
    server.add_user(f"holder{number}")
    return f"holder{number}"


def rows(client: Client) -> list[tuple[str, str]]:
    """What the page says of each login, and where it is ended."""
    page = client.get("/settings/sessions/").text
    found = re.findall(
        r'<li>.*?<strong>(.*?)</strong>.*?<form method="post" action="(.*?)">', page, re.S
    )
    assert page.count("this browser") == 1
    return found


def test_each_login_is_told_by_its_browser_and_none_by_its_key(server, person):
    here = server.visitor(**{"User-Agent": FIREFOX}).log_in(person)
    server.visitor(**{"User-Agent": PHONE}).log_in(person)
    named = [name for name, _ in rows(here)]
    # The one that add_user logged in came by no browser.
    assert named == ["Safari on iPhone", "Firefox on Linux", "Another program"]
    assert here.cookies["sessionid"] not in here.get("/settings/sessions/").text


def test_a_login_that_is_ended_is_out_and_its_socket_closes(server, person):
    here = server.visitor(**{"User-Agent": FIREFOX}).log_in(person)
    lost = server.visitor(**{"User-Agent": PHONE}).log_in(person)
    with lost.socket() as socket, here.socket() as mine:
        socket.receive_until("hello")
        mine.receive_until("hello")
        address = dict(rows(here))["Safari on iPhone"]
        assert here.post(address).status_code == 303
        assert socket.wait_closed(5) == 4401
        assert lost.get("/").status_code == 302
        assert here.get("/").status_code == 200
        assert mine.connection.close_code is None
    assert "Safari on iPhone" not in dict(rows(here))
    assert here.post(address).status_code == 404


def test_ending_all_others_leaves_this_one(server, person):
    here = server.visitor(**{"User-Agent": FIREFOX}).log_in(person)
    lost = server.visitor(**{"User-Agent": PHONE}).log_in(person)
    with lost.socket() as socket:
        socket.receive_until("hello")
        assert here.post("/settings/sessions/end-others/").status_code == 303
        assert socket.wait_closed(5) == 4401
    assert lost.get("/").status_code == 302
    assert [name for name, _ in rows(here)] == ["Firefox on Linux"]
    page = here.get("/settings/sessions/").text
    assert "Log out all others" not in page


def test_to_end_this_one_is_to_log_out(server, person):
    here = server.visitor(**{"User-Agent": FIREFOX}).log_in(person)
    address = dict(rows(here))["Firefox on Linux"]
    assert here.post(address).headers["Location"] == "/login/"
    assert here.get("/").status_code == 302


def test_nobody_ends_anothers(server, person, owner):
    theirs = server.visitor(**{"User-Agent": FIREFOX}).log_in(person)
    address = dict(rows(theirs))["Firefox on Linux"]
    assert owner.post(address).status_code == 404
    owner_sees = [where for _, where in rows(owner)]
    assert address not in owner_sees
    assert theirs.get("/").status_code == 200


@pytest.mark.parametrize(
    "said", ["", "<script>alert(1)</script>", "x" * 5_000], ids=["nothing", "markup", "too much"]
)
def test_a_browser_may_say_of_itself_what_it_likes(server, person, said):
    here = server.visitor(**{"User-Agent": said}).log_in(person)
    assert [name for name, _ in rows(here)] == ["Another program"] * 2
    assert "alert(1)" not in here.get("/settings/sessions/").text
