"""How fast text is redacted as it streams: both passes, ten secrets known, in one thread."""

from __future__ import annotations

import random
import time

from runbooks_app.kernels.redaction import Redactor, Spread, Stream

PIECE = 1 << 16
"""Characters at once, as the engine takes them from a kernel."""

LINES = (
    "2026-11-22T03:12:44Z orders-db INFO  session {n} (deploy-migration) waits for AccessExclusiveLock on orders\n",
    "  {n} | active | Lock | relation | UPDATE orders SET status = 'paid' WHERE id = {n} | 00:06:{n:02d}.51\n",
    '{{"level": "warn", "p99_ms": {n}, "service": "orders", "digest": "9f86d081884c7d659a2feaa0c55ad015{n:08x}"}}\n',
)


def megabytes_per_second(size: int = 16_000_000, known: int = 10) -> float:
    """Megabytes of logs a second of the processor's time; the secrets are as vaults and databases make them."""
    chance = random.Random(7)  # noqa: S311  the same text every time
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/+=@#&"
    secrets = ["".join(chance.choices(letters, k=chance.choice((16, 24, 32, 40)))) for _ in range(known)]
    text = "".join(chance.choice(LINES).format(n=chance.randrange(100_000)) for _ in range(size // 100))
    redactor = Redactor(secrets)
    stream, spread = Stream(redactor), Spread(redactor)
    begun = time.process_time()
    for at in range(0, len(text), PIECE):
        spread.feed(stream.feed(text[at : at + PIECE]))
    spread.feed(stream.finish())
    took = time.process_time() - begun
    if stream.places or spread.found:
        raise RuntimeError("harmless text was redacted")
    return len(text) / 1e6 / took
