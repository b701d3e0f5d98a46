"""The scaled form: two web processes, two workers, PostgreSQL and Redis, and what happens when one dies.

No page here is bound to a process: what is asked for on `a` is watched and stopped on `b`.
"""

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed

from tests.gateway import Gateway
from tests.script import Every, Hang, chunk, usage_of
from tests.server import Client, Server
from tests.services import PostgreSQL, RedisServer
from tests.waiting import until

pytestmark = pytest.mark.one_form
LEASE_S = 2.0
DRAIN_S = 2.0
READY = "This worker is ready"
# No two places of it look alike, so a word lost or doubled shows.
WORD = "stream-of-#9 "
TALK = Every(chunk({"content": WORD}), 0.01)


class Cluster:
    """`a` and `b` serve, `workers` run replies."""

    def __init__(self, directory: Path, env: dict[str, str], redis: RedisServer) -> None:
        self.redis = redis
        self.a, self.b = (Server(directory / name, env) for name in "ab")
        self.workers = [Server(directory / f"worker{n}", env, "work") for n in range(2)]
        origins = f"{self.a.url},{self.b.url}"
        for server in self.servers:
            server.env |= {"POTOK_URL": origins, "POTOK_DEMO_URL": f"{self.a.url}/demo/v1"}

    @property
    def servers(self) -> list[Server]:
        return [self.a, self.b, *self.workers]

    def start(self) -> None:
        """Whatever doesn't run, or was left frozen by a test that failed."""
        for each in [self.redis, *self.servers]:
            if each.is_running:
                os.kill(each.pid, signal.SIGCONT)
        if not self.redis.is_running:
            self.redis.start()
        for server in (self.a, self.b):
            if not server.is_running:
                server.start()
        self.start_workers()

    def start_workers(self) -> None:
        asleep = [worker for worker in self.workers if not worker.is_running]
        starts = [worker.log.count(READY) for worker in asleep]
        for worker in asleep:
            worker.launch()
        for worker, before in zip(asleep, starts, strict=True):
            until(lambda w=worker, n=before: self._is_up(w, n), "a worker is ready", 60)

    @staticmethod
    def _is_up(worker: Server, before: int) -> bool:
        assert worker.is_running, worker.log[-4000:]
        return worker.log.count(READY) > before

    def twin(self, client: Client) -> Client:
        """The same login on `b`."""
        twin = self.b.visitor()
        twin.http.cookies = client.http.cookies
        return twin


@pytest.fixture(scope="module")
def redis_of_cluster() -> Iterator[RedisServer]:
    """Its own, as these tests end it."""
    with contextlib.closing(RedisServer()) as redis:
        yield redis


@pytest.fixture(scope="module")
def shared_cluster(
    tmp_path_factory: pytest.TempPathFactory,
    shared_gateway: Gateway,
    shared_server: Server,
    postgresql: PostgreSQL,
    redis_of_cluster: RedisServer,
) -> Iterator[Cluster]:
    env = {
        "OPENAI_BASE_URL": shared_gateway.url,
        "OPENAI_API_KEY": "sk-test",
        "DATABASE_URL": postgresql.create_database(),
        "REDIS_URL": redis_of_cluster.url,
        "SECRET_KEY": "one for all of them and long enough to be one",
        "POTOK_SECRETS_KEY": "another one for all of them and long enough too",
        "POTOK_LEASE_S": str(LEASE_S),
        "POTOK_DRAIN_S": str(DRAIN_S),
    }
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), env, redis_of_cluster)
    for server in (cluster.a, cluster.b):
        shutil.copytree(shared_server.data_dir / "static", server.data_dir / "static")
    try:
        cluster.a.manage("migrate", "-v0")
        cluster.start()
        yield cluster
    finally:
        for server in cluster.servers:
            server.close()


@pytest.fixture(scope="module")
def shared_ann(shared_cluster: Cluster) -> Client:
    return shared_cluster.a.visitor().set_up("ann")


@pytest.fixture
def cluster(shared_cluster: Cluster, gateway: Gateway) -> Cluster:
    shared_cluster.start()
    return shared_cluster


@pytest.fixture
def ann(shared_ann: Client, cluster: Cluster) -> Client:
    """A login on `a`."""
    return shared_ann


