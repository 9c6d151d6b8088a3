"""Who answers for a run: whoever asks, and whoever asked for the one that it repeats."""

from __future__ import annotations

import pytest

from runbooks_app.core.errors import InvalidInput, Refused
from runbooks_app.core.people import Person, through
from runbooks_app.core.requesting import Earlier, requesters

pytestmark = pytest.mark.pages

ANNA = Person("https://id.example#anna", "Anna", roles=frozenset({"responder"}))
BY_BEN = Earlier("r1", "a-uuid", ["https://id.example#ben"])
ALONE = through(Person("https://id.example#runbooks-agent", "x"), "runbooks-agent", "nightly")


def test_whoever_asks_answers_for_it_themselves_or_through_an_agent():
    assert requesters(ANNA, "a-uuid") == {ANNA.subject}
    assert requesters(through(ANNA, "runbooks-agent"), "a-uuid") == {ANNA.subject}
    assert requesters(ALONE, "a-uuid") == set()


def test_behind_a_repetition_stands_everybody_who_asked_before():
    assert requesters(ANNA, "a-uuid", BY_BEN) == {ANNA.subject, "https://id.example#ben"}
    assert requesters(through(ANNA, "runbooks-agent"), "a-uuid", BY_BEN) == {ANNA.subject, "https://id.example#ben"}


def test_a_program_that_nobody_stands_behind_borrows_no_requesters():
    with pytest.raises(Refused, match=r"No human stands behind nightly \(agent\)"):
        requesters(ALONE, "a-uuid", BY_BEN)


def test_a_run_of_another_runbook_is_not_what_is_repeated():
    with pytest.raises(InvalidInput, match="does not repeat run r1") as refused:
        requesters(ANNA, "another-uuid", BY_BEN)
    assert refused.value.problems[0].where == "rerun_of"
