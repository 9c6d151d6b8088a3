"""Signed decisions against somebody who can write to the service's database, or owns its web process.

What stands in the database is written straight into it here, as such a person would; the worker and its kernels are
real, and so is the provider where it matters whose keys it serves.
"""

from __future__ import annotations

import json
import time
from dataclasses import fields, replace
from functools import partial

import hostile_provider
import psycopg
import pytest
from hostile_provider import OTHER_RSA, hs256_with_public_key, rs256, rs512, unsigned
from notebooks import cell, write
from signing import ROLES, approve, checked, id_token, signatures
from stuck_orders import CHECK, FREE, LOOK

from runbooks_app.actions import deciding, starting
from runbooks_app.actions.proposing import digest_now
from runbooks_app.actions.signatures import Signatures
from runbooks_app.core.audit import Event
from runbooks_app.core.deciding import Unsigned
from runbooks_app.core.errors import Unavailable
from runbooks_app.core.people import Person
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.oidc import OpenIDProvider
from runbooks_app.store import audit, people, proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.worker import jobs, work

pytestmark = pytest.mark.identity

ANA = Person("https://idp#ana", "Ana", roles=frozenset({"responder"}))
BEN = Person("https://idp#ben", "Ben", roles=frozenset({"responder", "approver:database"}))
CAT = Person("https://idp#cat", "Cat", roles=frozenset({"approver:database"}))
WEB = {"surface": "web", "auth_time": 1}


def insert(house, proposal, token: str = "", person: Person = BEN, **changes: object) -> int:
    """An approval straight into the database, as its owner writes it; the proposal is approved by that."""
    with psycopg.connect(house.database.owner_url, autocommit=True) as owner:
        row = owner.execute(
            """INSERT INTO decisions (proposal_id, digest, subject, name, verdict, signed_in, id_token, break_glass)
               VALUES (%s, %s, %s, %s, 'approve', %s, %s, %s) RETURNING id""",
            [proposal.id, proposal.digest, person.subject, person.name, json.dumps(WEB), token,
             changes.get("break_glass", False)],
        ).fetchone()  # fmt: skip
        owner.execute("UPDATE proposals SET state = 'approved', decided_at = now() WHERE id = %s", [proposal.id])
    return row[0]


def entries(house, *events: Event) -> list[tuple[dict, dict]]:
    with reading(house.service.engine) as tx:
        found = [entry for entry in audit.entries(tx) if entry.event in events]
    return [(json.loads(entry.objects), json.loads(entry.body)) for entry in found]


def stuck_now(admin) -> int:
    return admin.execute("SELECT count(*) FROM orders WHERE status = 'stuck'").fetchone()[0]


def seconds(ago: float) -> dict[str, int]:
    at = int(time.time() - ago)
    return {"iat": at, "exp": at + 300, "auth_time": at - 3}


FORGERIES = {
    "no token": (lambda _one, _other: "", "it is not signed"),
    "no token at all": (lambda _one, _other: "approved", "not signed by the sign-in provider"),
    "another proposal's": (lambda _one, other: id_token(BEN, other.digest), "(nonce)"),
    "a denial's": (lambda one, _: id_token(BEN, one.digest, "deny"), "(nonce)"),
    "a break-glass's": (lambda one, _: id_token(BEN, one.digest, "break-glass"), "(nonce)"),
    "a sign-in's": (lambda one, _: id_token(BEN, one.digest, nonce="a sign-in's"), "(nonce)"),
    "a swapped key's": (
        lambda one, _: id_token(BEN, one.digest, sign=partial(rs256, key=OTHER_RSA)),
        "not signed by the sign-in provider",
    ),
    "a foreign key's, named": (
        lambda one, _: id_token(BEN, one.digest, sign=partial(rs256, key=OTHER_RSA, kid="second")),
        "not signed by the sign-in provider",
    ),
    "a key's that it brings along": (
        lambda one, _: id_token(
            BEN, one.digest, sign=partial(rs256, key=OTHER_RSA, kid=None, jwk=OTHER_RSA.as_dict(private=False))
        ),
        "not signed by the sign-in provider",
    ),
    "none's": (lambda one, _: id_token(BEN, one.digest, sign=unsigned), "not signed by the sign-in provider"),
    "a MAC's": (
        lambda one, _: id_token(BEN, one.digest, sign=hs256_with_public_key),
        "not signed by the sign-in provider",
    ),
    "another algorithm's": (lambda one, _: id_token(BEN, one.digest, sign=rs512), "not signed by the sign-in provider"),
    "an access token": (lambda one, _: id_token(BEN, one.digest, sign=partial(rs256, typ="at+jwt")), "another kind"),
    "somebody else's": (lambda one, _: id_token(CAT, one.digest), "about somebody else"),
    "another client's": (lambda one, _: id_token(BEN, one.digest, aud="grafana"), "(audience)"),
    "another issuer's": (lambda one, _: id_token(BEN, one.digest, iss="https://other"), "(issuer)"),
    "without the group": (
        lambda one, _: id_token(BEN, one.digest, groups=["responder"]),
        "gives no group that may approve it",
    ),
    "with a group nobody knows": (
        lambda one, _: id_token(BEN, one.digest, groups=["admin"]),
        "gives no group that may approve it",
    ),
    "too old": (lambda one, _: id_token(BEN, one.digest, **seconds(1_831)), "signed longer ago"),
    "from the future": (lambda one, _: id_token(BEN, one.digest, **seconds(-90)), "(issued in the future)"),
    "of a sign-in long before": (
        lambda one, _: id_token(BEN, one.digest, auth_time=int(time.time()) - 3_600),
        "(no fresh sign-in)",
    ),
    "that does not tell of a sign-in": (lambda one, _: id_token(BEN, one.digest, auth_time=None), "(no fresh sign-in)"),
}


