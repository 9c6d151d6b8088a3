"""Signed decisions from the click to the executed action: an independent provider, a browser, a real worker."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import chromium
import node_provider
import psycopg
import pytest
from hostile_provider import RSA, rs256
from playwright.sync_api import expect
from whole_stage import PATIENCE, until

from runbooks_app.core.digests import decision_nonce
from runbooks_app.main.demo.story import Story

pytestmark = pytest.mark.identity

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
REASON = "Nobody answers the phone, and the shop is down."


@pytest.fixture
def proposed(company, company_drill, colleague):
    """`proposed()` gives a high-risk proposal that Ana asked for, and the word that it writes."""
    ana = colleague("ana")
    return lambda: company_drill.proposed(ana)


def rows(stage, query: str, *values: object) -> list[tuple]:
    with psycopg.connect(stage.database.url(database="runbooks"), autocommit=True) as owner:
        found = owner.execute(query, values)
        return found.fetchall() if found.description else []


def picture(page, name: str) -> None:
    """Keep what the page looks like where somebody wants to see it."""
    if folder := os.environ.get("RUNBOOKS_TEST_PICTURES"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def sign_in(page, sub: str) -> None:
    """What a person does at the provider."""
    page.get_by_label("Name").fill(sub)
    page.get_by_label("Password").fill(node_provider.PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize(("name", "viewport", "script"), [("desk", DESK, True), ("phone-without-script", PHONE, False)])
def test_an_approver_signs_at_the_provider_and_a_worker_executes(
    company, node, company_drill, colleague, proposed, name, viewport, script
):
    proposal, word = proposed()
    with chromium.started() as browser:
        context = browser.new_context(viewport=viewport, java_script_enabled=script)
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)

        page.goto(f"{company.url}/proposals/{proposal['id']}")
        sign_in(page, "ben")
        expect(page.get_by_text("to approve it you sign in once more")).to_be_visible()
        picture(page, f"{name}-before")
        page.get_by_label("Reason").fill("Seen it")
        page.get_by_role("button", name="Approve").click()
        # Signed in here and there already, and asked again all the same.
        picture(page, f"{name}-provider")
        assert page.url.startswith(node.issuer)
        sign_in(page, "ben")
        expect(page).to_have_url(f"{company.url}/proposals/{proposal['id']}")
        expect(page.get_by_text("Approved by Ben: “Seen it”")).to_be_visible()
        expect(page.get_by_text("signed at the provider")).to_be_visible()
        expect(page.locator("#proposal-state .note").first).to_contain_text("applied")
        picture(page, f"{name}-after")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        assert complaints == []
    ana = colleague("ana")
    assert ana.verified(proposal["id"])["verification"] == "verified"
    assert company_drill.written(word) == 1
    ((token, digest),) = rows(company, "SELECT id_token, digest FROM decisions WHERE proposal_id = %s", proposal["id"])
    assert token.count(".") == 2
    assert digest == proposal["digest"]


def forge(stage, proposal, token: str, subject: str) -> None:
    """Approve a proposal as whoever owns the database could, and have it executed."""
    rows(
        stage,
        """INSERT INTO decisions (proposal_id, digest, subject, name, verdict, signed_in, id_token)
           VALUES (%s, %s, %s, 'Ben', 'approve', '{}', %s)""",
        proposal["id"], proposal["digest"], subject, token,
    )  # fmt: skip
    rows(stage, "UPDATE proposals SET state = 'approved', decided_at = now() WHERE id = %s", proposal["id"])
    job = json.dumps({"proposal_id": proposal["id"]})
    rows(
        stage, "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('approved', 'remediate', %s)", job
    )


def test_what_the_owner_of_the_database_approves_is_not_executed(company, node, company_drill, colleague, proposed):
    ben = colleague("ben")
    earlier, _ = proposed()
    assert ben.sign(approve(ben, earlier)).status_code == 200
    assert ben.proposal(earlier["id"], "applied")["state"] == "applied"
    ((genuine,),) = rows(company, "SELECT id_token FROM decisions WHERE proposal_id = %s", earlier["id"])
    subject = f"{node.issuer}#ben"

    def own_key(proposal: dict) -> str:
        now = int(time.time())
        told = {"iss": node.issuer, "sub": "ben", "aud": "runbooks", "iat": now, "exp": now + 300, "auth_time": now}
        nonce = decision_nonce(proposal["digest"], "approve")
        return rs256({**told, "groups": ["dba"], "nonce": nonce}, key=RSA)

    forgeries = {
        "it is not signed": lambda _: "",
        "(nonce)": lambda _: genuine,
        "not signed by the sign-in provider": own_key,
    }
    for why, make in forgeries.items():
        proposal, word = proposed()
        forge(company, proposal, make(proposal), subject)
        seen = ben.proposal(proposal["id"], "stale", "executing", "applied", "failed", "unknown")
        assert (seen["state"], why in seen["state_reason"]) == ("stale", True), seen["state_reason"]
        assert company_drill.written(word) == 0
        ((body,),) = rows(
            company,
            "SELECT body FROM audit_entries WHERE event = 'proposal.stale' AND objects::jsonb ->> 'proposal' = %s",
            proposal["id"],
        )
        assert json.loads(body)["decisions"][0]["subject"] == subject


def approve(person, proposal, **fields: str):
    told = {"verdict": "approve", "digest": proposal["digest"], "reason": "go", **fields}
    return person.send(f"/proposals/{proposal['id']}/decision", **told)


def test_who_lost_the_group_at_the_provider_cannot_approve(node, colleague, proposed):
    node.person("dora", name="Dora", groups=["dba"])
    dora = colleague("dora")
    proposal, _ = proposed()
    sent = approve(dora, proposal)
    node.person("dora", name="Dora", groups=["sre"])
    told = dora.sign(sent)
    assert (told.status_code, "Only approvers for database" in told.text) == (403, True)
    assert dora.api(f"/proposals/{proposal['id']}")["state"] == "proposed"


def test_the_glass_is_broken_told_in_the_channel_and_reviewed(company, node, company_drill, colleague, proposed):
    channel = Story(company, lambda _: None)
    ana, otto = colleague("ana"), colleague("otto")
    proposal, word = proposed()
    path = f"/proposals/{proposal['id']}"
    with chromium.started() as browser:
        page = browser.new_context(viewport=PHONE).new_page()
        page.goto(company.url + path)
        sign_in(page, "ana")
        page.get_by_text("Nobody answers? Break the glass").click()
        page.get_by_label("Why nobody else can approve it").fill(REASON)
        picture(page, "break-glass-form")
        page.get_by_role("button", name="Sign in once more and break the glass").click()
        sign_in(page, "ana")
        expect(page.get_by_text("Glass broken by Ana")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert ana.verified(proposal["id"])["verification"] == "verified"
    assert company_drill.written(word) == 1

    def messages() -> list[dict]:
        return [said for said in channel.messages() if "BREAK-GLASS" in json.dumps(said) and REASON in json.dumps(said)]

    (said,) = until("the channel to be told", messages)
    assert "Ana" in json.dumps(said)
    assert "Review it" in json.dumps(said)
    where = f"/break-glass/{proposal['id']}/review"
    assert ana.send(where, review="I think that I did well.").status_code == 403
    assert f"/break-glass#{proposal['id']}" in otto.page("/")
    with chromium.started() as browser:
        page = browser.new_context(viewport=PHONE).new_page()
        page.goto(f"{company.url}/break-glass")
        sign_in(page, "otto")
        review = page.locator(f"[id='{proposal['id']}']")
        picture(page, "break-glass-open")
        review.get_by_label("Your review").fill("It was right, and the only way.")
        review.get_by_role("button", name="Close it with this review").click()
        expect(review.get_by_text("It was right, and the only way.")).to_be_visible()
        picture(page, "break-glass-reviewed")
        page.goto(company.url + path)
        picture(page, "break-glass-proposal")
    until("the channel to be told of the review", lambda: "It was right, and the only way." in json.dumps(messages()))
    assert len(messages()) == 1
    events = [event for (event,) in rows(
        company, "SELECT event FROM audit_entries WHERE objects::jsonb ->> 'proposal' = %s ORDER BY seq", proposal["id"]
    )]  # fmt: skip
    assert events.index("break_glass.used") < events.index("remediation.started") < events.index("break_glass.reviewed")
    assert "proposal.approved" not in events