class Watcher(threading.Thread):
    """A page on a conversation that takes all that comes.

    `seen`: so many characters of a running reply it has had from its log.
    """

    def __init__(self, client: Client, conversation: str) -> None:
        super().__init__(name="watcher", daemon=True)
        self._socket = client.socket()
        self._watch = {"conversation": conversation, "version": 0}
        self.seen = 0
        self.frames: list[dict] = []

    def __enter__(self) -> "Watcher":
        self.socket = self._socket.__enter__()
        self.socket.say({"watch": self._watch})
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.__exit__(*exc)
        self.join(10)

    def run(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                frame = json.loads(self.socket.receive(60))
                self.frames.append(frame)
                for _, _, text in frame.get("cursors", {}).values():
                    self.seen = max(self.seen, text)
                if frame["n"] % 10 == 0:  # more often than 40 times a second is not allowed
                    self.socket.say({"ack": frame["n"]})

    def has(self, text: str) -> bool:
        return any(text in json.dumps(frame, ensure_ascii=False) for frame in list(self.frames))

    def wait_for(self, chars: int, deadline_s: float = 10) -> None:
        until(lambda: self.seen >= chars, f"{chars} characters are seen", deadline_s)


def is_talk(text: str) -> bool:
    return text == (WORD * (len(text) // len(WORD) + 1))[: len(text)]


def stop(client: Client, conversation: str) -> None:
    reply = client.last(conversation)["id"]
    assert client.post(f"/m/{reply}/stop/").status_code == 303


# --- while all is well ----------------------------------------------------------------------------


def test_a_reply_asked_for_on_one_is_watched_and_stopped_on_another(cluster, ann, gateway):
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    twin = cluster.twin(ann)
    with Watcher(twin, conversation) as page:
        page.wait_for(200)
        stop(twin, conversation)
        call = gateway.wait_for_request()
        call.wait_closed(1)
        reply = ann.wait_for_reply(conversation)
        until(lambda: page.has('data-status=\\"stopped\\"'), "the page shows that it was stopped")
    assert reply["status"] == "stopped"
    assert is_talk(reply["text"])
    assert page.seen <= len(reply["text"])


def test_what_changes_on_one_is_told_on_another(cluster, ann):
    conversation = ann.send("Hello")
    ann.wait_for_reply(conversation, "complete")
    with Watcher(cluster.twin(ann), conversation) as page:
        until(lambda: page.has("Hello from"), "the page is there")
        ann.post(f"/c/{conversation}/rename/", {"title": "Named elsewhere"})
        until(lambda: page.has("Named elsewhere"), "the new title", 1.5)


def test_what_came_before_a_page_opened_is_there_as_well(cluster, ann, gateway):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world")
    conversation = ann.send("Say hello")
    gate.wait_reached()
    with Watcher(cluster.twin(ann), conversation) as page:
        until(lambda: page.has("Hello"), "the words are seen")
        gate.open()
        page.wait_for(len("Hello world"))
        until(lambda: page.has('data-status=\\"complete\\"'), "the page shows the end")


def test_a_page_of_several_says_what_it_needs(cluster, ann):
    assert ann.get("/readyz").json() == {
        "database": "ok",
        "redis": "ok",
        "runner": "off",
        "draining": "off",
    }


# --- a worker ends --------------------------------------------------------------------------------


def test_killed_workers_leave_all_that_was_seen(cluster, ann, gateway):
    """No worker is left: the web processes notice it."""
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    twin = cluster.twin(ann)
    with Watcher(twin, conversation) as page:
        page.wait_for(500)
        for worker in cluster.workers:
            worker.kill()
        reply = ann.wait_for_reply(conversation, "interrupted", LEASE_S + 5)
        until(lambda: page.has('data-status=\\"interrupted\\"'), "the page shows it", 3)
    assert reply["error"]["kind"] == "crash"
    assert is_talk(reply["text"])
    assert page.seen <= len(reply["text"])
    assert reply["usage"]["confidence"] == "estimated"
    assert len(gateway.calls) == 1


def test_a_worker_that_was_frozen_past_its_lease_writes_nothing_more(cluster, ann, gateway):
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    with Watcher(cluster.twin(ann), conversation) as page:
        page.wait_for(300)
        for worker in cluster.workers:
            worker.signal(signal.SIGSTOP)
        before = ann.wait_for_reply(conversation, "interrupted", LEASE_S + 5)
        for worker in cluster.workers:
            worker.signal(signal.SIGCONT)
        gateway.wait_for_request().wait_closed(5)
    assert ann.last(conversation) == before
    assert page.seen <= len(before["text"])


def test_a_reply_waits_for_a_worker(cluster, ann, gateway):
    for worker in cluster.workers:
        worker.terminate()
    conversation = ann.send("Hello")
    assert ann.last(conversation)["status"] == "queued"
    cluster.start_workers()
    assert ann.wait_for_reply(conversation)["status"] == "complete"


def test_a_worker_that_is_asked_to_end_lets_its_replies_finish(cluster, ann, gateway):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world")
    conversation = ann.send("Say hello")
    gate.wait_reached()
    for worker in cluster.workers:
        worker.signal(signal.SIGTERM)
    gate.open()
    assert ann.wait_for_reply(conversation)["status"] == "complete"
    assert [worker.wait(DRAIN_S + 5) for worker in cluster.workers] == [0, 0]


def test_a_worker_that_can_wait_no_longer_saves_its_replies(cluster, ann, gateway):
    gateway.reply("Hello", Hang())
    conversation = ann.send("Say hello")
    with Watcher(cluster.twin(ann), conversation) as page:
        until(lambda: page.has("Hello"), "the words are seen")
        for worker in cluster.workers:
            worker.signal(signal.SIGTERM)
        assert [worker.wait(DRAIN_S + 5) for worker in cluster.workers] == [0, 0]
        reply = ann.last(conversation)
        until(lambda: page.has('data-status=\\"interrupted\\"'), "the page shows it")
    assert (reply["text"], reply["status"]) == ("Hello", "interrupted")
    assert reply["error"]["kind"] == "restart"


# --- a web process ends ---------------------------------------------------------------------------


def test_a_reply_outlives_the_process_that_took_the_question(cluster, ann, gateway):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world")
    conversation = ann.send("Say hello")
    gate.wait_reached()
    cluster.a.kill()
    gate.open()
    reply = cluster.twin(ann).wait_for_reply(conversation)
    assert (reply["text"], reply["status"]) == ("Hello world", "complete")


def test_a_web_process_that_is_asked_to_end_sends_its_pages_to_another(cluster, ann, gateway):
    with cluster.twin(ann).socket() as socket:
        socket.receive()
        began = time.monotonic()
        cluster.b.signal(signal.SIGTERM)
        assert socket.wait_closed() == 1012
    assert cluster.b.wait(DRAIN_S + 5) == 0
    assert time.monotonic() - began < DRAIN_S + 5


# --- Redis ends -----------------------------------------------------------------------------------


def redis_as_told(client: Client) -> str:
    return client.get("/readyz").json()["redis"]


def test_redis_goes_and_comes_back_empty(cluster, ann, gateway):
    """The rows stand in for it, nothing is lost, and pages are up to date within 3 s."""
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    with Watcher(cluster.twin(ann), conversation) as page:
        page.wait_for(200)
        cluster.redis.kill()
        page.wait_for(len(ann.last(conversation)["text"]) + 100, 3)
        until(lambda: "Redis" in redis_as_told(ann), "it says that Redis is away", 3)
        assert ann.get("/readyz").status_code == 200
        cluster.redis.start()
        page.wait_for(len(ann.last(conversation)["text"]) + 100, 3)
        until(lambda: redis_as_told(ann) == "ok", "Redis is heard again", 3)
        stop(cluster.twin(ann), conversation)
        gateway.wait_for_request().wait_closed(3)
        reply = ann.wait_for_reply(conversation)
        until(
            lambda: page.has('data-status=\\"stopped\\"'), "the page shows that it was stopped", 3
        )
    assert reply["status"] == "stopped"
    assert is_talk(reply["text"])
    assert page.seen <= len(reply["text"])


def test_without_redis_pages_open_and_replies_are_asked_for_watched_and_stopped(
    cluster, ann, gateway
):
    cluster.redis.kill()
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    with Watcher(cluster.twin(ann), conversation) as page:
        page.wait_for(200)
        stop(ann, conversation)
        gateway.wait_for_request().wait_closed(3)
        reply = ann.wait_for_reply(conversation)
        until(
            lambda: page.has('data-status=\\"stopped\\"'), "the page shows that it was stopped", 3
        )
        assert is_talk(reply["text"])
        cluster.redis.start()
    until(lambda: redis_as_told(ann) == "ok", "Redis is heard again", 3)


def test_a_frozen_redis_holds_up_no_reply(cluster, ann, gateway):
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    with Watcher(cluster.twin(ann), conversation) as page:
        page.wait_for(200)
        cluster.redis.send(signal.SIGSTOP)
        page.wait_for(page.seen + 100, 4)
        page.wait_for(page.seen + 100, 3)
        cluster.redis.send(signal.SIGCONT)
        page.wait_for(len(ann.last(conversation)["text"]) + 200, 3)
        stop(ann, conversation)
        ann.wait_for_reply(conversation, "stopped")


# --- PostgreSQL is away ---------------------------------------------------------------------------


def test_words_go_on_while_postgresql_does_not_answer(cluster, ann, gateway, postgresql):
    """The page is told within 5 s that they are not saved, and keeps its socket."""
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    with Watcher(cluster.twin(ann), conversation) as page:
        page.wait_for(200)
        postgresql.send_all(signal.SIGSTOP)
        try:
            until(lambda: page.has('data-saved=\\"false\\"'), "the page is told", 5)
            page.wait_for(page.seen + 100, 2)
        finally:
            postgresql.send_all(signal.SIGCONT)
        seen = page.seen
        until(lambda: len(ann.last(conversation)["text"]) > seen, "all is saved")
        stop(ann, conversation)
        ann.wait_for_reply(conversation, "stopped")
        until(lambda: page.has('data-status=\\"stopped\\"'), "the same socket tells the end", 3)


def test_words_go_on_while_postgresql_is_restarted(cluster, ann, gateway, postgresql):
    gateway.reply(TALK)
    conversation = ann.send("Talk")
    with Watcher(cluster.twin(ann), conversation) as page:
        page.wait_for(200)
        postgresql.kill(signal.SIGINT)
        try:
            until(lambda: page.has('data-saved=\\"false\\"'), "the page is told", 5)
            page.wait_for(page.seen + 100, 2)
        finally:
            postgresql.start()
        seen = page.seen
        until(lambda: len(ann.last(conversation)["text"]) > seen, "all is saved")
        stop(ann, conversation)
        ann.wait_for_reply(conversation, "stopped")
        until(lambda: page.has('data-status=\\"stopped\\"'), "the same socket tells the end", 3)


def test_an_open_page_says_what_is_not_saved_and_needs_no_reload(
    cluster, ann, gateway, postgresql, open_page
):
    first, second = gateway.gate(), gateway.gate()
    gateway.reply("Hello ", first, "world", second, " again")
    conversation = ann.send("Say hello")
    first.wait_reached()
    page = open_page(cluster.twin(ann))
    page.goto(f"/c/{conversation}/")
    body = page.locator("[data-role=assistant] [data-part=body]")
    expect(body).to_contain_text("Hello")
    page.locator("body[data-connection=live]").wait_for()
    postgresql.kill(signal.SIGINT)
    try:
        assert ann.get("/readyz").status_code == 503
        assert ann.get("/healthz").status_code == 200
        first.open()
        expect(body).to_contain_text("Hello world")
        expect(page.locator("article .unsaved")).to_be_visible(timeout=6_000)
        expect(page.locator("body")).to_have_attribute("data-connection", "live")
    finally:
        postgresql.start()
    expect(page.locator("article .unsaved")).to_be_hidden(timeout=10_000)
    second.open()
    page.locator("[data-role=assistant][data-status=complete]").wait_for()
    lived = page.locator("#messages").evaluate("e => e.outerHTML")
    assert "Hello world again" in lived
    page.reload()
    assert page.locator("#messages").evaluate("e => e.outerHTML") == lived


def test_a_reply_that_ends_while_postgresql_restarts_is_complete_and_counted_once(
    cluster, ann, gateway, postgresql
):
    gate = gateway.gate()
    gateway.reply("Hello ", gate, "world", usage=usage_of(3, 2))
    conversation = ann.send("Say hello")
    gate.wait_reached()
    postgresql.kill(signal.SIGINT)
    try:
        gate.open()
        gateway.wait_for_request().wait_answered()
        # Nobody is taken for dead while nobody can write.
        away_since = time.monotonic()
        until(lambda: time.monotonic() > away_since + LEASE_S + 1, "a lease is over")
    finally:
        postgresql.start()
    reply = ann.wait_for_reply(conversation)
    assert (reply["text"], reply["status"]) == ("Hello world", "complete")
    assert (reply["usage"]["total_tokens"], reply["usage"]["confidence"]) == (5, "exact")
    assert len(gateway.calls) == 1


# --- starting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "work"])
def test_a_process_refuses_a_database_of_another_version(cluster, command, tmp_path, postgresql):
    server = Server(tmp_path / command, cluster.a.env, command)
    server.env |= {"DATABASE_URL": postgresql.create_database(), "PORT": str(server.port)}
    server.launch()
    assert server.wait() == 1
    assert "manage.py migrate" in server.log
    assert "Traceback" not in server.log


def test_a_worker_without_redis_says_why_there_is_none(tmp_path):
    server = Server(tmp_path / "worker", {}, "work")
    server.launch()
    assert server.wait() == 1
    assert "REDIS_URL" in server.log
