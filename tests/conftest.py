"""Fixtures; what they are for is in docs/testing.md.

Tests of one worker share a server and a gateway (`server`, `owner`, `gateway`), and leave what they
asked for ended. A test that stops the server or counts everything takes `fresh_server`.
"""

import filecmp
import ipaddress
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import hypothesis
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from chat.catalogues import compile_catalogues
from tests import browser as chromium
from tests.gateway import Gateway
from tests.server import ROOT, Client, Pair, Server, free_port
from tests.services import PostgreSQL, RedisServer
from tests.waiting import until

# --- this process: its own data directory, nothing of the developer's environment, loopback only --

OURS = re.compile(
    r"POTOK_|DJANGO_|(OPENAI|AITUNNEL|AIJORA|OPENROUTER)_"
    r"|(HOST|PORT|SECRET_KEY|DATABASE_URL|REDIS_URL|TRUSTED_PROXIES|EMAIL_URL|TIME_ZONE"
    r"|LANGUAGE_CODE|METRICS_TOKEN)$"
)
OF_TESTS = ("POTOK_STREAMS_DIR", "POTOK_TEST_DATABASE")
IS_SCALED = os.environ.get("POTOK_TEST_FORM") == "scaled"
OF_TESTS = ("POTOK_STREAMS_DIR", "POTOK_TEST_FORM")
for name in [name for name in os.environ if OURS.match(name) and name not in OF_TESTS]:
    del os.environ[name]
_data_dir = tempfile.mkdtemp(prefix="potok-tests-")
# PostgreSQL listens there once a test wants it.
_database_port = free_port()
_own = {
    "DJANGO_SETTINGS_MODULE": "chat.settings",
    "POTOK_DATA_DIR": _data_dir,
    # Tests ask faster than people may.
    "POTOK_REQUESTS_A_MINUTE": "0",
}
if IS_SCALED:
    _own["DATABASE_URL"] = PostgreSQL.address(_database_port)
os.environ.update(_own)
# pytest-django sets up only what is configured already, and test modules import our models.
django.setup()
# xdist's workers inherit the environment, and would read these before they come to their own.
for name in _own:
    del os.environ[name]