@pytest.fixture
def two(house, runbook, stuck):
    """Two proposals that look the same."""
    return house.diagnosed()[1][0], house.diagnosed()[1][0]


@pytest.mark.parametrize("forgery", FORGERIES)
def test_an_approval_that_is_not_the_providers_word_for_this_executes_nothing(house, two, stuck, forgery):
    one, other = two
    make, told = FORGERIES[forgery]
    decision = insert(house, one, make(one, other))
    runs_before = len(entries(house, Event.RUN_REQUESTED))
    work.remediate(house.worker, one.id)
    after = house.now(one)
    assert after.state is ProposalState.STALE
    assert told in after.state_reason
    assert stuck_now(stuck) == 3
    # Nothing was minted for it: neither to change anything nor to look once more.
    assert len(entries(house, Event.RUN_REQUESTED)) == runs_before
    assert [b for o, b in entries(house, Event.CREDENTIAL_ISSUED) if b["stage"] == "remediate"] == []
    ((objects, body),) = entries(house, Event.PROPOSAL_STALE)
    assert (objects["proposal"], body["reason"]) == (one.id, after.state_reason)
    assert [(d["decision"], d["subject"]) for d in body["decisions"]] == [(decision, BEN.subject)]
    assert told in body["decisions"][0]["why"]


def test_the_same_row_with_the_providers_word_for_it_is_executed(house, two, stuck):
    """What the test above would see if nothing were wrong with the row."""
    one, _ = two
    insert(house, one, id_token(BEN, one.digest))
    work.remediate(house.worker, one.id)
    assert house.now(one).state is ProposalState.APPLIED
    assert stuck_now(stuck) == 0


def test_a_signature_is_worth_as_much_as_the_sign_in_was(house, two, stuck):
    worker = replace(house.worker, signatures=signatures(acr="mfa phishing-resistant"))
    one, other = two
    insert(house, one, id_token(BEN, one.digest, acr="password"))
    work.remediate(worker, one.id)
    assert "not as strong" in house.now(one).state_reason
    insert(house, other, id_token(BEN, other.digest, acr="phishing-resistant"))
    work.remediate(worker, other.id)
    assert house.now(other).state is ProposalState.APPLIED


def test_beside_an_approval_that_counts_a_forged_one_changes_nothing_and_is_not_told_as_an_approver(house, two, stuck):
    one, _ = two
    insert(house, one, "forged", CAT)
    insert(house, one, id_token(BEN, one.digest))
    work.remediate(house.worker, one.id)
    assert house.now(one).state is ProposalState.APPLIED
    ((_, body),) = entries(house, Event.REMEDIATION_STARTED)
    assert (body["approved_by"], body["break_glass"]) == ([BEN.subject], None)


def test_two_approvals_want_two_signatures(house, two, stuck, orders_server):
    one, _ = two
    with transaction(house.service.engine) as tx:
        tx.execute("UPDATE proposals SET policy = policy || '{\"approvals\": 2}' WHERE id = :id", id=one.id)
        run = runs.get(tx, one.run_id)
        changed = proposals.get(tx, one.id)
        digest = digest_now(house.service, house.service.library.get(run.runbook), changed, run)
        tx.execute("UPDATE proposals SET digest = :digest WHERE id = :id", id=one.id, digest=digest)
    one = house.now(one)
    insert(house, one, id_token(BEN, one.digest))
    insert(house, one, id_token(BEN, one.digest), CAT)
    work.remediate(house.worker, one.id)
    assert "about somebody else" in house.now(one).state_reason
    assert stuck_now(stuck) == 3


