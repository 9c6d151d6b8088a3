"""What waits for somebody: found behind a great many of others, and what their browser is told of it."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
from page_stories import ANNA, DEV, VERA

from runbooks_app.chat.messages import run_message
from runbooks_app.core.people import Person
from runbooks_app.store import proposals, runs
from runbooks_app.store.database import reading, transaction
from runbooks_app.web.pages.now_view import waits_for
from runbooks_app.worker.views import run_told

pytestmark = pytest.mark.chat


def rewrite(tx: Any, proposal_id: str, **columns: Any) -> None:
    for name, value in columns.items():
        tx.execute(f"UPDATE proposals SET {name} = :value WHERE id = :id", value=value, id=proposal_id)


def test_what_the_database_finds_for_somebody_is_what_the_rules_say(story):
    """Many proposals that differ in all that counts: each is looked at by the rules, and looked for by the query."""
    dice = random.Random(7)  # noqa: S311 -- tests may be predictable, and this one has to be
    approvers = [[], [["database"]], [["payments"]], [["database"], ["payments", "sre"]], [["sre"], ["database"]]]
    _, first = story.diagnosed()
    made = [story.diagnosed()[1] for _ in range(60)]
    with transaction(story.service.engine) as tx:
        policy = proposals.get(tx, first).policy
        for proposal_id in made:
            asked = dice.choice([[], [ANNA.subject], [DEV.subject], [ANNA.subject, DEV.subject]])
            risk = dice.choice(["low", "medium", "high"])
            rewrite(
                tx,
                proposal_id,
                requesters=asked,
                sponsor=dice.choice(["", "", DEV.subject, VERA.subject]),
                policy={**policy, "risk": risk, "approvals": 2, "approvers": dice.choice(approvers)},
                state=dice.choice(["proposed", "proposed", "proposed", "approved", "denied"]),
                expires_at=tx.now + timedelta(seconds=dice.choice([-5, 900, 1_000])),
            )
            if dice.random() < 0.2:
                tx.execute(
                    """INSERT INTO decisions (proposal_id, digest, subject, name, verdict, signed_in, break_glass)
                       VALUES (:id, '', :subject, 'D', 'approve', '{}', :glass)""",
                    id=proposal_id,
                    subject=dice.choice([DEV.subject, VERA.subject]),
                    glass=dice.random() < 0.3,
                )
    people = [DEV, *(Person(DEV.subject, "Dev", roles=frozenset(f"approver:{g}" for g in groups)) for groups in (
        ["payments"], ["sre"], ["database", "payments"], ["database", "sre", "payments"], ["other"],
    ))]  # fmt: skip
    with reading(story.service.engine) as tx:
        every = {proposal_id: proposals.get(tx, proposal_id) for proposal_id in made}
        counts = []
        for person in people:
            found = proposals.waiting_for(tx, person.subject, person.approver_groups, 10_000)
            by_rules = {one.id for one in every.values() if one.state == "proposed" and waits_for(one, person, tx.now)}
            assert {one.id for one, _ in found} & set(made) == by_rules
            assert all(runs.get(tx, one.run_id).incident_id == incident_id for one, incident_id in found)
            counts.append(len(by_rules))
    assert len(set(counts)) > 3  # the people differ, and so does what they may decide


@pytest.fixture
def other_crowd(story):
    """250 proposals that expire before all others, and that somebody else decides."""
    _, model = story.diagnosed()
    with transaction(story.service.engine) as tx:
        known = "SELECT column_name FROM information_schema.columns WHERE table_name = 'proposals'"
        columns = list(tx.execute(known).scalars())
        given = {
            "id": "'crowd' || lpad(n::text, 11, '0')",
            "policy": 'policy || \'{"approvers": [["nobody"]]}\'',
            "expires_at": "now() + interval '60 s'",
        }
        picked = ", ".join(given.get(name, f'"{name}"') for name in columns)
        names = ", ".join(f'"{name}"' for name in columns)
        tx.execute(
            f"INSERT INTO proposals ({names}) SELECT {picked} FROM proposals, generate_series(1, 250) n WHERE id = :id",
            id=model,
        )
        tx.execute("UPDATE proposals SET state = 'expired' WHERE id = :id", id=model)
    yield
    with transaction(story.service.engine) as tx:
        tx.execute("UPDATE proposals SET state = 'expired' WHERE id LIKE 'crowd%'")


def test_mine_is_found_behind_a_great_many_of_others(story, dev, other_crowd):
    _, proposal_id = story.diagnosed()
    page = dev.get("/").html
    mine = page[page.index("Waits for you") : page.index(">Runbooks</h2>")]
    assert f"/proposals/{proposal_id}" in mine
    told = json.loads(dev.get("/waiting").html)["waiting"]
    assert proposal_id in {one["id"] for one in told}
    assert not any(one["id"].startswith("crowd") for one in told)


def test_who_decides_nothing_is_told_of_nothing(story, anna):
    story.diagnosed()
    assert json.loads(anna.get("/waiting").html) == {"waiting": []}
    assert "notify.js" not in anna.get("/").html


def test_several_of_an_incident_are_offered_together(story, dev, anna):
    run_id, _ = story.diagnosed()
    with reading(story.service.engine) as tx:
        incident_id = runs.get(tx, run_id).incident_id
    where = f"/incidents/{incident_id}/decide"
    assert where not in dev.get("/").html
    inputs = {"pid": "4712", "backend_start": "2026-11-22 03:06:11.482913+00", "xact_start": "2026-11-22 03:06:12+00"}
    form = {f"p.{name}": value for name, value in inputs.items()}
    form |= {"p.application": "checkout", "p.username": "shop", "p.blocked": "1", "reason": "it blocks as well"}
    told = anna.post(f"/runs/{run_id}/propose/terminate-session", **form)
    assert told.status == 303, told.text
    page = dev.get("/")
    assert where in page.html
    assert f'href="{where}">2 proposals wait for you: decide</a>' in dev.get(f"/incidents/{incident_id}").html
    assert where not in anna.get(f"/incidents/{incident_id}").html
    with reading(story.service.engine) as tx:
        told = run_message(run_told(tx, story.service, runs.get(tx, run_id)))
    assert f"{where}|Decide several of them together" in json.dumps(told.blocks)
    assert f"Decide all 2 of incident #{incident_id} together" in page.text
