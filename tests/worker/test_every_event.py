"""Every declared kind of audit entry is emitted by something that really happens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from joserfc.jwk import RSAKey
from notebooks import cell, write
from signing import approve, checked, id_token

from runbooks_app.actions import (
    alerting,
    asking,
    auditing,
    break_glass,
    deciding,
    diagnosing,
    holding,
    identity,
    incidents,
    people,
    refusals,
    remediating,
    running,
    sweeping,
    telling,
    waking,
    writing,
)
from runbooks_app.actions.context import worker_actor
from runbooks_app.alerting import Alerting
from runbooks_app.core.alerts import Incoming, Rule
from runbooks_app.core.audit import Event, verify
from runbooks_app.core.people import Person
from runbooks_app.core.waking import Step
from runbooks_app.core.writing import Section
from runbooks_app.store import audit, chat
from runbooks_app.store import proposals as rows
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import proving

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
EVE = Person("https://idp#eve", "Eve", roles=frozenset({"responder", "break-glass"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
WEB = {"surface": "web", "auth_time": 1}

LOOK = """
kit.finding("critical", "something is wrong")
kit.propose("mend", what="a")
kit.propose("no-such-gate")
"""
MEND = """
what: str  # What to mend
kit.gate("mend", "Mend {what} on {database}")
kit.postgres(database).execute("SELECT 1")
"""


@pytest.fixture
def mend(library_folder):
    write(
        library_folder,
        "mend",
        cell("look", LOOK, "diagnostic"),
        cell("mend", MEND, "remediation"),
        cell("mended", "kit.check('mended', True)", "diagnostic"),
    )


@pytest.fixture
def woken(house, mend):
    """Who may decide is told of what waits directly."""
    service, (waits,) = house.service, house.diagnosed(ANA, "mend")[1]
    with transaction(service.engine) as tx:
        tx.execute("INSERT INTO chat_people (team, chat_user, subject) VALUES ('', 'U2', :s)", s=BEN.subject)
    with_chat = service.settings.model_copy(update={"slack_bot_token_file": Path("token")})
    waking.wake(replace(service, settings=with_chat), "w1", waits.id, Step.ON_CALL, frozenset())


def come_and_go(service):
    """Somebody signs in and out again, somebody is turned away, and somebody takes the trail along."""
    secret, _ = people.sign_in(service, ANA, WEB)
    people.link_chat(service, ANA, WEB, people.offer_chat_link(service, "T1", "U1", "ana"))
    people.sign_out(service, secret)
    refusals.refused(service, ANA, WEB, "somewhere", "no role")
    refusals.count_refusal(service, "bad signature")
    refusals.enter_counted(service)
    auditing.export_trail(service, Person("https://idp#ivy", "Ivy", roles=frozenset({"auditor"})), WEB)


def glass(service, alone):
    """Somebody breaks it, and somebody else has a look at that."""
    people.sign_in(service, EVE, WEB)
    reason = "Nobody answers, and the shop is down."
    signed = id_token(EVE, alone.digest, "break-glass")
    break_glass.use(service, EVE, WEB, alone.id, alone.digest, reason, id_token=signed)
    break_glass.review(service, BEN, WEB, alone.id, "It was right, and the only way.")


def wonder(house, incident_id):
    """Somebody asks, and makes something of it."""
    asked = asking.ask_of_incident(house.service, ANA, WEB, incident_id, "1", "It is odd")
    house.do_all()
    asking.conclude(house.service, ANA, WEB, asked.id, "It is not")
    asking.draft(house.service, ANA, WEB, incident_id, [asked.id], "Is it odd")


@pytest.fixture
def fired(house, mend):
    """An alert begins and ends, and another asks for what there is not."""
    service = house.service
    opted = {name: replace(one, diagnosers=("responder", "alert")) for name, one in service.connections.items()}
    rules = (Rule("mend", {"alertname": "Odd"}, "mend", "C1"), Rule("none", {"alertname": "*"}, "no-such", "C1"))
    listening = replace(service, connections=opted, alerting=Alerting(rules=rules))
    odd = Incoming("prod", "f1", "firing", {"alertname": "Odd"}, {}, datetime.now(UTC), None, "g1")
    alerting.receive(listening, "prod", [odd, replace(odd, fingerprint="f2", labels={"alertname": "Else"})])
    alerting.receive(listening, "prod", [replace(odd, status="resolved")])


@pytest.fixture
def archived(house):
    """A channel in which nothing can be told any more."""
    with transaction(house.service.engine) as tx:
        telling.tell(tx, "run:gone", channel="C9")
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE chat_threads SET due_at = now()")
        telling.untold(tx, house.service, "w1", chat.claim(tx, "w1"), "is_archived")


def test_every_declared_event_is_emitted(house, mend, woken, fired, archived):
    service = house.service

    def proposal():
        run = running.request_run(service, ANA, WEB, "mend", {})
        house.do_all()
        with reading(service.engine) as tx:
            return rows.of_run(tx, run.id)[0]

    come_and_go(service)
    proving.prove_now(service, "w1", service.connections["orders-db"], None)
    applied = proposal()
    approve(service, BEN, applied)
    house.do_all()
    denied = proposal()
    deciding.decide(service, BEN, WEB, denied.id, "deny", denied.digest)
    deciding.withdraw(service, ANA, WEB, proposal().id)
    expired, unasked = proposal(), proposal()
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET expires_at = now() WHERE id = :id", id=expired.id)
        tx.execute(
            "UPDATE proposals SET requesters = '[]', policy = policy || '{\"risk\": \"high\"}' WHERE id = :id",
            id=unasked.id,
        )
    sweeping.expire_proposals(service)
    deciding.sponsor(service, ANA, WEB, unasked.id)
    glass(service, proposal())
    stale = proposal()
    approve(service, BEN, stale)
    claim = remediating.open_recheck(service, stale.id, "w1", checked(service, stale.id))
    remediating.fail_recheck(service, claim, "the database is away")
    refusals.gateway_refused(service, claim, "prometheus", cell="look", method="POST", path="/x", reason="may not")
    token = holding.Issued("prometheus", "kubernetes", "diagnose", "GET /*", "", "run_token_1", 300, "", ())
    holding.credentials_issued(service, claim, [token])
    holding.credential_renewed(service, claim, token.connection, token.identity, token.lifetime)
    waiting = running.request_run(service, ANA, WEB, "mend", {})
    running.cancel_run(service, ANA, WEB, waiting.id)
    lost = running.request_run(service, ANA, WEB, "mend", {})
    diagnosing.claim_run(service, lost.id, "dead")
    with transaction(service.engine) as tx:
        tx.execute("UPDATE attempts SET lease_until = now() - interval '1 second' WHERE ended_at IS NULL")
    sweeping.take_over(service)
    opened = incidents.open_incident(service, ANA, WEB, "Odd")
    incidents.attach_channel(service, ANA, WEB, opened.id, "C2")
    incidents.attach_run(service, ANA, WEB, lost.id, opened.id)
    note = incidents.add_note(service, ANA, WEB, opened.id, "hm")
    writing.edit_note(service, ANA, WEB, opened.id, note.id, 1, "aha")
    writing.write_postmortem(service, ANA, WEB, opened.id, Section.SUMMARY, 0, "It was odd.")
    incidents.export_postmortem(service, ANA, WEB, opened.id, "md")
    wonder(house, opened.id)
    incidents.close_incident(service, ANA, WEB, opened.id, "solved")
    (key,) = identity.publish(service, "w1", [RSAKey.generate_key(2048).as_dict(private=False)]).published
    identity.withdraw(service, worker_actor("w1"), key.kid, identity.DONE)
    with reading(service.engine) as tx:
        entries = list(audit.entries(tx))
        assert verify(entries, audit.head(tx)).ok
    assert {entry.event for entry in entries} == {str(event) for event in Event}


def test_a_trail_that_is_away_stops_the_action(house, mend):
    owner = psycopg.connect(house.database.owner_url, autocommit=True)
    owner.execute("REVOKE EXECUTE ON FUNCTION audit_append FROM runbooks_app")
    try:
        with pytest.raises(Exception, match="permission denied"):
            running.request_run(house.service, ANA, WEB, "mend", {})
    finally:
        owner.execute("GRANT EXECUTE ON FUNCTION audit_append TO runbooks_app")
        owner.close()
    with reading(house.service.engine) as tx:
        for table in ("runs", "incidents", "procrastinate_jobs"):
            assert tx.execute(f"SELECT count(*) FROM {table}").scalar_one() == 0


def test_diagnose_only_makes_no_decision_possible(house, mend):
    service = replace(
        house.service,
        settings=house.service.settings.model_copy(update={"remediation": "off"}),
    )
    run = running.request_run(service, ANA, WEB, "mend", {})
    house.do_all()
    with reading(service.engine) as tx:
        found = rows.of_run(tx, run.id)[0]
    with pytest.raises(Exception, match="diagnose-only"):
        approve(service, BEN, found)
