"""An agent has its human's subject and roles, and never what answers for something."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runbooks_app.core.errors import Refused
from runbooks_app.core.people import AGENTS_MAY, GRANTS, PLAIN_ROLES, Permission, Person, through

pytestmark = pytest.mark.pages

ANNA = Person("https://id.example#7", "Anna", roles=PLAIN_ROLES | {"approver:database"})


def test_an_agent_acts_under_its_humans_name_and_its_own():
    agent = through(ANNA, "runbooks-agent", "claude-code")
    assert agent.name == "Anna through claude-code (agent)"
    assert (agent.subject, agent.agent, agent.humans) == (ANNA.subject, "runbooks-agent", {ANNA.subject})
    assert through(ANNA, "runbooks-agent").name == "Anna through runbooks-agent (agent)"


def test_an_agent_that_nobody_stands_behind_has_no_human():
    program = Person("https://id.example#runbooks-agent", "runbooks-agent")
    agent = through(program, "runbooks-agent", "nightly")
    assert (agent.name, agent.humans) == ("nightly (agent)", frozenset())
    assert program.humans == {program.subject}


@pytest.mark.parametrize("permission", Permission)
def test_no_role_lets_an_agent_do_more_than_ask_propose_note_and_read(permission):
    agent = through(ANNA, "runbooks-agent")
    assert ANNA.may(permission)
    assert agent.may(permission) is (permission in AGENTS_MAY)
    assert not through(replace(ANNA, roles=frozenset()), "runbooks-agent").may(permission)
    if permission not in AGENTS_MAY:
        with pytest.raises(Refused, match="agents ask and propose; a person has to do this"):
            agent.require(permission)


def test_what_agents_may_do_decides_nothing():
    assert set(GRANTS) - AGENTS_MAY == {
        Permission.ASK,
        Permission.SPONSOR,
        Permission.DECIDE,
        Permission.BREAK_GLASS,
        Permission.REVIEW,
        Permission.CANCEL,
        Permission.MANAGE,
        Permission.AUDIT,
        Permission.ADMINISTER,
    }


def test_an_agent_decides_for_no_group():
    assert ANNA.approver_groups == {"database"}
    assert not through(ANNA, "runbooks-agent").approver_groups
