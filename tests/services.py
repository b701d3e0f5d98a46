"""PostgreSQL and Redis of our own: on free ports of loopback, gone when they are closed.

What the machine lacks is installed by apt-get where that is allowed: `python -m tests.services`.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import psycopg
import redis

from tests.server import free_port
from tests.waiting import until

PACKAGES = {"initdb": "postgresql", "redis-server": "redis-server", "nginx": "nginx-light"}
FAKETIME = "faketime/libfaketimeMT.so.1"


def program(name: str) -> str:
    """Its path; FileNotFoundError with what to do where it isn't installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [os.environ.get("PATH", ""), *map(str, versions), "/usr/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        package = PACKAGES.get(name, "postgresql")
        raise FileNotFoundError(f"{name} is not installed: sudo apt install {package}")
    # PostgreSQL looks for its parts beside itself, where a link would mislead it.
    return os.path.realpath(found) if name in ("initdb", "postgres") else found


def faketime() -> str:
    """The path of the library that fakes a process's clock; FileNotFoundError with what to do."""
    for place in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for found in [*Path(place).glob(FAKETIME), *Path(place).glob(f"*/{FAKETIME}")]:
            return str(found)
    raise FileNotFoundError("libfaketime is not installed: sudo apt install libfaketime")


def install() -> None:
    """Install what is missing, as root on Debian; elsewhere say what to do."""
    missing = []
    for find, package in WANTED:
        try:
            find()
        except FileNotFoundError:
            missing.append(package)
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stdout.write(f"Installing {', '.join(missing)}.\n")
        sys.stdout.flush()
        quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(
                ["apt-get", "-q", *command], env=quiet, check=True, stdout=subprocess.DEVNULL
            )
    for find, _ in WANTED:
        find()


WANTED: list[tuple[Callable[[], str], str]] = [
    *((partial(program, name), package) for name, package in PACKAGES.items()),
    (faketime, "libfaketime"),
]


class Service:
    """One program, run under an unprivileged user where we are root, ended by its process id."""

    def __init__(self, name: str, port: int | None = None, *, parent: Path | None = None) -> None:
        self.port = port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix=f"potok-{name}-", dir=parent))
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self.user = "nobody" if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.directory, pwd.getpwnam(self.user).pw_uid, -1)

    @property
    def pid(self) -> int:
        assert self._process, "it was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def run(self, arguments: Sequence[str], is_up: Callable[[], bool]) -> None:
        with (self.directory / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.user,
            )
        until(is_up, f"{arguments[0]} answers on port {self.port}", 30)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def send_all(self, number: int) -> None:
        """To its children as well, as far as it has any."""
        for pid in [self.pid, *self.children] if self.is_running else []:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def children(self) -> list[int]:
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, and wait until it has ended."""
        if self._process and self.is_running:
            self._process.send_signal(number)
            self._process.wait(20)

    def close(self) -> None:
        self.kill(signal.SIGINT)
        shutil.rmtree(self.directory, ignore_errors=True)


class PostgreSQL(Service):
    """A cluster of its own; `url` names a database in it."""

    def __init__(self, port: int | None = None, *, parent: Path | None = None) -> None:
        super().__init__("postgres", port, parent=parent)
        self._data = self.directory / "data"
        options = "--auth=trust --username=potok --encoding=UTF8 --locale=C.UTF-8 --no-sync"
        subprocess.run(
            [program("initdb"), *options.split(), f"--pgdata={self._data}"],
            cwd=self.directory,
            user=self.user,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.start()
        self.url = self.create_database("potok")

    def start(self) -> "PostgreSQL":
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            # The tests' clusters live for a minute; nothing here is to survive a power cut.
            "fsync": "off",
        }
        settings = [f"-c{name}={value}" for name, value in options.items()]
        self.run(
            [program("postgres"), f"-D{self._data}", f"-p{self.port}", *settings], self._answers
        )
        return self

    def create_database(self, name: str = "", template: str = "template1") -> str:
        """A new database, empty or a copy of `template`; its URL."""
        name = name or f"potok_{uuid.uuid4().hex}"
        with psycopg.connect(self.address(self.port, "postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.address(self.port, name)

    @staticmethod
    def address(port: int, database: str = "potok") -> str:
        return f"postgresql://potok@127.0.0.1:{port}/{database}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.address(self.port, "postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class RedisServer(Service):
    """Without a disk: started again, it is empty."""

    def __init__(self) -> None:
        super().__init__("redis")
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=5)
        self.start()

    def start(self) -> "RedisServer":
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        self.run([program("redis-server"), *options], self._answers)
        return self

    def close(self) -> None:
        self.client.close()
        super().close()

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


if __name__ == "__main__":
    try:
        install()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(f"\n    {error}\n")
