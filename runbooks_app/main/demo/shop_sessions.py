"""The shop's sessions: the API's traffic, and the two that break it. Each runs as a process of its own.

    python -m runbooks_app.main.demo.shop_sessions traffic|migration|idle-row-lock < address

Each says `ready` when it does what it is for. Started by `shop.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import select
import sys
import time

import psycopg

CLIENTS = 12
"""Sessions of the API while all is well."""
MOST_CLIENTS = 37
"""Sessions of the API when those it has are kept waiting."""
MORE_CLIENTS = 8
"""Sessions opened at a time then."""
WAITED_TOO_LONG = 0.2
"""Seconds after which an answer is overdue and the API asks by another session."""
THINK = (0.04, 0.12)
"""Seconds between two requests of one client."""
HOT_CUSTOMER = 1
"""The customer whose row many requests change."""
BACK_OFF = (0.2, 3.0)

READ = """
SELECT o.id, o.status, sum(i.quantity * i.price) FROM orders o JOIN order_items i ON i.order_id = o.id
WHERE o.customer_id = %s GROUP BY o.id
"""
PLACE = """
WITH placed AS (INSERT INTO orders (customer_id) VALUES (%s) RETURNING id)
INSERT INTO order_items SELECT id, line, 'Product ' || line, 1, 20 FROM placed, generate_series(1, 2) line
"""
SHIP = "UPDATE orders SET status = 'shipped' WHERE id = (SELECT max(id) FROM orders WHERE customer_id = %s)"
CHARGE = "UPDATE customers SET balance = balance + 1, seen_at = now() WHERE id = %s"
TIDY = "DELETE FROM orders WHERE id = (SELECT id FROM orders ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)"

FAULTS = {
    "migration": ("deploy-migration", "ALTER TABLE orders ADD COLUMN discount numeric NOT NULL DEFAULT 0"),
    "idle-row-lock": ("support-console", "UPDATE customers SET balance = 0 WHERE id = 1"),
}


class Traffic:
    """The API: keeps `CLIENTS` sessions busy, and opens more while all of them wait."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked_at: dict[int, float] = {}
        """When each client sent what it has no answer to yet (seconds, monotonic)."""
        self.answered = asyncio.Event()
        self.chance = random.Random(4711)  # noqa: S311 - which customer orders is no secret

    async def serve(self) -> None:
        """Run until cancelled."""
        clients: dict[int, asyncio.Task[None]] = {}
        said = False
        while True:
            clients = {number: task for number, task in clients.items() if not task.done()}
            more = MORE_CLIENTS if self._all_wait(len(clients)) else 0
            wanted = min(max(CLIENTS, len(clients) + more), MOST_CLIENTS)
            free = [number for number in range(MOST_CLIENTS) if number not in clients]
            for number in free[: wanted - len(clients)]:
                clients[number] = asyncio.create_task(self._client(number))
            if not said and self.answered.is_set():
                print("ready", flush=True)
                said = True
            await asyncio.sleep(0.05)

    def _all_wait(self, clients: int) -> bool:
        overdue = time.monotonic() - WAITED_TOO_LONG
        return sum(asked < overdue for asked in self.asked_at.values()) >= clients - 2

    async def _client(self, number: int) -> None:
        """One session, reconnecting after errors; one beyond the usual number ends when it is not needed."""
        pause = BACK_OFF[0]
        while True:
            try:
                session = await psycopg.AsyncConnection.connect(
                    self.address, autocommit=True, application_name="orders-api", connect_timeout=5
                )
                async with session:
                    requests = 0
                    while number < CLIENTS or requests < 20:
                        await self._request(number, session)
                        requests += 1
                        pause = BACK_OFF[0]
                        await asyncio.sleep(self.chance.uniform(*THINK))
                    return
            except psycopg.Error:  # ended, refused, database away: a real API would try again as well
                await asyncio.sleep(pause * self.chance.uniform(0.5, 1.5))
                pause = min(pause * 2, BACK_OFF[1])
            finally:
                self.asked_at.pop(number, None)

    async def _request(self, number: int, session: psycopg.AsyncConnection) -> None:
        customer = self.chance.randint(2, 2000)
        kind = self.chance.choices(("read", "charge", "ship", "place"), (55, 20, 20, 5))[0]
        self.asked_at[number] = time.monotonic()
        match kind:
            case "read":
                await session.execute(READ, [customer])
            case "charge":
                await session.execute(CHARGE, [HOT_CUSTOMER])
            case "ship":
                await session.execute(SHIP, [customer])
            case _:
                async with session.transaction():
                    await session.execute(PLACE, [customer])
                    await session.execute(TIDY)
        del self.asked_at[number]
        self.answered.set()


def break_it(address: str, name: str, statement: str) -> None:
    """Hold the lock that `statement` takes, in a transaction left idle, until somebody ends the session."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(address, application_name=name) as session:
        session.execute("SET idle_in_transaction_session_timeout = 0")
        session.execute(statement)
        print("ready", flush=True)
        while True:
            select.select([session.fileno()], [], [])
            session.pgconn.consume_input()  # raises once the server has closed the session


def main(what: str) -> None:
    """Be one of the shop's processes; the database's address comes by standard input."""
    address = sys.stdin.read().strip()
    if what == "traffic":
        asyncio.run(Traffic(address).serve())
    else:
        break_it(address, *FAULTS[what])


if __name__ == "__main__":
    main(sys.argv[1])