def _loopback_only(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    else:
        return
    if not _is_loopback(host):
        raise AssertionError(f"a test reaches out to {host!r}")


def _is_loopback(host: object) -> bool:
    if host in (None, "", "::1", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        if ":" in text:
            text = str(ipaddress.ip_address(text).ipv4_mapped)
        # However it is written: 127.1, 2130706433, 0x7f000001; and 0.0.0.0 is this machine too.
        numbers = socket.inet_aton(text)
    except (OSError, ValueError, AttributeError):
        return False
    return numbers[0] == 127 or not any(numbers)


sys.addaudithook(_loopback_only)


# A machine that does something else at the same time must not fail a property by its deadline.
hypothesis.settings.register_profile("quick", max_examples=60, deadline=None)
hypothesis.settings.register_profile("fuzz", max_examples=5_000, deadline=None)
hypothesis.settings.load_profile("quick")


def pytest_sessionstart() -> None:
    compile_catalogues()


def pytest_unconfigure() -> None:
    shutil.rmtree(_data_dir, ignore_errors=True)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """A database as in real life: SQLite's in a file, as in memory it knows no second thread."""
    from django.conf import settings

    if IS_SCALED:
        request.getfixturevalue("postgresql")
        return
    path = request.getfixturevalue("tmp_path_factory").mktemp("database") / "test.sqlite3"
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(path)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """PostgreSQL drops no database while threads of ours keep a connection to it."""
    yield
    if IS_SCALED:
        from tests import rows

        with django_db_blocker.unblock():
            rows.break_lines()


# --- pages and logins of this process ----------------------------------------------------------


@pytest.fixture
def plain_static(settings: Any, tmp_path: Path) -> None:
    """Static files under plain addresses, as none are collected."""
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = settings.STORAGES | {"staticfiles": storage}
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def trust(settings: Any) -> Iterator[Callable[[list[str]], None]]:
    """Says which proxies are trusted, for one test: the networks are read once."""
    from chat.proxies import _networks

    def trusted(proxies: list[str]) -> None:
        settings.TRUSTED_PROXIES = proxies
        _networks.cache_clear()

    yield trusted
    _networks.cache_clear()


@pytest.fixture
def cheap_passwords(settings: Any) -> None:
    """Passwords that cost nothing."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


# --- a scripted gateway and servers ----------------------------------------------------------


@pytest.fixture(scope="session")
def shared_gateway() -> Iterator[Gateway]:
    with Gateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(shared_gateway: Gateway) -> Iterator[Gateway]:
    """The gateway that every server here knows; fails if a queued script was never asked for."""
    shared_gateway.reset()
    yield shared_gateway
    unused, failures = shared_gateway.unused, shared_gateway.failures
    assert failures == []
    assert unused == 0, f"{unused} scripted answers were never asked for"


MakeServer = Callable[[Path, dict[str, str]], Server]


@pytest.fixture(scope="session")
def make_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> MakeServer:
    """A server that does not run yet, of the form that is tested."""
    if not IS_SCALED:
        return Server
    postgresql = request.getfixturevalue("postgresql")
    env = {"REDIS_URL": request.getfixturevalue("redis_server").url, "POTOK_LEASE_S": "2"}
    # Migrated once, as that takes longer than all the rest of a start.
    template = {"DATABASE_URL": postgresql.create_database("migrated")}
    Server(tmp_path_factory.mktemp("release"), env | template).manage("migrate", "-v0")

    def make(data_dir: Path, more: dict[str, str]) -> Server:
        database = {"DATABASE_URL": postgresql.create_database(template="migrated")}
        return Pair(data_dir, env | database | more)

    return make


@pytest.fixture
def start_server(
    tmp_path: Path, gateway: Gateway, shared_server: Server, make_server: MakeServer
) -> Iterator[Callable[..., Server]]:
    """Start a server with more environment: start_server(POTOK_DRAIN_S="1").

    `root`: where its program is, if it is another version.
    """
    servers: list[Server] = []

    def start(root: Path = ROOT, **env: str) -> Server:
        data_dir = tmp_path / f"server-{len(servers)}"
        shutil.copytree(shared_server.data_dir / "static", data_dir / "static")
        servers.append(make_server(data_dir, env_for(gateway) | env))
        servers[-1].root = root
        return servers[-1].start()

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def fresh_server(start_server: Callable[..., Server]) -> Server:
    """A server of this test's own, without users."""
    return start_server()


@pytest.fixture(scope="session")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, shared_gateway: Gateway, make_server: MakeServer
) -> Iterator[Server]:
    data_dir = tmp_path_factory.mktemp("server")
    # Compressing the static files is nearly all of a first start. They are kept from run to run;
    # `serve` sees by its own stamp whether they still are what it would collect.
    kept, collected = ROOT / "build" / "static", data_dir / "static"
    copy(kept, collected)
    server = make_server(data_dir, env_for(shared_gateway))
    try:
        server.start(180)
        # Before a test gives the gateway other models to list.
        until(lambda: asked_for_models(shared_gateway), "the server has asked for the models")
        stamp = ".collected"
        if not (kept / stamp).exists() or not filecmp.cmp(kept / stamp, collected / stamp):
            shutil.rmtree(kept, ignore_errors=True)
            copy(collected, kept)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def shared_owner(shared_server: Server) -> Client:
    return shared_server.visitor().set_up()


@pytest.fixture
def server(shared_server: Server, gateway: Gateway, shared_owner: Client) -> Iterator[Server]:
    """The worker's server, with the user `owner`; it runs again after a test that ended it.

    Fixtures of other modules may want it before the next test does.
    """
    yield shared_server
    if shared_server.is_ending or not shared_server.is_running:
        shared_server.kill()
        shared_server.start()


@pytest.fixture
def owner(server: Server, shared_owner: Client) -> Client:
    """The owner's session at `server`; log out only from a session of your own."""
    return shared_owner


def copy(source: Path, target: Path) -> None:
    """Copy a directory if it is there, whole or not at all: another worker may be replacing it."""
    draft = target.with_name(f"{target.name}-{os.getpid()}")
    try:
        shutil.copytree(source, draft)
        draft.rename(target)
    except OSError:  # shutil.Error is one
        shutil.rmtree(draft, ignore_errors=True)


def asked_for_models(gateway: Gateway) -> bool:
    return any(call.path == "/v1/models" for call in gateway.requests)


def env_for(gateway: Gateway) -> dict[str, str]:
    return {"OPENAI_BASE_URL": gateway.url, "OPENAI_API_KEY": "sk-test"}


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    service = RedisServer()
    yield service
    service.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    service = PostgreSQL(_database_port)
    yield service
    service.close()


# --- a browser -------------------------------------------------------------------------------

OpenPage = Callable[..., Page]
failed = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember a failure for the screenshots, and show what the test's servers had to say."""
    report = yield
    item.stash[failed] = item.stash.get(failed, False) or report.failed
    if report.failed:
        used = getattr(item, "funcargs", {}).values()
        servers = [each.server if isinstance(each, Client) else each for each in used]
        logs = dict.fromkeys(each.log[-4000:] for each in servers if isinstance(each, Server))
        report.sections += [("server log", log) for log in logs]
    return report


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
    wants_full_time = "full_time" in config.option.markexpr
    others = [
        item
        for item in items
        if (IS_SCALED and not has_both_forms(item))
        or (item.get_closest_marker("full_time") and not wants_full_time)
    ]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]


