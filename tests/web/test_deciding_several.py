"""One sign-in for several proposals of an incident: what it counts for, and everything that it does not count for."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hostile_provider import me, sign_in

from runbooks_app.core.digests import MOST_TOGETHER, batch_nonce, decision_nonce
from runbooks_app.store import audit, proposals, runs
from runbooks_app.store.database import reading, transaction

pytestmark = [pytest.mark.identity, pytest.mark.chat]

ORIGIN = "http://127.0.0.1:8080"


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture
def ana(sign_in_as):
    return sign_in_as("responder")


@pytest.fixture
def waiting(service, ana, diagnosed):
    """Three of one incident: one of medium risk that the diagnosis proposed, two of high risk that Ana proposed."""
    run_id, medium = diagnosed(ana.person)
    by_hand = [
        ana.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": pid}, "reason": "r"})
        for pid in (7, 8)
    ]
    with reading(service.engine) as tx:
        return [proposals.get(tx, proposal_id) for proposal_id in (medium, *(made.json["id"] for made in by_hand))]


@pytest.fixture
def where(service, waiting):
    with reading(service.engine) as tx:
        return f"/incidents/{runs.get(tx, waiting[0].run_id).incident_id}/decide"


@pytest.fixture
def ben(provider, browser):
    """Ben's browser; whoever signs in, does so afresh."""
    provider.user = {"sub": "ben", "name": "Ben", "groups": ["dba"]}
    provider.forge = lambda claims: {**claims, "auth_time": claims["iat"]}
    assert sign_in(browser, provider).status_code == 303
    return browser


