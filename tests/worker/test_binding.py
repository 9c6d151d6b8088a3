"""What a decision binds to: this proposal of this run with these parameters, and no other that looks the same."""

from __future__ import annotations

import pytest
from notebooks import PARAMETERS, cell, write

from runbooks_app.actions import deciding
from runbooks_app.core.errors import Conflict
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store.database import transaction

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
    deciding.decide(house.service, BEN, WEB, proposal.id, "approve", proposal.digest)
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
