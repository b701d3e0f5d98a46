"""`manage.py doctor`: each thing that is wrong is named with what to do, and no secret is told.

Against real servers, and a real nginx that has been set up badly in every way that is looked for.
"""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from chat.doctor import clock, machine
from chat.doctor.finding import Finding
from tests.conftest import env_for
from tests.proxy import Proxy
from tests.script import answer
from tests.server import ROOT, Server, free_port
from tests.services import RedisServer
from tests.waiting import until

# What is so wherever these tests run: nobody has made a backup of a test's server.
EXPECTED = {"backup"}


@dataclass
class Report:
    status: int
    output: str
    findings: list[dict[str, str]]

    def of(self, name: str, origin: str = "") -> dict[str, str]:
        """The one finding of this name (about this address)."""
        found = [f for f in self.findings if f["name"] == name and f["sentence"].startswith(origin)]
        assert len(found) == 1, (name, origin, self.findings)
        return found[0]

    def wrong(self, origin: str = "") -> set[str]:
        return {
            f["name"]
            for f in self.findings
            if f["level"] != "ok" and f["sentence"].startswith(origin)
        }


def examine(server: Server, *arguments: str, **env: str) -> Report:
    """What the doctor says under the server's environment, with this put over it."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", *(arguments or ["--json"])],
        cwd=ROOT,
        env=server.env | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert "Traceback" not in done.stderr, done.stderr
    findings = json.loads(done.stdout)["findings"] if not arguments else []
    return Report(done.returncode, done.stdout + done.stderr, findings)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory, shared_server, shared_gateway) -> Server:
    """An installation that is migrated and doesn't run; to be copied."""
    env = env_for(shared_gateway) | {"POTOK_DEMO": "0"}
    server = Server(tmp_path_factory.mktemp("rest") / "var", env)
    shutil.copytree(shared_server.data_dir / "static", server.data_dir / "static")
    server.data_dir.chmod(0o700)
    server.manage("migrate", "-v0")
    server.manage("shell", "-v0", "-c", "from chat.models import *; Gateway.sync_environment()")
    return server


@pytest.fixture
def at_rest(tmp_path, migrated, gateway) -> Server:
    """A copy of it for this test."""
    server = Server(tmp_path / "var", env_for(gateway) | {"POTOK_DEMO": "0"})
    shutil.copytree(migrated.data_dir, server.data_dir)
    return server


# --- an installation in order ---------------------------------------------------------------------


@pytest.mark.one_form
def test_an_installation_in_order_has_nothing_wrong_but_that_nobody_backs_it_up(fresh_server):
    fresh_server.data_dir.chmod(0o700)
    report = examine(fresh_server)
    assert report.wrong() == EXPECTED, report.output
    assert report.status == 2
    fresh_server.manage("backup")
    report = examine(fresh_server)
    assert report.wrong() == set(), report.output
    assert report.status == 0
    names = {finding["name"] for finding in report.findings}
    assert {"database", "migrations", "disk", "clock", "websocket", "gateway openai"} <= names


def test_it_speaks_the_language_of_the_installation_a_line_a_check(at_rest):
    report = examine(at_rest, "--no-color", LANGUAGE_CODE="ru")
    lines = report.output.splitlines()
    assert [line for line in lines if line.startswith("внимание") and " → " in line]
    assert [line for line in lines if line.startswith("в порядке") and " → " not in line]
    assert "Potok здесь не запущен" in report.output


def test_what_does_not_run_is_said_once_and_the_rest_is_still_looked_at(at_rest):
    report = examine(at_rest)
    assert report.wrong() == {"running", "backup"}
    assert "openai" in str(report.of("gateway openai"))
    assert report.status == 2


# --- this machine ---------------------------------------------------------------------------------


@pytest.fixture
def data_dir(settings, tmp_path) -> Path:
    """A data directory of this process's own, in order."""
    settings.DATA_DIR, settings.STATIC_ROOT = tmp_path / "var", tmp_path / "var" / "static"
    settings.DATA_DIR.mkdir(mode=0o700)
    for name in ("secret_key", "gateway_keys"):
        (settings.DATA_DIR / name).touch(mode=0o600)
    return settings.DATA_DIR


