"""Redis, in the scaled form: nothing in it is needed after a restart, but it has to take writes."""

import time
from collections.abc import Iterator

import redis
from django.conf import settings
from django.utils.translation import gettext as _

from .finding import Finding, error, ok, warning

WITHIN_S = 3
LEAST = (5, 0)  # streams


def look() -> Iterator[Finding]:
    if settings.EMBEDDED:
        yield ok("redis", _("Not used: Potok is one process."))
        return
    try:
        with _connect() as client:
            client.ping()
            yield _judge(client.info())
    except (redis.RedisError, OSError) as exc:
        yield error(
            "redis",
            _("Redis does not answer (%(why)s).") % {"why": _why(exc)},
            _("Start it, or mend REDIS_URL. Replies go on meanwhile, but pages lag."),
        )


def clock_offset_s() -> float | None:
    """How far the clock of Redis is ahead of ours; None where there is none to ask."""
    if settings.EMBEDDED:
        return None
    try:
        with _connect() as client:
            began = time.time()
            seconds, micros = client.time()
    except (redis.RedisError, OSError):
        return None
    return float(seconds + micros / 1e6 - (began + time.time()) / 2)


def _connect() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_timeout=WITHIN_S,
        socket_connect_timeout=WITHIN_S,
    )


def _why(exc: Exception) -> str:
    if isinstance(exc, redis.AuthenticationError):
        return _("it refuses the password")
    return str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__


def _judge(info: dict[str, object]) -> Finding:
    version = str(info.get("redis_version", "0.0"))
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST:
        return error(
            "redis",
            _("Redis %(version)s is too old.") % {"version": version},
            _("Install Redis %(least)s or newer.") % {"least": "5.0"},
        )
    if info.get("role") in ("slave", "replica"):
        return error(
            "redis",
            _("This Redis is a replica and takes no writes."),
            _("Let REDIS_URL name the primary."),
        )
    # Redis refuses every write after one of its own to the disk has failed.
    if "err" in (info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status")):
        return error(
            "redis",
            _("Redis can't write to its disk, and takes nothing any more."),
            _('Switch its persistence off, which Potok doesn\'t need: save "", appendonly no.'),
        )
    policy, limit = str(info.get("maxmemory_policy", "")), int(str(info.get("maxmemory", 0)))
    if policy.startswith("allkeys") or (limit and policy == "noeviction"):
        return warning(
            "redis",
            _("When Redis is full it drops or refuses live text (maxmemory-policy %(policy)s).")
            % {"policy": policy},
            _("Set maxmemory-policy to volatile-ttl."),
        )
    saves = _("it writes to its disk, which isn't needed") if info.get("aof_enabled") else ""
    told = _("Redis %(version)s, maxmemory-policy %(policy)s") % {
        "version": version,
        "policy": policy,
    }
    return ok("redis", f"{'; '.join(filter(None, (told, saves)))}.")
