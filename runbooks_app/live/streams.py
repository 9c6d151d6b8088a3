"""One Redis stream for each run, and the worker's side of it.

Events are JSON objects under the one field `e`:

    {"kind": "output", "attempt": 7, "cell": "sessions", "output": {an nbformat output}}
    {"kind": "changed"}        run, cells or proposals changed: read them again from the database

A stream keeps about `LENGTH` events and is gone `EXPIRY` seconds after the last one.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

LENGTH = 10_000
"""Events that a stream keeps, about."""

EXPIRY = 3_600
"""Seconds after its last event that a stream is kept."""

LARGEST = 64_000
"""Bytes of the largest event. A larger output (a chart) is not streamed: it is seen when its cell ends."""

PATIENCE = 0.5
"""Seconds that a worker waits for Redis, at most."""

PAUSE = 5.0
"""Seconds after a failure in which nothing is tried, so that a Redis that hangs slows no run."""

FIELD = b"e"

_log = logging.getLogger(__name__)


def key(run_id: str) -> str:
    """Name of a run's stream."""
    return f"runbooks:run:{run_id}"


def client(url: str, password: str, timeout: float) -> Redis:
    """A connection pool that gives up after `timeout` seconds and leaves trying again to its caller."""
    return Redis.from_url(
        url,
        password=password or None,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, 2.0),
        retry=Retry(NoBackoff(), 0),
        # Learning of planned maintenance is for managed clusters; a plain server refuses its handshake.
        maint_notifications_config=None,
    )


class Live:
    """A worker's voice: publishes, never raises, and drops while Redis is away. Threads may share one."""

    def __init__(self, redis_url: str, password: str = "") -> None:
        self._redis = client(redis_url, password, PATIENCE) if redis_url else None
        self._silent_until = 0.0

    def publish(self, run_id: str, *events: dict[str, Any]) -> None:
        """Tell whoever watches this run, in one round trip; what cannot be told now is dropped."""
        if self._redis is None or time.monotonic() < self._silent_until:
            return
        told = [
            json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") for event in events
        ]
        told = [content for content in told if len(content) <= LARGEST]
        if not told:
            return
        name = key(run_id)
        try:
            with self._redis.pipeline(transaction=False) as batch:
                for content in told:
                    batch.xadd(name, {FIELD: content}, maxlen=LENGTH, approximate=True)
                batch.expire(name, EXPIRY)
                batch.execute()
        except (RedisError, OSError) as error:
            self._silent_until = time.monotonic() + PAUSE
            _log.warning(
                "Redis took no live output (%s); pages look into the database for it. Next try in %.0f s.",
                type(error).__name__,
                PAUSE,
            )

    def close(self) -> None:
        """Let go of the connections."""
        if self._redis is not None:
            self._redis.close()