def of_machine(name: str) -> Finding:
    (found,) = [finding for finding in machine.look() if finding.name == name]
    return found


def test_a_machine_in_order_has_no_backup_and_no_static_files_yet(data_dir):
    wrong = {finding.name for finding in machine.look() if finding.level != "ok"}
    assert wrong == {"backup", "static"}


def test_files_that_others_may_read_are_named_with_the_command_that_mends_it(data_dir):
    data_dir.chmod(0o755)
    key = data_dir / "gateway_keys"
    key.chmod(0o640)
    assert of_machine("data_dir").level == "warning"
    assert of_machine("data_dir").advice == f"chmod o= {data_dir}"
    assert of_machine("key_files").level == "error"
    assert of_machine("key_files").advice == f"chmod 600 {key}"


@pytest.mark.parametrize(
    ("changed", "name", "level"),
    [
        ({"DEBUG": True}, "debug", "error"),
        ({"SECRET_KEY": "guess me"}, "secret_key", "error"),
        ({"SECRET_KEY": "a" * 60}, "secret_key", "error"),
        ({"ORIGINS": ["http://chat.example.org"]}, "https", "warning"),
        (
            {
                "ORIGINS": ["https://chat.example.org"],
                "TRUSTED_PROXIES": ["10.0.0.1"],
                "HOST": "0.0.0.0",
            },
            "https",
            "warning",
        ),
    ],
)
def test_a_setting_that_is_not_safe_is_named(data_dir, settings, changed, name, level):
    assert of_machine(name).level == "ok"
    for each, value in changed.items():
        setattr(settings, each, value)
    assert of_machine(name).level == level
    assert of_machine(name).advice


def test_a_secret_that_other_machines_would_not_have_is_named(data_dir, settings):
    (data_dir / "secret_key").write_text(f"{settings.SECRET_KEY}\n")
    assert of_machine("secret_key").level == "ok"
    settings.EMBEDDED = False
    assert of_machine("secret_key").level == "warning"


def test_an_old_backup_is_old(data_dir):
    for days, level in ((0, "ok"), (9, "warning")):
        noted = {"path": "/backups/a", "made_at": str(datetime.now(UTC) - timedelta(days=days))}
        (data_dir / "last_backup").write_text(json.dumps(noted))
        assert of_machine("backup").level == level
    assert of_machine("backup").sentence == "The last backup is 9 days old: /backups/a"


@pytest.mark.parametrize("noted", ["", "[]", '{"path": 1}', '{"path": "a", "made_at": "soon"}'])
def test_a_note_of_a_backup_that_is_none_is_no_note(data_dir, noted):
    (data_dir / "last_backup").write_text(noted)
    assert of_machine("backup").sentence == "No backup is known of."


# --- the database, Redis, the clock ---------------------------------------------------------------


def test_migrations_that_are_due_are_counted(at_rest):
    at_rest.manage("migrate", "-v0", "chat", "0001")
    finding = examine(at_rest).of("migrations")
    assert finding["level"] == "error"
    assert "chat.0002_roles" in finding["sentence"]
    assert finding["advice"] == "python manage.py migrate"


def test_a_database_of_a_newer_version_is_noticed(at_rest):
    note = "INSERT INTO django_migrations (app, name, applied) VALUES ('chat', '9999_later', 0)"
    code = f'from django.db import connection; connection.cursor().execute("{note}")'
    at_rest.manage("shell", "-v0", "-c", code)
    assert "9999_later" in examine(at_rest).of("migrations")["sentence"]


def test_a_damaged_sqlite_file_is_noticed(at_rest):
    file = at_rest.data_dir / "db.sqlite3"
    content = bytearray(file.read_bytes())
    content[5 * 4096 : 40 * 4096] = b"\x55" * (35 * 4096)
    file.write_bytes(content)
    finding = examine(at_rest).of("database")
    assert finding["level"] == "error"
    assert finding["advice"]


