"""Approve and Deny pressed in Slack: what that decides, and everything that it does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from runbooks_app.core.people import Person
from runbooks_app.store import audit, proposals
from runbooks_app.store.database import reading, transaction

pytestmark = pytest.mark.chat

BY_HTTP_ALONE = pytest.mark.parametrize("way", ["http"], indirect=True)


@pytest.fixture
def settings(settings):
    return {**settings, "slack_decide": "low"}


@pytest.fixture
def proposed(service, sign_in_as, diagnosed):
    """`proposed("low")` gives a proposal of that risk, that Ana asked for."""

    def make(risk: str = "low", by: Person | None = None):
        _, proposal_id = diagnosed(by or sign_in_as("responder").person)
        with transaction(service.engine) as tx:
            tx.execute(
                "UPDATE proposals SET policy = policy || CAST(:risk AS jsonb) WHERE id = :id",
                risk={"risk": risk},
                id=proposal_id,
            )
            return proposals.get(tx, proposal_id)

    return make


def now(service, proposal):
    with reading(service.engine) as tx:
        return proposals.get(tx, proposal.id)


def press(slack, proposal, verdict: str = "approve", digest: str = "", **payload):
    return slack.press(f"{verdict}_proposal", f"{proposal.id}:{digest or proposal.digest}", **payload)


def refused(service, slack, said_later, proposal, told: str, verdict: str = "approve") -> None:
    """The press is acknowledged, decides nothing, and the person alone is told why."""
    assert press(slack, proposal, verdict).status_code == 200
    (said,) = said_later()
    assert told in json.dumps(said["message"])
    assert said["place"]["user"] == slack.user
    assert said["place"]["alone"]
    assert now(service, proposal).decisions == ()
    assert now(service, proposal).state == "proposed"


@pytest.mark.parametrize(("verdict", "state", "job"), [("approve", "approved", 1), ("deny", "denied", 0)])
def test_a_linked_approver_decides_what_is_of_low_risk(
    service, slack, linked, proposed, said_later, verdict, state, job
):
    ben, proposal = linked("approver:database"), proposed()
    told = press(slack, proposal, verdict)
    assert (told.status_code, told.text, said_later()) == (200, "", [])
    after = now(service, proposal)
    (decision,) = after.decisions
    assert (after.state, decision.subject, decision.verdict) == (state, ben.subject, verdict)
    assert (decision.signed_in["surface"], decision.signed_in["chat_user"]) == ("slack", slack.user)
    with reading(service.engine) as tx:
        queued = (
            "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'remediate' AND args ->> 'proposal_id' = :id"
        )
        assert tx.execute(queued, id=proposal.id).scalar_one() == job
        said = audit.search(tx, words=proposal.id, event=f"proposal.{state}")
    assert json.loads(said[0].actor)["signed_in"]["surface"] == "slack"


def test_pressed_twice_it_counts_once(service, slack, linked, proposed, said_later):
    linked("approver:database")
    proposal = proposed()
    for _ in range(2):
        assert press(slack, proposal, trigger_id=f"the same press of {proposal.id}").status_code == 200
    assert said_later() == []
    assert press(slack, proposal).status_code == 200
    (said,) = said_later()
    assert "approved already" in json.dumps(said)
    assert len(now(service, proposal).decisions) == 1


@pytest.mark.parametrize("risk", ["medium", "high"])
@pytest.mark.parametrize("verdict", ["approve", "deny"])
def test_a_forged_button_of_more_than_low_risk_decides_nothing(
    service, slack, linked, proposed, said_later, risk, verdict
):
    linked("approver:database")
    refused(service, slack, said_later, proposed(risk), f"Its risk is {risk}: decide it on its page.", verdict)


def test_what_somebody_asked_for_themselves_they_do_not_decide(service, slack, linked, proposed, said_later):
    both = linked("responder", "approver:database")
    refused(service, slack, said_later, proposed(by=both), "You asked for this; somebody else has to decide.")


@BY_HTTP_ALONE
@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (["responder"], "that takes the role"),
        ([], "that takes the role"),
        (["approver:payments"], "Only approvers for"),
    ],
)
def test_who_is_no_approver_for_it_decides_nothing(service, slack, linked, proposed, said_later, roles, told):
    linked(*roles)
    refused(service, slack, said_later, proposed(), told)


@BY_HTTP_ALONE
def test_a_refusal_leaves_its_trace(service, slack, linked, proposed, held):
    linked("responder")
    proposal = proposed()
    before = held()
    press(slack, proposal)
    assert held().since(before) == ["access.refused"]


@BY_HTTP_ALONE
def test_a_sign_in_of_long_ago_is_not_enough_to_decide(service, slack, linked, proposed, said_later):
    ben, proposal = linked("approver:database"), proposed()
    with transaction(service.engine) as tx:
        past = "UPDATE people SET last_seen_at = now() - interval '12 hours 1 minute' WHERE subject = :subject"
        tx.execute(past, subject=ben.subject)
    refused(service, slack, said_later, proposal, "signed in more than 12 hours ago")


def test_somebody_unknown_decides_nothing_and_is_offered_the_link_alone(service, slack, proposed, said_later):
    proposal = proposed()
    assert press(slack, proposal).status_code == 200
    (said,) = said_later()
    assert said["message"] is None  # the worker makes the link, for their eyes alone
    assert said["place"]["alone"]
    assert now(service, proposal).decisions == ()


@BY_HTTP_ALONE
@pytest.mark.parametrize("value", ["", ":", "x", "{id}", "{id}:", "{id}:{zeros}", "{id}:{digest}x", "{other}:{digest}"])
def test_a_button_that_does_not_say_what_was_shown_decides_nothing(service, slack, linked, proposed, value):
    linked("approver:database")
    proposal, other = proposed(), proposed()
    filled = value.format(id=proposal.id, digest=proposal.digest, other=other.id, zeros="0" * 64)
    assert slack.press("approve_proposal", filled).status_code == 200
    assert (now(service, proposal).decisions, now(service, other).decisions) == ((), ())


@BY_HTTP_ALONE
def test_a_stranger_in_a_shared_channel_decides_nothing(service, slack, linked, proposed):
    linked("approver:database")
    proposal = proposed()
    strange = {"user": {"id": slack.user, "username": "ana", "team_id": "T0OTHER"}}
    assert press(slack, proposal, **strange).status_code == 403
    assert now(service, proposal).decisions == ()


@BY_HTTP_ALONE
def test_a_proposal_whose_evidence_stays_on_pages_is_decided_there(
    service, slack, linked, proposed, said_later, monkeypatch
):
    linked("approver:database")
    hidden = replace(service.connections["orders-db"], data_class="restricted")
    monkeypatch.setitem(service.connections, "orders-db", hidden)
    refused(service, slack, said_later, proposed(), "Its evidence stays on its page")


@BY_HTTP_ALONE
def test_what_can_no_longer_be_decided_is_told_so(service, slack, linked, proposed, said_later):
    linked("approver:database")
    proposal = proposed()
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() - interval '1 s' WHERE id = :id", id=proposal.id)
    press(slack, proposal)
    assert "It expired at" in json.dumps(said_later())
    assert now(service, proposal).decisions == ()


class TestWhereItIsOff:
    """As it is unless somebody says otherwise."""

    @pytest.fixture
    def settings(self, settings):
        return {**settings, "slack_decide": "off"}

    def test_nothing_is_decided_in_the_chat(self, service, slack, linked, proposed, said_later):
        linked("approver:database")
        refused(service, slack, said_later, proposed(), "Nothing is decided in the chat here")
