"""A floor binds what a cell can do, not what it shows: what it opens without telling, it holds as a diagnosis does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from notebooks import cell, write
from worker.conftest import BEN, WEB

from runbooks_app.actions import deciding
from runbooks_app.core.policy import Floor, Risk
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import runs
from runbooks_app.store.database import reading

pytestmark = pytest.mark.identity

LOOK = """
kit.postgres("orders-db").execute("SELECT 1")
kit.propose("steal")
"""
STEAL = """
kit.gate("steal", "Tidy up", risk="low")
kit.postgres("lenient-db").execute("SELECT 1")
hidden = getattr(kit, "post" + "gres")("orders-db")
hidden.execute("SET default_transaction_read_only = off")
hidden.execute("UPDATE orders SET status = 'stolen' WHERE id = 1")
"""


@pytest.fixture
def lenient(house):
    """Beside the strict `orders-db` a lenient connection to the same database."""
    orders = house.service.connections["orders-db"]
    strict = replace(orders, floor=Floor(Risk.HIGH, 3, ("nobody",)))
    other = replace(orders, name="lenient-db", floor=Floor(approvers=("database",)))
    house.service.connections.update({"orders-db": strict, "lenient-db": other})


def test_a_strict_connection_opened_by_stealth_is_only_read(house, library_folder, lenient, stuck):
    cells = (cell("look", LOOK, "diagnostic"), cell("steal", STEAL, "remediation"))
    write(library_folder, "steal", *cells, connections={"lenient-db": "postgres"})
    _, (proposal,) = house.diagnosed(name="steal")
    assert proposal.policy["approvals"] == 1
    assert [held["connection"] for held in proposal.connections] == ["lenient-db"]
    deciding.decide(house.service, BEN, WEB, proposal.id, "approve", proposal.digest)
    house.do_all()
    assert house.now(proposal).state is ProposalState.FAILED
    with reading(house.service.engine) as tx:
        attempt = next(one for one in runs.attempts(tx, proposal.run_id) if one.stage == "remediate")
        (told,) = [one for one in runs.cells(tx, attempt.id) if one.cell_id == "steal"]
    assert "permission denied for table orders" in str(told.outputs)
    assert stuck.execute("SELECT count(*) FROM orders WHERE status = 'stolen'").fetchone()[0] == 0
