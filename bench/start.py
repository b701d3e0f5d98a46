"""How soon `make run` answers, the second time; and what it imports before the first page.

python -m bench.start
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from bench._measure import line, percentile, title
from tests.server import ROOT, free_port

ROUNDS = 5
SECOND_START_MS = 2_000


@contextmanager
def made(data_dir: str) -> Iterator[float]:
    """ms until `make run` answers; it is ended as by Ctrl-C."""
    port = free_port()
    env = os.environ | {"POTOK_DATA_DIR": data_dir, "PORT": str(port)}
    began = time.perf_counter()
    with subprocess.Popen(
        ["make", "-s", "run"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            while True:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=10)
                    break
                except httpx.TransportError:
                    assert process.poll() is None, "make run has ended"
                    time.sleep(0.01)
            yield (time.perf_counter() - began) * 1000
        finally:
            os.killpg(process.pid, signal.SIGINT)


def importing_ms() -> float:
    """Processor time until all that `serve` imports is there, in a process of its own."""
    code = "import django, time; django.setup(); import chat.server, chat.asgi, chat.urls; "
    code += "print(time.process_time())"
    with tempfile.TemporaryDirectory() as data_dir:
        env = os.environ | {"DJANGO_SETTINGS_MODULE": "chat.settings", "POTOK_DATA_DIR": data_dir}
        told = subprocess.run(
            [ROOT / ".venv" / "bin" / "python", "-W", "ignore", "-c", code],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
    return float(told.stdout) * 1000


def main() -> None:
    title("The start")
    with tempfile.TemporaryDirectory(prefix="potok-bench-") as data_dir:
        with made(data_dir) as ms:
            line("the first make run until it answers", ms, "ms")
        times = []
        for _ in range(ROUNDS):
            with made(data_dir) as ms:
                times.append(ms)
    line("a further make run until it answers", percentile(times, 0.5), "ms", SECOND_START_MS)
    line("  of that, CPU for its imports", min(importing_ms() for _ in range(3)), "ms")


if __name__ == "__main__":
    main()
