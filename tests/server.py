"""The real server in a process of its own, and what people use it with: HTTP, a socket."""

import json
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg import sql
from websockets.sync.client import ClientConnection, connect

from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery"
WORKER_IS_READY = "This worker is ready"
LISTENING = "0A"  # as /proc/net/tcp says it
ENDED = ("complete", "stopped", "failed", "interrupted")


class Server:
    """`manage.py serve` (or another command) with a data directory and a port that outlive it."""

    def __init__(
        self, data_dir: Path, env: Mapping[str, str] | None = None, command: str = "serve"
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = command
        self.root = ROOT
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(data_dir),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "POTOK_DATA_DIR": str(data_dir),
            # Tests ask faster than people may.
            "POTOK_REQUESTS_A_MINUTE": "0",
            **(env or {}),
        }
        self._log_path = data_dir / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.is_ending = False  # asked to end, and perhaps not gone yet
        self._clients: list[Client] = []

    # --- its life ---

    def start(self, deadline_s: float = 120) -> "Server":
        """Start the process and return once it answers; AssertionError with its log if it won't."""
        self.launch()
        until(self._answers, f"{self.command} answers at {self.url}", deadline_s)
        return self

    def launch(self) -> None:
        """Start the process and wait for nothing."""
        assert not self.is_running, "the server runs already"
        self.is_ending = False
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.arguments],
                cwd=self.root,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def arguments(self) -> list[str]:
        return ["manage.py", self.command]

    @property
    def pid(self) -> int:
        assert self._process, "the server was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def resident_mb(self) -> float:
        """What its process holds of the machine's memory; from /proc, so on Linux only."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def lines(self) -> int:
        """Sockets that others opened to it, broken ones too, which the kernel lists no more.

        Its own, to databases, come and go with its threads. From /proc, so on Linux only.
        """
        held = set()
        for each in Path(f"/proc/{self.pid}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                held.add(each.readlink().name)
        return len({name for name in held if name.startswith("socket:")} - self._others())

    def _others(self) -> set[str]:
        """All sockets that the kernel knows, but the connections to this server's port."""
        found = set()
        for row in Path("/proc/net/unix").read_text().splitlines()[1:]:
            found.add(f"socket:[{row.split()[6]}]")
        for table in ("tcp", "tcp6"):
            for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *rest = row.split()
                if int(local.rpartition(":")[2], 16) != self.port or state == LISTENING:
                    found.add(f"socket:[{rest[5]}]")
        return found

    def kill(self) -> None:
        """SIGKILL, and the process is gone."""
        if self._process:
            self._process.kill()
            self._process.wait(10)

    def close(self) -> None:
        """Kill it and close its clients' connections: the end of a test."""
        self.kill()
        for client in self._clients:
            client.http.close()

    def terminate(self, deadline_s: float = 30) -> int:
        """SIGTERM, and the exit code once the process has ended by itself."""
        self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def restart(self) -> None:
        """As an operator does it: SIGTERM, then a new process."""
        self.terminate()
        self.start()

    def signal(self, number: int) -> None:
        self.is_ending = self.is_ending or number == signal.SIGTERM
        os.kill(self.pid, number)

    def wait(self, deadline_s: float = 30) -> int:
        """The exit code, once the process has ended."""
        assert self._process, "the server was never started"
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"The server still runs {deadline_s:g} s later.\n{self.log[-4000:]}"
            ) from None

    def _answers(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"The server ended with {self.wait()}.\n{self.log[-4000:]}")
        try:
            return get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    # --- what it says, and what is said to it ---

    @property
    def log(self) -> str:
        """All that its processes have printed since the data directory was made."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def wait_for_log(self, text: str, times: int = 1, deadline_s: float = 60) -> None:
        """It has printed `text` so many times; AssertionError with its log if it ends before."""

        def is_said() -> bool:
            assert self.is_running, f"{self.command} has ended.\n{self.log[-4000:]}"
            return self.log.count(text) >= times

        until(is_said, f"{self.command} prints {text!r}", deadline_s)

    @property
    def runner(self) -> "Server":
        """The process that runs replies."""
        return self

    def manage(self, *arguments: str) -> str:
        """The output of another manage.py command under the same environment."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, f"manage.py {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def row(self, query: str) -> tuple[Any, ...] | None:
        """The first row of a query, asked of the database without the server."""
        path = f"file:{self.data_dir / 'db.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True, timeout=20)) as connection:
            return connection.execute(query).fetchone()

    @contextmanager
    def without_database(self) -> Iterator[Any]:
        """Somebody else, the given connection, holds it and lets nobody write."""
        path = self.data_dir / "db.sqlite3"
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield connection
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def stored(self) -> bytes:
        """All that its data directory holds, the database among it."""
        return b"".join(path.read_bytes() for path in self.data_dir.iterdir() if path.is_file())

    def add_user(self, username: str) -> "Client":
        """A new ordinary user, logged in."""
        return self.add_users([username])[0]

    def add_users(self, usernames: Sequence[str]) -> list["Client"]:
        create = f"[User.objects.create_user(n, password={PASSWORD!r}) for n in {list(usernames)}]"
        if usernames:
            self.manage("shell", "-v0", "-c", f"from chat.models import User; {create}")
        return [self.visitor().log_in(username) for username in usernames]

    def grow(self, conversation: str, turns: int) -> None:
        """So many questions and answers more in a conversation; see tests.rows.grow."""
        found = f"Conversation.objects.get(uuid={conversation!r})"
        names = "from chat.models import Conversation; from tests import rows"
        self.manage("shell", "-v0", "-c", f"{names}; rows.grow({found}, {turns})")

    def visitor(self, **headers: str) -> "Client":
        """Somebody who is not logged in."""
        self._clients.append(Client(self, headers))
        return self._clients[-1]


class Pair(Server):
    """The scaled form as one thing: a web process and a worker, with one data directory and log."""

    def __init__(self, data_dir: Path, env: Mapping[str, str]) -> None:
        super().__init__(data_dir, env)
        self.worker = Server(data_dir, command="work")
        self.worker.env = self.env

    def start(self, deadline_s: float = 60) -> "Pair":
        """Whichever of the two doesn't run."""
        starts = self.log.count(WORKER_IS_READY)
        self.worker.root = self.root
        if launched := not self.worker.is_running:
            self.worker.launch()
        if not super().is_running:
            super().launch()
        until(self._answers, f"the web process answers at {self.url}", deadline_s)
        if launched:
            self.worker.wait_for_log(WORKER_IS_READY, starts + 1, deadline_s)
        return self

    @property
    def runner(self) -> Server:
        return self.worker

    @property
    def is_running(self) -> bool:
        return super().is_running and self.worker.is_running

    def kill(self) -> None:
        self.worker.kill()
        super().kill()

    def signal(self, number: int) -> None:
        super().signal(number)
        self.worker.signal(number)

    def row(self, query: str) -> tuple[Any, ...] | None:
        """The first row of a query, asked of the database without the server."""
        with psycopg.connect(self.env["DATABASE_URL"]) as connection:
            return connection.execute(query).fetchone()

    @contextmanager
    def without_database(self) -> Iterator[Any]:
        """Somebody else, the given connection, holds it and lets nobody write."""
        with psycopg.connect(self.env["DATABASE_URL"]) as connection:
            connection.execute("LOCK TABLE chat_generation, chat_message IN EXCLUSIVE MODE")
            yield connection

    def stored(self) -> bytes:
        """All that its data directory and every table of its database hold."""
        with psycopg.connect(self.env["DATABASE_URL"]) as connection:
            names = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
            rows = []
            for (name,) in names.fetchall():
                table = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
                with connection.cursor().copy(table) as copied:
                    rows += map(bytes, copied)
        return super().stored() + b"".join(rows)

    def wait(self, deadline_s: float = 30) -> int:
        """The exit code, which has to be the same for both."""
        code, of_worker = super().wait(deadline_s), self.worker.wait(deadline_s)
        assert code == of_worker, f"The web process ended with {code}, the worker with {of_worker}."
        return code


class Client:
    """One person's session over HTTP; redirects are not followed."""

    def __init__(self, server: Server, headers: Mapping[str, str] | None = None) -> None:
        self.server = server
        self.http = httpx.Client(
            base_url=server.url,
            headers={"Origin": server.url, "Accept-Language": "en", **(headers or {})},
            timeout=30,
            trust_env=False,
            verify=False,
        )

    def set_up(self, username: str = "owner") -> "Client":
        """Become the first owner of a server without users."""
        fields = {"username": username, "password1": PASSWORD, "password2": PASSWORD}
        self._enter("/setup/", fields)
        return self

    def log_in(self, username: str = "owner", password: str = PASSWORD) -> "Client":
        self._enter("/login/", {"username": username, "password": password})
        return self

    def _enter(self, path: str, fields: Mapping[str, str]) -> None:
        self.get(path)
        answer = self.post(path, fields)
        assert answer.status_code == 302, self._unlike(path, answer)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(path, headers=headers)

    def post(
        self, path: str, fields: Mapping[str, str] | None = None, *, htmx: bool = False
    ) -> httpx.Response:
        """Submit a form with the session's CSRF token; with `htmx` as htmx would."""
        token = self.http.cookies.get("csrftoken") or ""
        headers = {"HX-Request": "true"} if htmx else {}
        form = {"csrfmiddlewaretoken": token, **(fields or {})}
        return self.http.post(path, data=form, headers=headers)

    def send(self, text: str, conversation: str | None = None, **fields: str) -> str:
        """Ask in a conversation, else in a new one; the conversation's id."""
        path = f"/c/{conversation}/messages/" if conversation else "/messages/"
        answer = self.post(path, {"text": text, **fields})
        assert answer.status_code == 303, self._unlike(path, answer)
        found = re.search(r"/c/([0-9a-f-]{36})/", answer.headers["Location"])
        assert found, f"{path} went to {answer.headers['Location']}"
        return found[1]

    def export(self, conversation: str) -> dict[str, Any]:
        answer = self.get(f"/c/{conversation}/export.json")
        assert answer.status_code == 200, self._unlike("the export", answer)
        exported: dict[str, Any] = answer.json()
        return exported

    def last(self, conversation: str) -> dict[str, Any]:
        """The last message of the current branch."""
        messages = [each for each in self.export(conversation)["messages"] if each["current"]]
        return dict(messages[-1])

    def wait_for_reply(
        self, conversation: str, status: str | None = None, deadline_s: float = 20
    ) -> dict[str, Any]:
        """The last message once it has this status, else once it has ended."""
        wanted = (status,) if status else ENDED

        def reply() -> dict[str, Any] | None:
            last = self.last(conversation)
            return last if last["role"] == "assistant" and last["status"] in wanted else None

        found = until(reply, f"a reply that is {' or '.join(wanted)}", deadline_s)
        assert found
        return found

    def wait_for_text(self, conversation: str, text: str, deadline_s: float = 20) -> None:
        """The last message has this text among the rest."""
        until(lambda: text in self.last(conversation)["text"], f"{text!r} is saved", deadline_s)

    def socket(self, **headers: str) -> "Socket":
        """A websocket with this session's cookies, from the page's own origin."""
        return Socket(self, headers)

    def _unlike(self, path: str, answer: httpx.Response) -> str:
        log = self.server.log[-3000:]
        return f"{path} answered {answer.status_code}: {answer.text[:3000]}\n{log}"

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.name: cookie.value or "" for cookie in self.http.cookies.jar}