def test_postgresql_is_asked_what_it_is(at_rest, postgresql):
    url = postgresql.create_database()
    at_rest.env["DATABASE_URL"] = url
    at_rest.manage("migrate", "-v0")
    # The tests' cluster has fsync off, so that they are quick.
    finding = examine(at_rest).of("database")
    assert finding["level"] == "warning"
    assert "power cut" in finding["sentence"]
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    finding = examine(at_rest).of("database")
    assert finding["level"] == "error"
    assert "not written" in finding["sentence"]


def test_services_that_are_away_are_named_and_no_password_is(at_rest):
    nowhere = f"127.0.0.1:{free_port()}"
    env = {
        "DATABASE_URL": f"postgresql://potok:hunter2-of-the-database@{nowhere}/potok",
        "REDIS_URL": f"redis://:hunter2-of-redis@{nowhere}/0",
        "OPENAI_API_KEY": "own-hunter2-of-the-gateway",
        "METRICS_TOKEN": "hunter2-of-metrics",
        "SECRET_KEY": "hunter2-of-sessions-which-is-long-enough-to-be-taken-for-good",
        "POTOK_SECRETS_KEY": "hunter2-of-keys-which-is-long-enough-too",
    }
    for arguments in ([], ["--no-color"]):
        report = examine(at_rest, *arguments, **env)
        assert "hunter2" not in report.output
        assert report.status == 1
    assert {"database", "redis"} <= examine(at_rest, **env).wrong()


def test_a_redis_that_would_drop_or_refuse_what_is_written_is_noticed(at_rest, postgresql):
    with contextlib.closing(RedisServer()) as redis:
        env = {
            "DATABASE_URL": postgresql.create_database(),
            "REDIS_URL": redis.url,
            "SECRET_KEY": "one for all of them and long enough to be one, I think",
        }
        assert examine(at_rest, **env).of("redis")["level"] == "ok"
        redis.client.config_set("maxmemory-policy", "allkeys-lru")
        finding = examine(at_rest, **env).of("redis")
        assert finding["level"] == "warning"
        assert "allkeys-lru" in finding["sentence"]
        assert "volatile-ttl" in finding["advice"]
        redis.client.config_set("maxmemory-policy", "volatile-ttl")
        redis.client.replicaof("127.0.0.1", str(free_port()))
        assert examine(at_rest, **env).of("redis")["level"] == "error"
        redis.client.replicaof("NO", "ONE")
        redis.client.config_set("appendonly", "yes")
        assert examine(at_rest, **env).of("redis")["level"] == "ok"


@pytest.mark.parametrize(
    ("offsets_s", "level", "told"),
    [
        ({}, "ok", "nobody"),
        ({"Redis": 0.2, "OpenAI": -1.1}, "ok", "Redis, OpenAI"),
        ({"Redis": 20.0}, "warning", "This machine's clock differs by 20 s from that of Redis"),
        ({"Redis": -3600.0, "OpenAI": -3601.0}, "error", "This machine's clock differs by 3600 s"),
        ({"Redis": 0.1, "OpenAI": 3600.0}, "warning", "The clock of OpenAI differs by 3600 s"),
    ],
)
def test_the_clock_is_judged_by_whoever_agrees_best(offsets_s, level, told):
    finding = clock.judge(offsets_s)
    assert finding.level == level
    assert told in finding.sentence


# --- gateways -------------------------------------------------------------------------------------


def test_a_gateway_whose_clock_differs_is_noticed(at_rest, gateway):
    late = format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True)
    listed = {"data": [{"id": "m"}]}
    gateway.refuse(200, listed, {"Date": late}, path="/v1/models")
    gateway.refuse(200, listed, {"Date": late}, path="/v1/models")
    finding = examine(at_rest).of("clock")
    assert finding["level"] == "error"
    assert re.search(r"differs by 72\d\d s", finding["sentence"])


