"""What it takes to open a conversation, by its length; and to read on above what a page holds.

python -m bench.thread
"""

import os
import re
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.server import Client, Server

MESSAGES = (10, 100, 1_000, 10_000)
ROUNDS = 30


def ms(client: Client, path: str, **headers: str) -> tuple[float, float, int]:
    """Processor time of the server, time in all (the median), and the bytes before compression."""
    took = []
    began_cpu = cpu_s(client.server.pid)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = client.get(path, **headers)
        took.append((time.perf_counter() - began) * 1000)
        assert answer.status_code == 200
    used = (cpu_s(client.server.pid) - began_cpu) * 1000 / ROUNDS
    return used, median(took), len(answer.content)


def cpu_s(pid: int) -> float:
    """What a process has used so far; from /proc, so on Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    with tempfile.TemporaryDirectory() as data_dir:
        server = Server(Path(data_dir)).start()
        try:
            owner = server.visitor().set_up()
            print("messages   open: CPU ms   all ms      kB   earlier: CPU ms   all ms")
            for count in MESSAGES:
                conversation = owner.send("Say hello", model="demo-fast")
                owner.wait_for_reply(conversation, "complete")
                server.grow(conversation, count // 2 - 1)
                path = f"/c/{conversation}/"
                used, took, size = ms(owner, path)
                before = re.search(r'data-edge="([0-9a-f-]{36})"', owner.get(path).text)
                line = f"{count:8d} {used:14.1f} {took:8.1f} {size / 1000:7.0f}"
                if before:
                    part = f"{path}?before={before[1]}"
                    used, took, _ = ms(owner, part, **{"HX-Request": "true"})
                    line += f" {used:17.1f} {took:8.1f}"
                print(line)
        finally:
            server.close()


if __name__ == "__main__":
    main()
