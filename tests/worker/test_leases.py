"""An attempt is its worker's from the claim to the end, also while credentials are minted."""

from __future__ import annotations

import time
from dataclasses import replace

from runbooks_app.actions import running, sweeping
from runbooks_app.core.people import Person
from runbooks_app.core.run import RunState
from runbooks_app.credentials.postgres_role import PostgresRole
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.worker import work
from runbooks_app.worker.context import Leases

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
WEB = {"surface": "web", "auth_time": 1}
LEASE = 3


def test_a_database_that_is_slow_to_give_credentials_costs_nobody_their_lease(house, runbook, monkeypatch):
    service = replace(house.service, settings=house.service.settings.model_copy(update={"lease": LEASE}))
    leases = Leases(service, "slow")
    worker = replace(house.worker, name="slow", service=service, leases=leases)
    leases.start()
    mint = PostgresRole.mint
    taken = []

    def renewed():
        with reading(service.engine) as tx:
            return tx.execute("SELECT FROM attempts WHERE ended_at IS NULL AND lease_until > now()").first() is not None

    def slow(*arguments):
        time.sleep(LEASE + 1)
        ends = time.monotonic() + 30
        while not renewed() and time.monotonic() < ends:  # the machine may have paused just now
            time.sleep(0.05)
        taken.append(sweeping.take_over(service))
        return mint(*arguments)

    monkeypatch.setattr(PostgresRole, "mint", slow)
    run = running.request_run(service, ANA, WEB, "stuck-orders", {})
    assert house.job("diagnose")
    work.diagnose(worker, run.id)
    leases.stop()
    with reading(service.engine) as tx:
        assert runs.get(tx, run.id).state is RunState.DIAGNOSED
    assert taken == [0]