# ---- what else stands in the database


def rewrite(house, proposal, **columns: object):
    """Change a proposal's row, and its digest with it: whoever can write one can write the other."""
    with transaction(house.service.engine) as tx:
        for name, value in columns.items():
            tx.execute(f"UPDATE proposals SET {name} = :value WHERE id = :id", value=value, id=proposal.id)
        run = runs.get(tx, proposal.run_id)
        runbook = house.service.library.get(run.runbook)
        changed = proposals.get(tx, proposal.id)
        digest = digest_now(house.service, runbook, changed, run)
        tx.execute("UPDATE proposals SET digest = :digest WHERE id = :id", digest=digest, id=proposal.id)
        return proposals.get(tx, proposal.id)


@pytest.mark.parametrize(
    ("loosened", "fault"),
    [
        ({"risk": "low"}, "risk"),
        ({"risk": "medium", "recheck": False}, "risk, re-check"),
        ({"approvers": [["payments"]]}, "approvers"),
        ({"approvals": 0}, "approvals"),
        ({"expires": 86_400}, "time"),
    ],
)
def test_a_policy_that_was_loosened_in_the_database_starts_nothing(house, two, stuck, loosened, fault):
    one, _ = two
    one = rewrite(house, one, policy={**one.policy, **loosened})
    insert(house, one, id_token(BEN, one.digest))
    work.remediate(house.worker, one.id)
    after = house.now(one)
    assert (after.state, after.state_reason) == (
        ProposalState.STALE,
        f"It asks for less ({fault}) than its connections and its runbook do. Nothing was executed.",
    )
    assert stuck_now(stuck) == 3


def test_below_high_risk_nothing_starts_of_a_runbook_that_the_workers_own_library_does_not_hold(
    house, stuck, library_folder
):
    mild = FREE.replace('risk="high"', 'risk="low"')
    cells = (cell("look", LOOK, "diagnostic"), cell("free", mild, "remediation"), cell("freed", CHECK, "diagnostic"))
    write(library_folder, "stuck-orders", *cells)
    _, (one,) = house.diagnosed()
    write(library_folder, "stuck-orders", cells[0], cell("free", FREE, "remediation"), cells[2])
    deciding.decide(house.service, BEN, WEB, one.id, "approve", one.digest)
    house.do_all()
    after = house.now(one)
    assert (after.state, after.state_reason) == (
        ProposalState.STALE,
        "Its runbook is another by now; run it again. Nothing was executed.",
    )
    assert stuck_now(stuck) == 3


def test_a_connection_added_to_what_was_approved_is_no_longer_what_was_approved(house, two, stuck):
    one, _ = two
    approve(house.service, BEN, one)
    with transaction(house.service.engine) as tx:
        more = [*one.connections, {**one.connections[0], "connection": "billing-db"}]
        tx.execute("UPDATE proposals SET connections = :more WHERE id = :id", more=more, id=one.id)
    house.do_all()
    assert "not what was approved" in house.now(one).state_reason


def test_what_is_swapped_in_while_signatures_are_checked_is_not_executed(house, two, stuck):
    one, _ = two
    approve(house.service, BEN, one)

    class Meddled(Signatures):
        def check(self, proposal, now):
            checked = super().check(proposal, now)
            rewrite(house, one, inputs={"state": "new", "seen": 3})
            return checked

    checks = house.worker.signatures
    meddled = Meddled(**{f.name: getattr(checks, f.name) for f in fields(checks)})
    with pytest.raises(Unavailable):
        starting.start_remediation(house.service, one.id, "w1", checked(house.service, one.id, meddled))
    house.do_all()
    after = house.now(one)
    assert (after.state, "(nonce)" in after.state_reason) == (ProposalState.STALE, True)
    assert stuck_now(stuck) == 3


def test_a_policy_that_asks_for_no_second_look_only_for_a_moment_does_not_do_without_it(house, two, stuck):
    one, _ = two
    approve(house.service, BEN, one)
    assert (
        starting.start_remediation(house.service, one.id, "w1", checked(house.service, one.id), without_recheck=True)
        is None
    )
    assert "not checked once more" in house.now(one).state_reason


# ---- whose keys count, and where they come from


@pytest.fixture
def idp():
    with hostile_provider.serve() as provider:
        yield provider


