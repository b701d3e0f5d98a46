"""Coming in: the first owner, login, logout, password; and what a start makes or refuses."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server import PASSWORD, Server

ALERT = 'role="alert"'


@pytest.fixture
def member(server):
    """A name that nobody else has, and that person's first session."""
    members = getattr(server, "members", 0)
    server.members = members + 1
    name = f"member{members}"
    return name, server.add_user(name)


# --- the first owner ----------------------------------------------------------------------------


def test_a_first_visitor_becomes_the_owner_and_nobody_after(fresh_server):
    visitor = fresh_server.visitor()
    for path in ("/", "/login/", "/c/nowhere/", "/admin/"):
        assert visitor.get(path).headers["Location"] == "/setup/"
    assert visitor.get("/healthz").status_code == 200
    assert visitor.get("/readyz").status_code == 200
    page = visitor.get("/setup/")
    for field in ("username", "password1", "password2", "csrfmiddlewaretoken"):
        assert f'name="{field}"' in page.text

    for wrong in ({"password2": "another one"}, {"password1": "1234", "password2": "1234"}):
        form = {"username": "owner", "password1": PASSWORD, "password2": PASSWORD} | wrong
        answer = visitor.post("/setup/", form)
        assert answer.status_code == 422
        assert ALERT in answer.text
        assert 'value="owner"' in answer.text
        assert PASSWORD not in answer.text

    late = fresh_server.visitor()
    late.get("/setup/")
    visitor.set_up()
    assert visitor.get("/").status_code == 200
    assert visitor.get("/admin/").status_code == 200
    form = {"username": "second", "password1": PASSWORD, "password2": PASSWORD}
    for client in (visitor, late, fresh_server.visitor()):
        assert client.get("/setup/").status_code == 404
    assert visitor.post("/setup/", form).status_code == 404
    assert late.post("/setup/", form).status_code == 404
    assert users(fresh_server) == ["owner"]


def test_of_two_who_race_one_becomes_the_owner(fresh_server):
    clients = [fresh_server.visitor() for _ in range(4)]

    def race(number):
        form = {"username": f"owner{number}", "password1": PASSWORD, "password2": PASSWORD}
        return clients[number].post("/setup/", form).status_code

    for client in clients:
        assert client.get("/setup/").status_code == 200
    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(race, range(4))) == [302, 404, 404, 404]
    assert len(users(fresh_server)) == 1


