"""`make cluster`: the scaled form on this machine, as the Procfile and docs/deploy say it.

PostgreSQL (or DATABASE_URL), Redis (or REDIS_URL), the release line, two of each other line of the
Procfile, and nginx in front on PORT. What dies is started again; Ctrl-C ends it all.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpx

from tests.server import ROOT, free_port, get
from tests.services import PostgreSQL, RedisServer, install, program
from tests.waiting import until

COPIES = 2
DATA_DIR = ROOT / "build" / "cluster"


class Child:
    """One of our processes, in a session of its own: Ctrl-C reaches it through us only."""

    def __init__(self, name: str, command: list[str], env: dict[str, str]) -> None:
        self.name, self._command, self._env = name, command, env
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._env, stdin=subprocess.DEVNULL, start_new_session=True
        )
        say(f"{self.name} runs as process {self._process.pid}")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def end(self, within_s: float) -> None:
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        if not self.has_ended:
            self._process.terminate()


def main() -> None:
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    with contextlib.ExitStack() as stack:
        env = environment(stack)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="potok-nginx-")))
        lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
        subprocess.run([*words(lines.pop("release")), "-v0"], cwd=ROOT, env=env, check=True)
        children: list[Child] = []
        stack.callback(end_all, children, float(env.get("POTOK_DRAIN_S", "20")))
        web_ports = [str(free_port()) for _ in range(COPIES)]
        for name, command in lines.items():
            for copy in range(COPIES):
                port = web_ports[copy] if name == "web" else env["PORT"]
                children.append(Child(f"{name} {copy + 1}", words(command), env | {"PORT": port}))
        webs = [f"http://127.0.0.1:{port}" for port in web_ports]
        until(lambda: asked.is_set() or all(map(answers, webs)), "the web processes answer", 120)
        configure(directory, env["PORT"], web_ports)
        nginx = [program("nginx"), "-e", "stderr", "-c", str(directory / "nginx.conf")]
        children.append(Child("nginx", nginx, dict(os.environ)))
        address = f"http://127.0.0.1:{env['PORT']}"
        until(lambda: asked.is_set() or answers(address), f"{address} answers", 20)
        if not asked.is_set():
            say(f"\nThe cluster is ready: {address}\nCtrl-C ends it.")
        while not asked.wait(1):
            for child in children:
                if child.has_ended:
                    say(f"{child.name} has ended")
                    child.start()


def environment(stack: contextlib.ExitStack) -> dict[str, str]:
    """What all processes are given; starts what it names."""
    install()
    env = dict(os.environ)
    port = env.setdefault("PORT", "8000")
    env.setdefault("POTOK_URL", f"http://127.0.0.1:{port},http://localhost:{port}")
    env.setdefault("POTOK_DEMO_URL", f"http://127.0.0.1:{port}/demo/v1")
    env.setdefault("POTOK_DATA_DIR", str(DATA_DIR))
    env |= {"HOST": "127.0.0.1", "TRUSTED_PROXIES": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    for name, service in (("DATABASE_URL", PostgreSQL), ("REDIS_URL", RedisServer)):
        if not env.get(name):
            env[name] = stack.enter_context(contextlib.closing(service())).url
            say(f"{name}={env[name]}")
    return env


def configure(directory: Path, port: str, web_ports: list[str]) -> None:
    """Write the documented configuration, with our ports in it."""
    site = (ROOT / "docs/deploy/nginx.conf").read_text()
    servers = iter(web_ports)
    site = re.sub(r"127\.0\.0\.1:\d+(?= max_fails)", lambda _: f"127.0.0.1:{next(servers)}", site)
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    site = site.replace("server_name chat.example.org;", "server_name _;")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (directory / "nginx.conf").write_text(
        f"{user}daemon off;\npid {directory}/pid;\nworker_processes 1;\nerror_log stderr crit;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{places}{site}}}\n"
    )


def words(command: str) -> list[str]:
    """A line of the Procfile, with the Python that runs this."""
    return [sys.executable if word == "python" else word for word in shlex.split(command)]


def answers(address: str) -> bool:
    try:
        return get(f"{address}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def end_all(children: list[Child], drain_s: float) -> None:
    say("Ending: running replies may finish.")
    proxies = [child for child in children if child.name == "nginx"]
    others = [child for child in children if child not in proxies]
    for group in (others, proxies):
        for child in group:
            child.terminate()
        for child in group:
            child.end(drain_s + 6)


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