def send(browser, where: str, chosen, verdict: str = "approve"):
    """`chosen` are proposals, or what a forged form says of them."""
    values = [one if isinstance(one, str) else f"{one.id}:{one.digest}" for one in chosen]
    form = {"csrf": me(browser)["csrf"], "verdict": verdict, "reason": "all of them", "chosen": values}
    return browser.post(where, data=form, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"})


def now(service, proposal):
    with reading(service.engine) as tx:
        return proposals.get(tx, proposal.id)


def nonce_of(sent) -> str:
    return dict(parse_qsl(urlsplit(sent.location).query))["nonce"]


def undecided(service, waiting) -> bool:
    return all(now(service, proposal).decisions == () for proposal in waiting)


def test_each_is_shown_whole_with_its_own_digest(ben, waiting, where):
    shown = ben.get(where).text
    for proposal in waiting:
        assert shown.count(f'value="{proposal.id}:{proposal.digest}"') == 1
        assert f'<dd class="digest small soft">{proposal.digest}</dd>' in shown
        for part in ("where", "inputs", "evidence", "code", "asked"):
            assert shown.count(f'id="{part}-{proposal.id}"') == 1
    assert "checked" not in shown
    assert "3 proposals wait for you" in shown
    ids = re.findall(r'\sid="([^"]+)"', shown)
    assert len(ids) == len(set(ids))


def test_one_sign_in_approves_all_that_were_ticked_and_no_other(service, provider, ben, waiting, where):
    medium, one, other = waiting
    sent = send(ben, where, [medium, one])
    assert nonce_of(sent) == batch_nonce([one.digest, medium.digest], "approve")
    assert undecided(service, waiting)
    back = ben.get(provider.authorize(sent.location))
    assert (back.status_code, back.location) == (303, where)
    for proposal in (medium, one):
        after = now(service, proposal)
        (decision,) = after.decisions
        assert (after.state, decision.reason) == ("approved", "all of them")
        assert sorted(decision.batch) == sorted([medium.digest, one.digest])
        assert decision.id_token.count(".") == 2
        with reading(service.engine) as tx:
            said = [e for e in audit.entries(tx) if e.event == "proposal.approved" and proposal.id in str(e.objects)]
        assert "signed_together" in str(said[0].body)
        assert decision.id_token not in str(said[0].body)
    assert now(service, other).state == "proposed"
    page = html.unescape(ben.get(where).text)
    assert "1 proposal waits for you" in page
    assert page.count("approved by Ben: “all of them”") == 2
    assert "signed at the provider, together with 1 other<" in ben.get(f"/proposals/{one.id}").text


def test_the_same_answer_comes_back_once(service, provider, ben, waiting, where):
    back = provider.authorize(send(ben, where, waiting[1:]).location)
    assert ben.get(back).status_code == 303
    assert ben.get(back).status_code == 403
    assert [len(now(service, proposal).decisions) for proposal in waiting] == [0, 1, 1]


def test_one_alone_is_signed_as_on_its_own_page(service, provider, ben, waiting, where):
    one = waiting[1]
    sent = send(ben, where, [one])
    assert nonce_of(sent) == decision_nonce(one.digest, "approve")
    assert ben.get(provider.authorize(sent.location)).status_code == 303
    assert now(service, one).state == "approved"
    assert now(service, one).decisions[0].batch is None


def test_below_high_risk_and_to_deny_nobody_signs_in_again(service, provider, ben, waiting, where):
    medium, one, other = waiting
    assert send(ben, where, [one, other], "deny").location == where
    assert [now(service, proposal).state for proposal in waiting] == ["proposed", "denied", "denied"]
    assert send(ben, where, [medium]).location == where
    assert now(service, medium).state == "approved"
    assert now(service, medium).decisions[0].batch is None
    assert provider.codes == {}


def test_nothing_is_decided_where_one_of_them_may_not_be(service, provider, ben, waiting, where, sign_in_as, diagnosed):
    medium, one, other = waiting
    _, foreign = diagnosed(sign_in_as("responder").person, 99)
    with reading(service.engine) as tx:
        foreign = proposals.get(tx, foreign)
    assert send(ben, where, [one, foreign]).status_code == 404
    forged = send(ben, where, [one, f"{other.id}:{'0' * 64}"])
    assert (forged.status_code, "not the one that you were shown" in forged.text) == (409, True)
    assert send(ben, where, [one, other], "break-glass").status_code == 422
    assert send(ben, where, []).status_code == 422
    assert send(ben, where, [f"{n:016}:{n}" for n in range(MOST_TOGETHER + 1)]).status_code == 422
    assert provider.codes == {}
    assert undecided(service, [*waiting, foreign])
    closed = sign_in_as("approver:database")
    body = {"verdict": "deny", "digest": other.digest}
    assert closed.post(f"/api/v1/proposals/{other.id}/decisions", body).status_code == 200
    told = send(ben, where, [one, other])
    assert (told.status_code, "It was denied by" in told.text) == (409, True)
    assert undecided(service, [medium, one])


def test_who_ticks_nothing_gets_the_form_again_with_what_they_typed(service, ben, waiting, where):
    told = send(ben, where, [])
    assert told.status_code == 422
    assert "3 proposals wait for you" in told.text
    assert re.search(r"<textarea[^>]*>all of them</textarea>", told.text)
    assert f"Choose one to {MOST_TOGETHER} proposals." in told.text
    assert undecided(service, waiting)


def test_what_somebody_may_not_decide_says_why_and_is_not_counted_for_them(waiting, where, ana, ben):
    page = html.unescape(ana.client.get(where).text)
    assert page.count("You asked for this; somebody else has to decide.") == 3
    incident = where.removesuffix("/decide")
    assert "3 proposals wait for you: decide" in ben.get(incident).text
    assert "for you: decide" not in ana.client.get(incident).text


def test_nobody_decides_what_they_asked_for_among_others(service, waiting, where, sign_in_as, ana):
    both = sign_in_as("responder", "approver:database", subject=ana.person.subject)
    assert "Nothing waits for you here" in both.client.get(where).text
    told = send(both.client, where, waiting)
    assert (told.status_code, "You asked for this" in told.text) == (403, True)
    assert undecided(service, waiting)


@pytest.mark.parametrize("groups", [["watch"], ["oncall"]])
def test_who_decides_nothing_is_refused(service, provider, browser, waiting, where, groups):
    provider.user = {"sub": "vera", "name": "Vera", "groups": groups}
    assert sign_in(browser, provider).status_code == 303
    assert send(browser, where, waiting).status_code == 403
    assert undecided(service, waiting)


def test_what_moved_on_during_the_sign_in_holds_up_none_of_the_others(
    service, provider, ben, waiting, where, sign_in_as
):
    _, one, other = waiting
    sent = send(ben, where, [one, other])
    body = {"verdict": "deny", "digest": other.digest}
    dora = sign_in_as("approver:database")
    assert dora.post(f"/api/v1/proposals/{other.id}/decisions", body).status_code == 200
    assert ben.get(provider.authorize(sent.location)).location == where
    assert (now(service, one).state, now(service, other).state) == ("approved", "denied")
    assert "denied by" in ben.get(where).text


def test_where_all_moved_on_the_reason_is_told(service, provider, ben, waiting, where):
    sent = send(ben, where, waiting[1:])
    provider.user = {**provider.user, "groups": ["watch"]}
    told = ben.get(provider.authorize(sent.location))
    assert (told.status_code, "Only approvers for database may decide this." in told.text) == (403, True)
    assert undecided(service, waiting)


@pytest.mark.parametrize("change", ["one more", "another", "one less"])
def test_what_was_changed_while_they_signed_is_not_what_they_signed(service, provider, ben, waiting, where, change):
    """By whoever writes the database while Ben is at the provider."""
    medium, one, other = waiting
    sent = send(ben, where, [medium, one])
    with transaction(service.engine) as tx:
        if change == "one more":
            tx.execute(
                """INSERT INTO pending_decisions (ref, proposal_id, digest, subject, verdict, reason)
                   SELECT ref, :id, :digest, subject, verdict, reason FROM pending_decisions
                   WHERE proposal_id = :one""",
                id=other.id, digest=other.digest, one=one.id,
            )  # fmt: skip
        elif change == "another":
            tx.execute(
                "UPDATE pending_decisions SET proposal_id = :id, digest = :digest WHERE proposal_id = :one",
                id=other.id, digest=other.digest, one=one.id,
            )  # fmt: skip
        else:
            tx.execute("DELETE FROM pending_decisions WHERE proposal_id = :one", one=one.id)
    told = ben.get(provider.authorize(sent.location))
    assert (told.status_code, "not what you signed" in told.text) == (409, True)
    assert undecided(service, waiting)