def test_the_environment_may_name_the_owner_while_there_is_none(start_server):
    names = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_EMAIL": "r@example.org"}
    server = start_server(**names, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    visitor = server.visitor()
    assert visitor.get("/setup/").status_code == 404
    assert visitor.get("/").headers["Location"] == "/login/?next=/"
    visitor.log_in("root")
    assert visitor.get("/admin/").status_code == 200
    server.env |= {"DJANGO_SUPERUSER_USERNAME": "other", "DJANGO_SUPERUSER_PASSWORD": "changed"}
    server.restart()
    assert users(server) == ["root"]
    assert visitor.get("/").status_code == 200
    server.visitor().log_in("root")
    assert PASSWORD not in server.log


def users(server: Server) -> list[str]:
    query = "print(*User.objects.values_list('username', flat=True))"
    return server.manage("shell", "-v0", "-c", f"from chat.models import User; {query}").split()


# --- login, logout, password --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "lands"),
    [
        ("", "/"),
        ("/password/", "/password/"),
        ("/?model=a%2Fb", "/?model=a%2Fb"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
    ],
)
def test_a_login_goes_where_it_was_meant_and_never_abroad(server, goal, lands):
    visitor = server.visitor()
    visitor.get("/login/")
    form = {"username": "owner", "password": PASSWORD, "next": goal}
    answer = visitor.post("/login/", form)
    assert (answer.status_code, answer.headers["Location"]) == (302, lands)


def test_a_page_is_found_again_after_the_login(server):
    visitor = server.visitor()
    login = visitor.get("/?model=test-model").headers["Location"]
    assert login == "/login/?next=/%3Fmodel%3Dtest-model"
    page = visitor.get(login)
    assert re.search(r'name="next" value="/\?model=test-model"', page.text)


def test_a_wrong_password_keeps_the_name(server):
    visitor = server.visitor()
    visitor.get("/login/")
    answer = visitor.post("/login/", {"username": "owner", "password": "not this one"})
    assert answer.status_code == 422
    assert ALERT in answer.text
    assert 'value="owner"' in answer.text
    assert "not this one" not in answer.text
    assert visitor.get("/").status_code == 302


def test_a_disabled_person_cannot_log_in(server, member):
    name, session = member
    disable(server, name)
    assert session.get("/").status_code == 302
    visitor = server.visitor()
    visitor.get("/login/")
    assert visitor.post("/login/", {"username": name, "password": PASSWORD}).status_code == 422


def test_only_a_post_logs_out(server):
    session = server.visitor().log_in()
    assert session.get("/logout/").status_code == 405
    assert session.get("/").status_code == 200
    assert session.post("/logout/").headers["Location"] == "/login/"
    assert session.get("/").status_code == 302


def test_a_logout_needs_the_token(server):
    session = server.visitor().log_in()
    assert session.http.post("/logout/").status_code == 403
    assert session.get("/").status_code == 200


def test_a_new_password_ends_other_sessions(server, member):
    name, session = member
    other = server.visitor().log_in(name)
    new = "a longer horse battery"
    session.get("/password/")
    wrong = {"old_password": "wrong", "new_password1": new, "new_password2": new}
    refused = session.post("/password/", wrong)
    assert refused.status_code == 422
    assert ALERT in refused.text
    assert other.get("/").status_code == 200
    answer = session.post("/password/", wrong | {"old_password": PASSWORD})
    assert answer.status_code in (200, 303)
    assert session.get("/").status_code == 200
    assert other.get("/").status_code == 302
    server.visitor().log_in(name, new)


def disable(server: Server, name: str) -> None:
    query = f"User.objects.filter(username={name!r}).update(is_active=False)"
    server.manage("shell", "-v0", "-c", f"from chat.models import User; {query}")


# --- a start ------------------------------------------------------------------------------------


def test_a_start_says_where_it_is_which_gateways_it_found_and_what_to_do(fresh_server):
    assert fresh_server.url in fresh_server.log
    assert re.search(r"Gateways: .*Demo", fresh_server.log)
    assert "create the owner" in fresh_server.log
    assert "sk-test" not in fresh_server.log


def test_pages_are_served_on_uvloop(server):
    """Whatever imports Twisted's reactor before it is chosen leaves asyncio's own loop in its place."""
    asked = (
        "import chat.server; from twisted.internet import reactor;"
        " print(type(reactor._asyncioEventloop).__module__)"
    )
    assert server.manage("shell", "-v0", "-c", asked).strip() == "uvloop"


@pytest.mark.one_form
def test_a_first_start_holds_no_more_memory_than_is_promised(fresh_server):
    assert "chat_user" in fresh_server.row("SELECT group_concat(name) FROM sqlite_master")[0]
    assert fresh_server.resident_mb <= 110


@pytest.mark.one_form
def test_a_second_process_on_one_data_directory_says_so_and_ends(server):
    second = Server(server.data_dir, server.env | {"PORT": "1"})
    second.env["PORT"] = str(second.port)
    before = len(server.log)
    second.launch()
    assert second.wait() == 1
    assert "Another Potok already runs" in server.log[before:]
    assert "Traceback" not in server.log[before:]
    assert server.visitor().get("/healthz").status_code == 200


def test_a_port_in_use_is_named(server, tmp_path):
    second = Server(tmp_path / "second", server.env | {"POTOK_DATA_DIR": str(tmp_path / "second")})
    second.env["PORT"] = str(server.port)
    second.launch()
    assert second.wait() == 1
    assert f"Cannot listen on 127.0.0.1:{server.port}" in second.log
    assert f"PORT={server.port + 1} make run" in second.log
    assert "Traceback" not in second.log


def test_the_secret_key_is_kept_and_for_its_owner_only(fresh_server):
    path = fresh_server.data_dir / "secret_key"
    key = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    session = fresh_server.visitor().set_up()
    fresh_server.restart()
    assert path.read_text() == key
    assert session.get("/").status_code == 200
    assert key not in fresh_server.log


def test_a_stranger_sees_no_debugging(server):
    for path in ("/nowhere/", "/c/x/", "/static/nowhere.css"):
        answer = server.visitor().get(path)
        assert answer.status_code in (302, 404)
        for word in ("DEBUG", "Traceback", "urlpatterns", "Django"):
            assert word not in answer.text