def test_a_gateway_that_refuses_its_key_is_told_without_it(at_rest, gateway):
    body = {"error": {"message": "Incorrect API key provided: sk-test"}}
    gateway.refuse(401, body, path="/v1/models")
    report = examine(at_rest)
    finding = report.of("gateway openai")
    assert finding["level"] == "error"
    assert "refuses the key" in finding["sentence"]
    assert "sk-test" not in report.output


def test_a_silent_gateway_holds_the_doctor_up_for_a_bounded_time(at_rest, gateway):
    gateway.script(gateway.gate(), path="/v1/models")
    finding = examine(at_rest).of("gateway openai")
    assert "didn't answer in time" in finding["sentence"]


def test_a_gateway_without_models_and_none_at_all_are_told_apart(at_rest, gateway):
    gateway.script(*answer(200, {"object": "list", "data": []}), path="/v1/models")
    assert examine(at_rest).of("gateway openai")["level"] == "warning"
    off = "from chat.models import Gateway; Gateway.objects.update(enabled=False)"
    at_rest.manage("shell", "-v0", "-c", off)
    assert examine(at_rest).of("gateways")["level"] == "error"


def test_a_key_that_was_sealed_under_another_secret_is_named(at_rest):
    code = (
        "from chat.models import Gateway\n"
        "g = Gateway(slug='own', name='Own', base_url='http://127.0.0.1:9/v1')\n"
        "g.key = 'sk-sealed'\ng.save()"
    )
    at_rest.manage("shell", "-v0", "-c", code)
    (at_rest.data_dir / "gateway_keys").write_text("another-secret\n")
    finding = examine(at_rest).of("gateway own")
    assert "can't be unsealed" in finding["sentence"]
    assert "/admin/chat/gateway/" in finding["advice"]


# --- what stands in between -----------------------------------------------------------------------


def without(line: str) -> Callable[[str], str]:
    """The configuration without the line that begins so."""

    def change(site: str) -> str:
        kept = [each for each in site.splitlines() if not each.strip().startswith(line)]
        assert len(kept) < len(site.splitlines()), line
        return "\n".join(kept) + "\n"

    return change


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(site: str) -> str:
        assert old in site
        return site.replace(old, new)

    return change


# The documented configuration, changed; and what the doctor has to find.
BROKEN = {
    "as it is documented": (str, set()),
    "no upgrade": (without("proxy_set_header Upgrade"), {"websocket"}),
    # Without compression nginx passes on even what it may buffer.
    "buffered": (
        replaced("proxy_buffering off", "proxy_buffering on; gzip on; gzip_proxied any"),
        {"stream"},
    ),
    "cuts silence": (replaced("proxy_read_timeout 60s", "proxy_read_timeout 2s"), {"websocket"}),
    "another host": (replaced("Host $http_host", "Host 127.0.0.1"), {"headers"}),
    "a host unknown": (replaced("Host $http_host", "Host potok"), {"headers"}),
    "a client's scheme": (
        replaced("X-Forwarded-Proto $scheme", "X-Forwarded-Proto $http_x_forwarded_proto"),
        {"headers"},
    ),
    "a client's address": (
        replaced("X-Forwarded-For $remote_addr", "X-Forwarded-For $http_x_forwarded_for"),
        {"headers"},
    ),
    "leads nowhere": (
        replaced("proxy_pass http://potok", "proxy_pass http://127.0.0.1:9"),
        {"address"},
    ),
    "another site": (replaced("proxy_pass http://potok;", "return 200 hello;"), {"address"}),
}


