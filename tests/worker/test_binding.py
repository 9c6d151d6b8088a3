"""What a decision binds to: this proposal of this run with these parameters, and no other that looks the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from notebooks import PARAMETERS, cell, write
from signing import approve, checked

from runbooks_app.actions import deciding, starting
from runbooks_app.core.errors import Conflict
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import proposals
from runbooks_app.store.database import reading, transaction

BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}
SAY = """
kit.gate("say", "Say it", risk="high")
kit.postgres(database).execute("SELECT %s", [word])
print("said", word)
"""


@pytest.fixture
def proposed(house, library_folder):
    write(
        library_folder,
        "say",
        cell("look", "kit.finding('warning', 'nobody said it')\nkit.propose('say')", "diagnostic"),
        cell("say", SAY, "remediation"),
        parameters=PARAMETERS + '\nword: str = "hello"  # What to say',
    )

    def propose(**given):
        run, (proposal,) = house.diagnosed(name="say", **given)
        return run, proposal

    return propose


def test_parameters_that_were_changed_after_approval_do_not_start(house, proposed):
    run, proposal = proposed()
    approve(house.service, BEN, proposal)
    with transaction(house.service.engine) as tx:
        tx.execute("""UPDATE runs SET parameters = parameters || '{"word": "other"}' WHERE id = :id""", id=run.id)
    house.do_all()
    after = house.now(proposal)
    assert after.state is ProposalState.STALE
    assert "not what was approved" in after.state_reason


@pytest.mark.parametrize("word", ["hello", "something else"])
def test_a_decision_on_one_run_is_worth_nothing_on_another(house, proposed, word):
    _, one = proposed()
    _, other = proposed(word=word)
    with pytest.raises(Conflict, match="not the one that you were shown"):
        deciding.decide(house.service, BEN, WEB, other.id, "approve", one.digest)
    assert house.now(other).state is ProposalState.PROPOSED


def test_a_connection_that_was_repointed_after_the_approval_does_not_start(house, proposed):
    _, proposal = proposed()
    approve(house.service, BEN, proposal)
    elsewhere = replace(house.service.connections["orders-db"], database="postgres")
    moved = replace(house.service, connections={**house.service.connections, "orders-db": elsewhere})
    assert starting.start_remediation(moved, proposal.id, "w1", checked(moved, proposal.id)) is None
    with reading(house.service.engine) as tx:
        assert proposals.get(tx, proposal.id).state is ProposalState.STALE


def test_a_flood_of_proposals_is_cut_off_and_told(house, library_folder):
    many = 'for n in range(50):\n    kit.propose("say", word=f"w{n}")'
    say = 'word: str  # What to say\nkit.gate("say", "Say {word}")\nkit.postgres(database).execute("SELECT %s", [word])'
    write(library_folder, "many", cell("many", many, "diagnostic"), cell("say", say, "remediation"))
    run, made = house.diagnosed(name="many")
    assert len(made) == 20
    assert "50 different actions" in run.problems[0]["message"]