def at(idp, house, **changes: object):
    """The house with a worker that asks this provider for its keys; and Ben, as he is known there."""
    ben = Person(f"{idp.url}#ben", "Ben", roles=BEN.roles)
    with transaction(house.service.engine) as tx:
        people.remember(tx, ben)
    checks = signatures(idp.url, keys=OpenIDProvider(idp.url, patience=2), roles=ROLES, **changes)
    return replace(house, worker=replace(house.worker, signatures=checks)), ben


def test_the_worker_fetches_keys_from_the_provider_itself_and_takes_new_ones_as_they_come(house, two, stuck, idp):
    house, ben = at(idp, house)
    one, other = two
    approve(house.service, ben, one)
    house.do_all()
    assert house.now(one).state is ProposalState.APPLIED
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 3)")
    # A key that is in the database and on the web, but not at the provider.
    token = id_token(ben, other.digest, sign=partial(rs256, key=OTHER_RSA, kid="second"))
    insert(house, other, token, ben)
    work.remediate(house.worker, other.id)
    assert house.now(other).state is ProposalState.STALE
    _, (third,) = house.diagnosed()
    idp.keys = (OTHER_RSA,)
    fresh, ben = at(idp, house)
    insert(fresh, third, id_token(ben, third.digest, sign=partial(rs256, key=OTHER_RSA, kid="second")), ben)
    work.remediate(fresh.worker, third.id)
    assert house.now(third).state is ProposalState.APPLIED


def test_while_the_provider_is_away_high_risk_waits_and_says_so_and_low_risk_goes_on(
    house, two, stuck, idp, library_folder
):
    house, ben = at(idp, house)
    one, _ = two
    idp.failing = {"/.well-known/openid-configuration", "/jwks"}
    approve(house.service, ben, one)
    job, about = house.job("remediate")
    jobs._remediate(house.worker, **about)
    waits = house.now(one)
    assert waits.state is ProposalState.APPROVED
    assert waits.state_reason.startswith("It waits for the sign-in provider")
    assert stuck_now(stuck) == 3
    say = 'kit.gate("say", "Say it", risk="low")\nkit.postgres(database).execute("SELECT 1")'
    write(library_folder, "say", cell("look", "kit.propose('say')", "diagnostic"), cell("say", say, "remediation"))
    low = house.diagnosed_beside("say")
    deciding.decide(house.service, ben, WEB, low.id, "approve", low.digest)
    work.remediate(house.worker, low.id)
    assert house.now(low).state is ProposalState.APPLIED
    idp.failing = set()
    house, _ = at(idp, house)  # a provider that did not answer is asked again by the next worker, or later
    again = house.job("remediate")
    assert again == (job, about)
    jobs._remediate(house.worker, **about)
    after = house.now(one)
    assert (after.state, after.state_reason) == (ProposalState.APPLIED, "")
    assert stuck_now(stuck) == 0


def test_keys_that_a_worker_has_are_good_while_the_provider_is_away(house, two, stuck, idp):
    house, ben = at(idp, house)
    one, other = two
    approve(house.service, ben, one)
    house.do_all()
    idp.failing = {"/.well-known/openid-configuration", "/jwks"}
    stuck.execute("UPDATE orders SET status = 'stuck' WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 3)")
    approve(house.service, ben, other)
    house.do_all()
    assert house.now(other).state is ProposalState.APPLIED
    assert house.now(other).verification is Verification.VERIFIED


# ---- what a decision of the service's own keeps


def test_the_trail_keeps_a_digest_of_the_token_and_never_the_token(house, two, stuck):
    one, _ = two
    approve(house.service, BEN, one)
    token = house.now(one).decisions[0].id_token
    assert token.count(".") == 2
    assert token not in repr(house.now(one))
    with reading(house.service.engine) as tx:
        kept = "".join(f"{entry.actor}{entry.objects}{entry.body}" for entry in audit.entries(tx))
    assert token not in kept
    assert token.split(".")[2] not in kept
    ((_, body),) = entries(house, Event.PROPOSAL_APPROVED)
    assert body["signature"] == deciding.token_digest(token)


def test_without_a_signature_high_risk_is_not_approved_and_is_denied_all_the_same(house, two, stuck):
    one, _ = two
    with pytest.raises(Unsigned):
        deciding.decide(house.service, BEN, WEB, one.id, "approve", one.digest)
    assert house.now(one).decisions == ()
    denied = deciding.decide(house.service, BEN, WEB, one.id, "deny", one.digest)
    assert denied.state is ProposalState.DENIED
