"""What a remediation reaches: what its run reaches. What is proposed elsewhere is refused before anybody decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from notebooks import cell, write
from signing import approve
from stuck_orders import CHECK
from worker.conftest import ANA, BEN, WEB

from runbooks_app.actions import deciding
from runbooks_app.core.audit import Event
from runbooks_app.core.errors import InvalidInput, Misconfigured
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import RunState
from runbooks_app.store import audit
from runbooks_app.store.database import reading

LOOK = """
kit.keep(before=3)
for where in ("orders-db", "billing-db"):
    kit.propose("free-orders", where=where, state="stuck", reason="they will not free themselves")
"""
FREE = """
where: Connection["postgres"]  # In which database
state: str  # Which state
kit.gate("free-orders", "Free orders in state {state} on {where}", risk="high", target="{where}")
with kit.postgres(where).cursor() as cursor:
    cursor.execute("UPDATE orders SET status = 'new' WHERE status = %s", [state])
"""


@pytest.fixture
def beside(house):
    """Another database that is configured, which the run does not reach."""
    connections = house.service.connections
    connections["billing-db"] = replace(connections["orders-db"], name="billing-db")


def refusals(house):
    with reading(house.service.engine) as tx:
        return [entry.body for entry in audit.entries(tx) if entry.event == Event.PROPOSAL_REFUSED]


def test_a_proposal_names_a_connection_of_its_run_and_is_executed_there(house, library_folder, beside, stuck):
    write(
        library_folder,
        "stuck-orders",
        cell("look", LOOK, "diagnostic"),
        cell("free", FREE, "remediation"),
        cell("freed", CHECK, "diagnostic"),
    )
    run, (made,) = house.diagnosed()
    (problem,) = run.problems
    assert (run.state, problem["where"]) == (RunState.DIAGNOSED, "free-orders.where")
    assert problem["fix"] == "Choose one of orders-db."
    assert len(refusals(house)) == 1
    elsewhere = {"where": "billing-db", "state": "stuck"}
    with pytest.raises(InvalidInput):
        deciding.propose_by_hand(house.service, ANA, WEB, run.id, "free-orders", elsewhere, "why")
    assert [held["connection"] for held in made.connections] == ["orders-db"]
    deciding.withdraw(house.service, ANA, WEB, made.id)
    here = {"where": "orders-db", "state": "stuck"}
    by_hand = deciding.propose_by_hand(house.service, ANA, WEB, run.id, "free-orders", here, "why")
    approve(house.service, BEN, by_hand)
    assert house.do_all() == ["remediate", "verify"]
    assert house.now(by_hand).state is ProposalState.APPLIED


def test_a_cell_that_opens_what_its_runbook_does_not_declare_is_not_proposed(house, library_folder, beside):
    undeclared = 'kit.gate("look-there", "Look there")\nkit.postgres("billing-db").execute("SELECT 1")'
    write(library_folder, "stuck-orders", cell("look", "1", "diagnostic"), cell("there", undeclared, "remediation"))
    run, _ = house.diagnosed()
    for told in (
        "billing-db: is no connection that stuck-orders declares. Declare it under metadata.runbook.connections.",
        "billing-db: is no configured connection. Add it to the connections file.",
    ):
        with pytest.raises(Misconfigured) as refused:
            deciding.propose_by_hand(house.service, ANA, WEB, run.id, "look-there", {}, "why")
        assert [str(problem) for problem in refused.value.problems] == [told]
        house.service.connections.pop("billing-db", None)