def has_both_forms(item: pytest.Item) -> bool:
    """Whether it is one thing to prove it of one process on SQLite, and another of several."""
    if item.get_closest_marker("one_form"):
        return False
    return bool(item.get_closest_marker("django_db")) or "shared_server" in item.fixturenames


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. A module's, not the session's: while it lives this thread has a running event

    loop, and neither an async test nor the ORM would work in another module's tests.
    """
    with sync_playwright() as playwright:
        executable = chromium.chromium(playwright)
        if executable is None and not os.environ.get("CI"):
            pytest.skip("no Chromium: make browser")
        assert executable, "no Chromium: make browser"
        running = chromium.launch(playwright, executable)
        yield running
        running.close()


@pytest.fixture
def locale() -> str:
    """The pages' language; parametrize `locale` to change it."""
    return "en"


@pytest.fixture
def complaints() -> list[chromium.Complaints]:
    """One for each open_page(), in that order; a complaint not allowed fails the test."""
    return []


@pytest.fixture
def open_page(
    request: pytest.FixtureRequest,
    browser: Browser,
    locale: str,
    complaints: list[chromium.Complaints],
) -> Iterator[OpenPage]:
    """open_page(client, **context options): a window of its own, with that client's session."""
    contexts: list[BrowserContext] = []

    def open_(client: Client, **options: object) -> Page:
        url = client.server.url
        context = browser.new_context(base_url=url, **{"locale": locale, **options})
        cookies = client.cookies.items()
        context.add_cookies([{"name": key, "value": value, "url": url} for key, value in cookies])
        context.set_default_timeout(10_000)
        contexts.append(context)
        complaints.append(chromium.Complaints(context))
        return context.new_page()

    yield open_
    for number, context in enumerate(contexts):
        if request.node.stash.get(failed, False):
            for tab, page in enumerate(context.pages):
                name = re.sub(r"\W+", "-", request.node.nodeid)
                page.screenshot(path=ROOT / "build/failures" / f"{name}-{number}-{tab}.png")
        context.close()
    assert [text for each in complaints for text in each.unexpected] == []


@pytest.fixture
def page(open_page: OpenPage, owner: Client) -> Page:
    """A window of the owner's at the shared server, on no page yet."""
    return open_page(owner)