@pytest.fixture(scope="module")
def behind_proxies(
    tmp_path_factory, shared_server, shared_gateway
) -> Iterator[tuple[dict[str, Proxy], Report]]:
    """One server behind all of them, and what the doctor says of it."""
    server = Server(tmp_path_factory.mktemp("behind"), env_for(shared_gateway))
    shutil.copytree(shared_server.data_dir / "static", server.data_dir / "static")
    with contextlib.ExitStack() as stack:
        proxies = {
            name: stack.enter_context(contextlib.closing(Proxy(server.port, change)))
            for name, (change, _) in BROKEN.items()
        }
        server.env["POTOK_URL"] = ",".join(proxy.url for proxy in proxies.values())
        server.env["TRUSTED_PROXIES"] = "127.0.0.1"
        stack.callback(server.close)
        server.start()
        for proxy in proxies.values():
            proxy.start()
        yield proxies, examine(server)


@pytest.mark.parametrize("name", BROKEN)
def test_a_proxy_is_judged_by_what_passes_through_it(behind_proxies, name):
    proxies, report = behind_proxies
    proxy = proxies[name]
    about = [f for f in report.findings if proxy.url in f["sentence"] and f["name"] != "https"]
    found = {f["name"] for f in about if f["level"] != "ok"}
    assert found == BROKEN[name][1], about
    assert all(f["advice"] for f in about if f["level"] != "ok")
    # What is not reached is not judged any further.
    assert len(about) == (1 if "address" in found else 5)


@pytest.mark.parametrize(
    ("env", "change", "told"),
    [
        ({"TRUSTED_PROXIES": "127.0.0.1"}, str, None),
        ({"TRUSTED_PROXIES": "localhost"}, str, None),
        ({}, str, "Set TRUSTED_PROXIES=127.0.0.1"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, str, "Set TRUSTED_PROXIES=127.0.0.1"),
        (
            {"TRUSTED_PROXIES": "127.0.0.1"},
            without("proxy_set_header X-Forwarded-Proto"),
            "A client's own X-Forwarded-Proto",
        ),
        (
            {"TRUSTED_PROXIES": "127.0.0.1"},
            replaced("X-Forwarded-Proto $scheme", 'X-Forwarded-Proto ""'),
            "takes https for http",
        ),
    ],
)
def test_https_is_known_to_potok_or_the_doctor_says_why_not(
    tmp_path, shared_server, gateway, env, change, told
):
    server = Server(tmp_path / "behind", env_for(gateway) | env)
    shutil.copytree(shared_server.data_dir / "static", server.data_dir / "static")
    server.data_dir.chmod(0o700)
    with contextlib.closing(Proxy(server.port, change, https=True)) as proxy:
        server.env["POTOK_URL"] = proxy.url
        with contextlib.closing(server.start()):
            proxy.start()
            unknown = examine(server)
            assert "certificate is not valid" in unknown.of("address")["sentence"]
            report = examine(server, SSL_CERT_FILE=str(proxy.certificate))
    if told is None:
        assert report.wrong() == EXPECTED, report.output
    else:
        finding = report.of("headers")
        assert told in finding["sentence"] + finding["advice"]
        assert finding["level"] != "ok"


def test_another_server_is_told_from_our_own(at_rest):
    address = f"127.0.0.1:{at_rest.port}"
    daphne = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(at_rest.port)]
    running = subprocess.Popen(
        [*daphne, "chat.asgi:application"],
        cwd=ROOT,
        env=at_rest.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: answers(f"http://{address}/healthz"), "daphne answers", 60)
        report = examine(at_rest)
        found = [f for f in report.findings if f["name"] == "server"]
        assert {f["level"] for f in found} == {"warning"}
        assert "manage.py serve" in found[0]["advice"]
    finally:
        running.kill()
        running.wait(10)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_the_servers_half_says_nothing_to_a_stranger(server):
    for headers in ({}, {"Authorization": "Bearer doctor"}, {"Authorization": "Bearer doctor:1:x"}):
        found = httpx.get(f"{server.url}/doctor", headers=headers, trust_env=False)
        assert (found.status_code, found.content) == (404, b"")


def test_a_doctor_with_another_secret_is_told_so(server):
    report = examine(server, SECRET_KEY="another one, of fifty characters and then some, " * 2)
    assert {f["name"] for f in report.findings if "SECRET_KEY" in f["sentence"]} >= {"address"}