class Socket:
    """One websocket to /ws/; use it in `with`."""

    def __init__(self, client: Client, headers: Mapping[str, str]) -> None:
        url = client.server.url.replace("http", "ws", 1) + "/ws/"
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        names = {"Origin": client.server.url, "Cookie": cookies, **headers}
        self._opening = connect(
            url, additional_headers=names, proxy=None, max_size=None, open_timeout=10
        )

    def __enter__(self) -> "Socket":
        self.connection: ClientConnection = self._opening.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._opening.__exit__(*exc)

    def say(self, payload: object) -> None:
        """Send a JSON frame."""
        self.connection.send(json.dumps(payload))

    def receive(self, deadline_s: float = 10) -> str:
        """The next frame as text."""
        return str(self.connection.recv(timeout=deadline_s))

    def receive_until(self, pattern: str, deadline_s: float = 10) -> list[str]:
        """The frames up to the first one that matches; AssertionError after the deadline."""
        frames: list[str] = []

        def matched() -> bool:
            frames.append(self.receive(deadline_s))
            return re.search(pattern, frames[-1]) is not None

        until(matched, f"a frame matches {pattern!r}", deadline_s)
        return frames

    def wait_closed(self, deadline_s: float = 10) -> int:
        """The close code, once the server has closed."""
        until(lambda: self.connection.close_code, "the server closes the socket", deadline_s)
        return self.connection.close_code or 0


def get(url: str, timeout_s: float = 5.0) -> httpx.Response:
    """One request of http. To load the certificates of https would take a twentieth of a second."""
    return httpx.get(url, trust_env=False, verify=False, timeout=timeout_s)


def free_port() -> int:
    """A port below the kernel's own range, so that no outgoing connection takes it meanwhile.

    Chosen by `secrets`: a seeded `random` would choose the same in every xdist worker.
    """
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
