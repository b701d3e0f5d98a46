"""Everything that the doctor looks at, in the order in which it is told."""

from collections.abc import Iterator

from . import clock, database, gateways, machine, proxy, redis_server
from .finding import Finding


def examine() -> Iterator[Finding]:
    """A line each; those that wait for others come last, and all of it ends within half a minute."""
    yield from machine.look()
    yield from database.look()
    yield from redis_server.look()
    is_running, visits = proxy.visit_all()
    yield from proxy.judge(is_running, visits)
    offsets_s = {
        "PostgreSQL": database.clock_offset_s(),
        "Redis": redis_server.clock_offset_s(),
    }
    if database.is_there():
        answers = gateways.ask(is_running)
        yield from gateways.judge(answers)
        offsets_s |= {each.gateway.name: each.clock_offset_s for each in answers}
    yield clock.judge({whom: found for whom, found in offsets_s.items() if found is not None})
