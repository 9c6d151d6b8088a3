"""`/proposals/<id>`: the approval page. What would be done, on what, why; and who may say yes."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from page_stories import ANNA, DEV, INPUTS, LIBRARY, SURFACE, bundle
from sqlalchemy import text

from runbooks_app.actions import deciding, running
from runbooks_app.actions.sweeping import expire_proposals
from runbooks_app.connections import Connection
from runbooks_app.core.digests import decision_nonce
from runbooks_app.core.people import Person, through
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import proposals, wakings
from runbooks_app.store.database import reading, transaction


def stored(service, proposal_id: str):
    with reading(service.engine) as tx:
        return proposals.get(tx, proposal_id)


def path(proposal_id: str) -> str:
    return f"/proposals/{proposal_id}"


def decide(browser, proposal_id: str, verdict: str, **form: str):
    digest = browser.get(path(proposal_id)).field("digest")
    return browser.post(f"{path(proposal_id)}/decision", verdict=verdict, digest=digest, **form)


def test_it_is_told_in_the_order_in_which_a_tired_person_needs_it(story, dev):
    _, proposal_id = story.diagnosed()
    told = dev.get(path(proposal_id)).text
    order = [
        "End session 4711 (deploy-migration) on orders-db, which blocks 37 others",
        "On what, and as whom",
        "orders_operator",
        "With exactly these inputs",
        "Evidence",
        "The code that runs",
        "Who asks, and until when",
        "Anna Weber",
        "Reason",
        "Approve",
        "Deny",
    ]
    at = 0
    for part in order:
        assert part in told[at:], part
        at = told.index(part, at)


def test_of_an_http_connection_it_is_told_what_may_be_sent(story, dev, service):
    _, proposal_id = story.diagnosed()
    held = {"connection": "metrics", "address": "http://metrics:9090", "role": "POST /-/reload, without a credential"}
    service.connections["metrics"] = Connection("metrics", "http", "Metrics", url="http://metrics:9090")
    with transaction(service.engine) as tx:
        tx.execute("UPDATE proposals SET connections = :held WHERE id = :id", held=[held], id=proposal_id)
    told = dev.get(path(proposal_id)).text
    assert "Metrics: http://metrics:9090" in told
    assert "May send POST /-/reload, without a credential and nothing else" in told
    assert "dropped right after" not in told


def test_risk_and_policy_are_told_in_words(story, dev):
    _, proposal_id = story.diagnosed()
    told = dev.get(path(proposal_id)).text
    assert "▲ high risk" in told
    assert "One person decides: an approver for database. Never somebody who asked for it." in told
    assert "the diagnosis is made once more" in told


def test_inputs_are_shown_in_full_with_what_they_mean_and_which_may_move(story, dev):
    _, proposal_id = story.diagnosed()
    told = dev.get(path(proposal_id)).text
    assert "pid 4711 The session to end" in told
    assert "2026-11-22 03:06:11.482913+00" in told
    assert "blocked 37 (tells only; may change until it runs)" in told
    assert "database orders-db" in told


def test_evidence_is_what_was_frozen_with_the_proposal(story, dev):
    _, proposal_id = story.diagnosed()
    page = dev.get(path(proposal_id))
    assert "has held a lock on orders for 6 min" in page.text
    assert '<th scope="col" class="num">pid<' in page.html
    assert "37 rows." in page.text


def test_looking_changes_nothing(story, dev, anna, service):
    _, proposal_id = story.diagnosed()

    def held():
        with reading(service.engine) as tx:
            return tx.execute("SELECT (SELECT count(*) FROM audit_entries), (SELECT count(*) FROM decisions)").one()

    before = held()
    for who in (dev, anna):
        assert who.get(path(proposal_id)).status == 200
        assert who.client.get(f"{path(proposal_id)}/decision?verdict=approve").status_code == 405
    assert held() == before


@pytest.mark.identity
def test_approving_high_risk_leads_to_the_provider_and_back_to_the_page_which_tells_what_happens(
    idp, story, browser, service
):
    _, proposal_id = story.diagnosed()
    dev = browser(Person(f"{idp.url}#dev", "Dev Patel", roles=frozenset({"approver:database"})))
    idp.user = {"sub": "dev", "name": "Dev Patel", "groups": ["approver:database"]}
    assert "to approve it you sign in once more" in dev.get(path(proposal_id)).text
    answer = decide(dev, proposal_id, "approve", reason="Seen it")
    assert answer.status == 303
    asked = dict(parse_qsl(urlsplit(answer.headers["Location"]).query))
    assert asked["nonce"] == decision_nonce(stored(service, proposal_id).digest, "approve")
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    assert stored(service, proposal_id).state is ProposalState.PROPOSED
    idp.forge = lambda claims: {**claims, "auth_time": claims["iat"]}
    back = dev.get(idp.authorize(answer.headers["Location"]))
    assert (back.status, back.headers["Location"]) == (303, path(proposal_id))
    assert stored(service, proposal_id).state is ProposalState.APPROVED
    assert stored(service, proposal_id).decisions[0].id_token.count(".") == 2
    page = dev.get(path(proposal_id))
    assert "It is about to run" in page.text
    assert "Approved by Dev Patel: “Seen it”" in page.text
    assert "signed at the provider" in page.text
    assert 'value="approve"' not in page.html
    assert 'value="deny"' in page.html


def test_then_each_step_is_told_as_it_happens(story, dev):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.recheck(proposal_id)
    assert "Checked once more: still proposed" in dev.get(path(proposal_id)).text
    story.remediate(proposal_id)
    page = dev.get(path(proposal_id))
    assert "applied, being verified" in page.text
    assert "Session 4711 was told to end." in page.text
    story.verify(proposal_id)
    page = dev.get(path(proposal_id))
    assert "✓ applied, verified" in page.text
    assert "✓ held p99 is back 14 ms" in page.text
    assert "Nothing was executed" not in page.text


def test_denying_ends_it_and_says_by_whom(story, dev):
    _, proposal_id = story.diagnosed()
    assert decide(dev, proposal_id, "deny", reason="Not during the sale").status == 303
    page = dev.get(path(proposal_id))
    assert "It was denied by Dev Patel" in page.text
    assert "Nothing was executed" in page.text
    assert "Not during the sale" in page.text
    assert 'name="verdict"' not in page.html


def test_who_asked_is_told_why_they_cannot_decide_and_may_withdraw(story, anna, service):
    _, proposal_id = story.diagnosed()
    page = anna.get(path(proposal_id))
    assert "You asked for this; somebody else has to decide." in page.text
    assert 'name="verdict"' not in page.html
    assert anna.post(f"{path(proposal_id)}/withdraw").status == 303
    assert "Withdrawn by Anna Weber" in anna.get(path(proposal_id)).text
    assert stored(service, proposal_id).state is ProposalState.WITHDRAWN


def test_a_form_of_another_proposal_or_time_decides_nothing(story, dev, service):
    _, proposal_id = story.diagnosed()
    answer = dev.post(f"{path(proposal_id)}/decision", verdict="approve", digest="0" * 64)
    assert answer.status == 409
    assert "not the one that you were shown" in answer.text
    assert answer.field("digest") == stored(service, proposal_id).digest
    assert dev.post(f"{path(proposal_id)}/decision", verdict="maybe", digest="0" * 64).status == 422
    assert stored(service, proposal_id).state is ProposalState.PROPOSED


def test_a_viewer_sees_everything_and_may_nothing(story, vera):
    _, proposal_id = story.diagnosed()
    page = vera.get(path(proposal_id))
    assert "Only approvers for database may decide this." in page.text
    for what in ("decision", "sponsor"):
        assert vera.post(f"{path(proposal_id)}/{what}", verdict="approve").status == 403


def test_a_stale_one_says_why_and_leads_to_what_is_proposed_now(story, dev, service):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.recheck(proposal_id, inputs={**INPUTS, "pid": 4999})
    page = dev.get(path(proposal_id))
    assert "Nothing was executed. The diagnosis now proposes something else: pid was 4711, is 4999." in page.text
    assert "End session 4999" in page.text
    successor = story.proposals(stored(service, proposal_id).run_id)[-1]
    assert f'href="{path(successor)}"' in page.html
    assert "takes the place of" in dev.get(path(successor)).text


def test_an_expired_one_says_so_before_and_after_the_sweep(story, dev, service):
    _, proposal_id = story.diagnosed()
    with service.engine.begin() as connection:
        connection.execute(
            text("UPDATE proposals SET expires_at = :at WHERE id = :id"),
            {"at": datetime.now(UTC) - timedelta(seconds=1), "id": proposal_id},
        )
    before = dev.get(path(proposal_id))
    assert "It expired at" in before.text
    assert 'name="verdict"' not in before.html
    expire_proposals(service)
    assert "Nobody decided in time." in dev.get(path(proposal_id)).text


def test_an_unknown_outcome_says_what_is_known_and_what_to_do(story, dev):
    _, proposal_id = story.diagnosed()
    story.approve(proposal_id)
    story.recheck(proposal_id)
    story.remediate(proposal_id, ProposalState.UNKNOWN, "The worker went away while it executed.")
    page = dev.get(path(proposal_id))
    assert "outcome unknown" in page.text
    assert "It is never tried again." in page.text
    assert "Look at orders-db" in page.text


def test_one_that_nobody_asked_for_wants_a_sponsor_who_then_cannot_decide(story, browser, dev, service):
    _, proposal_id = story.diagnosed()
    with service.engine.begin() as connection:
        connection.execute(text("UPDATE proposals SET requesters = '[]' WHERE id = :id"), {"id": proposal_id})
    assert "somebody has to sponsor it first" in dev.get(path(proposal_id)).text
    olga = browser(Person("https://id.example#olga", "Olga Ruiz", roles=frozenset({"responder", "approver:database"})))
    assert "Sponsor it" in olga.get(path(proposal_id)).text
    assert olga.post(f"{path(proposal_id)}/sponsor").status == 303
    assert "You sponsor this; somebody else has to decide." in olga.get(path(proposal_id)).text
    page = dev.get(path(proposal_id))
    assert "sponsored by Olga Ruiz" in page.text
    assert 'value="approve"' in page.html


def test_with_two_approvals_needed_the_first_one_is_told_and_cannot_count_twice(story, dev, browser, service):
    _, proposal_id = story.diagnosed()
    policy = {**stored(service, proposal_id).policy, "approvals": 2}
    with service.engine.begin() as connection:
        connection.execute(
            text("UPDATE proposals SET policy = CAST(:policy AS jsonb) WHERE id = :id"),
            {"policy": json.dumps(policy), "id": proposal_id},
        )
    assert "2 different people have to approve" in dev.get(path(proposal_id)).text
    story.approve(proposal_id)
    page = dev.get(path(proposal_id))
    assert "Your approval counts. 1 more person has to approve." in page.text
    assert 'value="approve"' not in page.html


def test_texts_of_kernels_and_people_are_shown_as_text(story, dev):
    hostile = "<img src=x onerror=alert(1)>"
    run_id = story.request()
    story.claim(run_id)
    story.end(run_id, "parameters")
    story.end(run_id, "setup")
    table = {"kind": "table", "columns": [{"name": hostile, "type": "text"}], "rows": [[hostile]], "omitted": 3}
    story.end(run_id, "latency", outputs=[bundle("finding", severity="critical", summary=hostile, evidence=table)])
    given = {**INPUTS, "application": hostile}
    story.end(
        run_id,
        "what-would-help",
        outputs=[bundle("proposal", gate="terminate-session", inputs=given, reason=hostile)],
    )
    story.finish(run_id)
    page = dev.get(path(story.proposals(run_id)[0]))
    assert "<img src=x" not in page.html
    assert page.html.count("&lt;img src=x") >= 5
    assert "3 more rows were left out" in page.text


class TestTheLibraryMovedOn:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        folder = tmp_path / "library"
        folder.mkdir()
        shutil.copy(LIBRARY / "db-latency.ipynb", folder)
        shutil.copytree(LIBRARY / "kit", folder / "kit")
        return {"library": folder}

    def test_the_code_is_compared_with_what_was_last_approved_and_applied(self, story, dev, service, tmp_path):
        with service.engine.begin() as connection:
            connection.execute(text("UPDATE proposals SET ended_at = NULL, state = 'failed' WHERE state = 'applied'"))
        _, first = story.diagnosed()
        assert "never approved and applied here before" in dev.get(path(first)).text
        story.approve(first)
        story.mend(first)
        _, second = story.diagnosed()
        assert "The same code as the last time it was approved and applied" in dev.get(path(second)).text

        notebook = tmp_path / "library" / "db-latency.ipynb"
        changed = (
            notebook.read_text().replace("was told to end.", "has to go NOW.").replace("PROBES = 200", "PROBES = 300")
        )
        notebook.write_text(changed)
        _, third = story.diagnosed()
        page = dev.get(path(third))
        assert "Changed since it was last approved and applied" in page.text
        assert '<tr class="added">' in page.html
        assert '<tr class="removed">' in page.html
        assert "setup changed since then" in page.text


class TestProposingByHand:
    def test_the_form_makes_a_proposal_that_is_marked(self, story, anna, dev, service):
        run_id, _ = story.diagnosed()
        at = f"/runs/{run_id}/propose/cancel-query"
        page = anna.get(at).text
        assert "counts as high risk" in page
        assert "Cancel the statement of session … (…) on orders-db, which blocks … others" in page
        form = {f"p.{name}": str(value) for name, value in stored(service, story.proposals(run_id)[0]).inputs.items()}
        answer = anna.post(at, **form, reason="It blocks the till")
        assert answer.status == 303
        page = dev.get(answer.headers["Location"])
        assert "Not proposed by the diagnosis. Anna Weber proposes it by hand." in page.text
        assert "It blocks the till" in page.text
        assert "▲ high risk" in page.text

    def test_what_cannot_be_used_stands_beside_its_field(self, story, anna):
        run_id, _ = story.diagnosed()
        at = f"/runs/{run_id}/propose/cancel-query"
        answer = anna.post(at, **{"p.pid": "the big one", "reason": ""})
        assert answer.status == 422
        assert 'value="the big one"' in answer.html
        assert "The reason is what approvers go by" in answer.text
        answer = anna.post(at, **{"p.pid": "the big one", "reason": "because"})
        assert answer.status == 422
        assert "whole number" in answer.text
        assert ">because</textarea>" in answer.html

    def test_a_gate_that_is_none_and_a_run_that_goes_on_are_refused(self, story, anna, vera):
        run_id, _ = story.diagnosed()
        assert anna.get(f"/runs/{run_id}/propose/drop-database").status == 404
        assert vera.get(f"/runs/{run_id}/propose/cancel-query").status == 403
        going = story.request()
        assert "Propose something else by hand" not in anna.get(f"/runs/{going}").text


def test_somebody_who_only_re_ran_it_cannot_approve_either(story, browser, service):
    run_id, _ = story.diagnosed()
    both = Person("https://id.example#both", "Bo Both", roles=frozenset({"responder", "approver:database"}))
    page = browser(both)
    again = running.request_run(service, both, SURFACE, "db-latency", {"database": "orders-db"}, rerun_of=run_id)
    assert again is not None
    story.diagnose(again.id)
    assert "You asked for this" in page.get(path(story.proposals(again.id)[0])).text
    with pytest.raises(Exception, match="You asked for this"):
        deciding.decide(
            service, both, SURFACE, story.proposals(again.id)[0], "approve",
            stored(service, story.proposals(again.id)[0]).digest,
        )  # fmt: skip
    assert {ANNA.subject, both.subject} == set(stored(service, story.proposals(again.id)[0]).requesters)
    assert DEV.subject not in stored(service, story.proposals(again.id)[0]).requesters


def test_what_a_program_proposed_by_itself_from_somebodys_run_waits_for_a_sponsor(story, browser, service, dev):
    run_id, _ = story.diagnosed()
    nightly = through(Person("https://id.example#agents", "x", roles=frozenset({"responder"})), "agents", "nightly")
    made = deciding.propose_by_hand(service, nightly, SURFACE, run_id, "terminate-session", INPUTS, "It blocks 37.")
    page = dev.get(path(made.id))
    assert "Asked by a program by itself, from what Anna Weber answered for" in page.text
    assert "somebody has to sponsor it first" in page.text
    assert "Sponsor it" in page.text
    olga = browser(Person("https://id.example#olga", "Olga Ruiz", roles=frozenset({"responder"})))
    assert olga.post(f"{path(made.id)}/sponsor").status == 303
    page = dev.get(path(made.id))
    assert "sponsored by Olga Ruiz" in page.text
    assert "somebody has to sponsor it first" not in page.text


@pytest.mark.chat
def test_it_tells_who_was_woken_by_which_way_and_what_went_wrong(story, dev, service):
    _, proposal_id = story.diagnosed()
    assert "Woken" not in dev.get(path(proposal_id)).text
    with transaction(service.engine) as tx:
        wakings.insert(tx, proposal_id, 0, "slack", "https://idp#ben", "Ben <b>Bold</b>")
        wakings.insert(tx, proposal_id, 0, "pagerduty", "pd", "pd")
        (page,) = wakings.pages(tx, proposal_id)
        wakings.ended(tx, page.id, "pagerduty (pd) answers 400.")
    told = dev.get(path(proposal_id)).text
    assert "Woken: Ben <b>Bold</b>, pd" in told
    assert "not all of them" in told
    assert "by direct message" in told
    assert "pagerduty (pd) answers 400." in told


@pytest.mark.chat
def test_what_is_decided_no_longer_tells_who_was_woken(story, dev, service):
    _, proposal_id = story.diagnosed()
    with transaction(service.engine) as tx:
        wakings.insert(tx, proposal_id, 0, "pagerduty", "pd", "pd")
    decide(dev, proposal_id, "deny")
    assert "Woken" not in dev.get(path(proposal_id)).text
