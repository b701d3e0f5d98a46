"""The log: from append to reader, in memory and over Redis, with one reply and with many.

Sender and reader share this process's one core, so a real pair has more room than this says.
"""

import asyncio
import time

from chat.replies.log import Cursor, Logs, MemoryLogs
from chat.replies.redis_log import RedisLogs
from tests.services import RedisServer

SECONDS = 5
DELTAS_A_SECOND = 50


async def measure(logs: Logs, replies: int) -> list[float]:
    """Seconds from the append of each delta to its reader."""
    late: list[float] = []

    async def read(generation: int) -> None:
        async for piece in logs.follow(Cursor(generation)):
            now = time.perf_counter()
            late.extend(now - float(said) for said in piece.text.split())

    async def say(generation: int) -> None:
        await asyncio.sleep(generation / replies / DELTAS_A_SECOND)
        for _ in range(SECONDS * DELTAS_A_SECOND):
            logs.append(generation, "", f"{time.perf_counter():.6f} ")
            await asyncio.sleep(1 / DELTAS_A_SECOND)
        logs.close(generation)

    for generation in range(replies):
        logs.open(Cursor(generation))
    async with asyncio.TaskGroup() as tasks:
        for generation in range(replies):
            tasks.create_task(read(generation))
            tasks.create_task(say(generation))
    await logs.aclose()
    return sorted(late)


def main() -> None:
    server = RedisServer()
    try:
        print(f"{'log':8}{'replies':>8}{'deltas/s':>10}{'p50 ms':>8}{'p99 ms':>8}{'CPU %':>7}")
        for name in ("memory", "Redis"):
            for replies in (1, 10, 100):
                logs = (
                    MemoryLogs() if name == "memory" else RedisLogs(server.url, f"bench{replies}")
                )
                began, used = time.perf_counter(), time.process_time()
                late = asyncio.run(measure(logs, replies))
                took, used = time.perf_counter() - began, time.process_time() - used
                p50, p99 = (1000 * late[int(len(late) * part)] for part in (0.5, 0.99))
                rate = len(late) / took
                print(
                    f"{name:8}{replies:8}{rate:10.0f}{p50:8.2f}{p99:8.2f}{100 * used / took:7.0f}"
                )
    finally:
        server.close()


if __name__ == "__main__":
    main()
