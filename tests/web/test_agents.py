"""Agents at the API: what they do stands under two names, and no road leads them to a decision."""

from __future__ import annotations

import itertools
import re
import time
from datetime import UTC, datetime

import pytest
from hostile_provider import rs256

from runbooks_app.actions import diagnosing
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.actions.story import incident_story
from runbooks_app.core.errors import Misconfigured
from runbooks_app.core.id_tokens import CLIENT_CLAIMS
from runbooks_app.core.incident_steps import durations
from runbooks_app.core.people import AGENTS_MAY, Permission
from runbooks_app.core.run import CellState
from runbooks_app.settings import read_settings
from runbooks_app.store import proposals
from runbooks_app.store.database import reading
from runbooks_app.web import guards

pytestmark = pytest.mark.pages

AGENT = "runbooks-agent"
EVERYTHING = ["oncall", "dba", "watch", "audit", "glass", "root"]
_people = itertools.count(1)


@pytest.fixture
def settings(settings, provider):
    roles = {**settings["roles"], "glass": ["break-glass"], "root": ["admin"]}
    return {**settings, "oidc_issuer": provider.url, "roles": roles}


@pytest.fixture
def human(provider):
    """The subject at the provider of somebody whom no test has met yet."""
    return f"agents-{next(_people)}"


@pytest.fixture
def agent(client, provider, human):
    """`agent(path, body)` asks the API as the agent of `human`, who holds every role; a body makes it a POST."""

    def token(claims=None):
        now = int(time.time())
        told = {
            "iss": provider.url,
            "aud": "http://127.0.0.1:8080",
            "sub": human,
            "name": "Anna",
            "groups": EVERYTHING,
            "client_id": AGENT,
            "jti": "t-1",
            "iat": now,
            "exp": now + 300,
            **(claims or {}),
        }
        return rs256({name: value for name, value in told.items() if value is not None}, typ="at+jwt")

    def ask(path, body=None, *, claims=None, headers=None, method=""):
        sent = {"Authorization": f"Bearer {token(claims)}", "Runbooks-Agent": "claude-code", **(headers or {})}
        method = method or ("GET" if body is None else "POST")
        return client.open(f"/api/v1{path}", method=method, json=body, headers=sent)

    ask.token = token
    return ask


@pytest.fixture
def entry(service):
    """`entry("run.requested")` is the latest of this event: its actor and body."""

    def look(event):
        with reading(service.engine) as tx:
            return tx.execute(
                "SELECT actor::jsonb AS actor, body::jsonb AS body FROM audit_entries WHERE event = :event"
                " ORDER BY seq DESC LIMIT 1",
                event=event,
            ).one()

    return look


def test_an_agent_is_told_that_it_is_one(agent, provider, human):
    told = agent("/me").json
    assert told["agent"] == AGENT
    assert told["name"] == "Anna through claude-code (agent)"
    assert told["subject"] == f"{provider.url}#{human}"


@pytest.mark.parametrize(
    "claims",
    [
        {"client_id": None, "azp": AGENT},
        {"client_id": "runbooks-cli", "azp": AGENT},
        {"client_id": None, "cid": AGENT},
        {"client_id": None, "appid": AGENT},
        {"client_id": None},
        {"client_id": ["runbooks-cli"]},
    ],
)
def test_a_token_is_an_agents_wherever_it_names_the_client_and_where_it_names_none(agent, claims):
    assert agent("/me", claims=claims).json["agent"] == AGENT


def test_the_token_of_another_client_is_a_persons_whatever_the_header_says(agent):
    told = agent("/me", claims={"client_id": "runbooks-cli"}).json
    assert (told["agent"], told["name"]) == ("", "Anna")


def test_both_stand_in_the_trail_and_the_human_answers_for_it(agent, provider, human, entry):
    made = agent("/runs", {"runbook": "disk-full"})
    assert made.status_code == 201, made.text
    assert made.json["requested_by"] == {
        "kind": "agent",
        "name": "Anna through claude-code (agent)",
        "subject": f"{provider.url}#{human}",
    }
    told = entry("run.requested")
    assert told.actor["kind"] == "agent"
    assert told.actor["signed_in"]["surface"] == "agent"
    assert told.actor["signed_in"]["client_id"] == AGENT
    assert told.actor["signed_in"]["agent"] == "claude-code"
    assert told.body["requesters"] == [f"{provider.url}#{human}"]


def test_acts_of_agents_are_no_acts_of_people(agent, sign_in_as, service, human):
    incident = agent("/runs", {"runbook": "disk-full"}).json["incident"]
    own = agent(f"/incidents/{incident}/notes", {"text": "I looked."}).json
    anna = sign_in_as("responder", subject=f"{service.settings.oidc_issuer}#{human}", name="Anna")
    ben = sign_in_as("responder", name="Ben B.")
    change = {"text": "It looked.", "version": own["version"]}
    assert anna.put(f"/api/v1/incidents/{incident}/notes/{own['id']}", change).status_code == 200
    assert ben.post(f"/api/v1/incidents/{incident}/notes", {"text": "I see."}).status_code == 201
    with reading(service.engine) as tx:
        told = incident_story(tx, service, incident)
    assert [item.text for item in told.items if item.human] == ["I see."]
    assert durations(told).acknowledge.until == told.items[-1].entry
    postmortem = ben.post(f"/api/v1/incidents/{incident}/exports", {"kind": "md"}).text
    people = next(line for line in postmortem.splitlines() if "**People**" in line)
    assert "Ben B." in people
    assert "(agent)" not in people


@pytest.mark.parametrize(
    ("claimed", "shown"),
    [
        ("", "Anna through runbooks-agent (agent)"),
        ("x" * 500, f"Anna through {'x' * 100} (agent)"),
        ("a\u00adb", "Anna through ab (agent)"),
        ("<b>Ben</b>", "Anna through <b>Ben</b> (agent)"),
    ],
)
def test_what_an_agent_calls_itself_is_short_and_printable(agent, claimed, shown):
    assert agent("/me", headers={"Runbooks-Agent": claimed}).json["name"] == shown


def test_an_agents_token_is_no_sign_in_of_its_human(agent, service, sign_in_as, provider, human, held):
    incident = sign_in_as("responder").post("/api/v1/incidents", {"title": "x"}).json["id"]
    before = held()
    note = agent(f"/incidents/{incident}/notes", {"text": "seen"})
    assert (note.status_code, note.json["by"]) == (201, "Anna through claude-code (agent)")
    assert "person.signed_in" not in held().since(before)
    with reading(service.engine) as tx:
        kept = tx.execute("SELECT name, roles FROM people WHERE subject = :s", s=f"{provider.url}#{human}").one()
    assert tuple(kept) == ("Anna", [])
    sign_in_as("responder", "approver:database", subject=f"{provider.url}#{human}", name="Anna P.")
    assert agent(f"/incidents/{incident}/notes", {"text": "seen again"}).status_code == 201
    with reading(service.engine) as tx:
        kept = tx.execute("SELECT name, roles FROM people WHERE subject = :s", s=f"{provider.url}#{human}").one()
    assert tuple(kept) == ("Anna P.", ["approver:database", "responder"])


def test_roles_that_its_human_has_lost_the_agent_has_lost(agent, sign_in_as, provider, human):
    sign_in_as("viewer", subject=f"{provider.url}#{human}")
    older = {"iat": int(time.time()) - 60}
    assert agent("/runs", {"runbook": "disk-full"}, claims=older).status_code == 403


@pytest.fixture
def finished(service):
    """`finished(run_id)` has a worker diagnose the run: it finds nothing."""

    def finish(run_id):
        claim = diagnosing.claim_run(service, run_id, "w1")
        said, now = diagnosing.Said(), datetime.now(UTC)
        told = [CellTold(cell.id, CellState.OK, now, now, execution_count=1) for cell in claim.cells]
        record_cells(service, claim, told, said)
        diagnosing.finish_run(service, claim, said, "")

    return finish


@pytest.fixture
def waiting(diagnosed, sign_in_as, agent):
    """A proposal that waits, of medium risk, which somebody else asked for, as the agent sees it."""
    run_id, proposal_id = diagnosed(sign_in_as("responder").person)
    told = agent(f"/proposals/{proposal_id}").json
    assert told["state"] == "proposed"
    assert told["why_not"] == "Agents ask and propose; a person has to decide."
    return run_id, told


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/proposals/{id}/decisions", {"verdict": "approve", "digest": "{digest}"}),
        ("/proposals/{id}/decisions", {"verdict": "deny", "digest": "{digest}"}),
        ("/proposals/{id}/sponsor", {}),
        ("/proposals/{id}/withdraw", {}),
        ("/runs/{run}/cancel", {}),
        ("/incidents", {"title": "{id}"}),
        ("/incidents/{incident}/close", {"cause": "{id}"}),
        ("/incidents/{other}/runs", {"run": "{run}"}),
    ],
)
def test_no_road_of_the_api_lets_an_agent_decide_stop_or_manage(agent, waiting, held, sign_in_as, path, body):
    run_id, proposal = waiting
    there = {**proposal, "run": run_id, "incident": agent(f"/runs/{run_id}").json["incident"]}
    there["other"] = sign_in_as("responder").post("/api/v1/incidents", {"title": "another"}).json["id"]
    body = {name: value.format(**there) for name, value in body.items()}
    path, before = path.format(**there), held()
    for headers in ({}, {"Runbooks-Agent": ""}, {"Runbooks-Agent": "Anna"}):
        told = agent(path, body, headers=headers)
        assert told.status_code == 403, told.text
    assert agent(f"/proposals/{proposal['id']}").json["state"] == "proposed"
    assert set(held().since(before)) == {"access.refused"}


def test_whatever_there_is_an_agent_is_let_in_by_the_few_things_that_agents_may(agent, app, client):
    """Every route of the URL map and every method: none that a later issue adds is forgotten."""
    refused = set()
    for rule in app.url_map.iter_rules():
        declared = guards.declaration(app.view_functions[rule.endpoint])
        address = re.sub(r"<[^>]+>", "aaaaaaaaaaaaaaaa", re.sub(r"<int:[^>]+>", "999999999", rule.rule))
        for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "PATCH", "DELETE"}):
            if not isinstance(declared, tuple):
                continue
            if not address.startswith("/api/v1/"):
                headers = {"Authorization": f"Bearer {agent.token()}"}
                assert client.open(address, method=method, headers=headers).status_code in {303, 401, 403}, address
                continue
            (permission,) = declared
            told = agent(address.removeprefix("/api/v1"), {} if method != "GET" else None, method=method)
            if permission is not None and permission not in AGENTS_MAY:
                assert told.status_code == 403, f"{method} {address}"
                refused.add(permission)
    assert refused >= {Permission.DECIDE, Permission.MANAGE, Permission.SPONSOR, Permission.AUDIT}


def test_an_agents_token_opens_no_page_and_stands_beside_no_session(agent, client, sign_in_as, waiting, held):
    _, proposal = waiting
    ben = sign_in_as("approver:database")
    client.set_cookie("runbooks", ben.cookie)
    before = held()
    told = agent(
        f"/proposals/{proposal['id']}/decisions",
        {"verdict": "approve", "digest": proposal["digest"]},
        headers={"X-CSRF-Token": ben.csrf, "Origin": "http://127.0.0.1:8080"},
    )
    assert (told.status_code, told.json["error"]["code"]) == (400, "invalid_request")
    assert held() == before


def test_whoever_an_agent_acts_for_cannot_approve_what_it_asked_for(
    agent, diagnosed, sign_in_as, provider, human, waiting
):
    run_id, _ = waiting
    subject = f"{provider.url}#{human}"
    made = agent(f"/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, "reason": "it blocks"})
    assert made.status_code == 201, made.text
    assert subject in made.json["requesters"]
    anna = sign_in_as("approver:database", subject=subject)
    told = anna.post(
        f"/api/v1/proposals/{made.json['id']}/decisions", {"verdict": "approve", "digest": made.json["digest"]}
    )
    assert told.status_code == 403
    assert "You asked for this; somebody else has to decide." in told.json["error"]["message"]


def test_what_an_agent_asks_for_that_nobody_stands_behind_needs_a_sponsor(agent, sign_in_as, finished, provider, entry):
    alone = {"sub": AGENT, "name": None}
    made = agent("/runs", {"runbook": "disk-full"}, claims=alone).json
    assert made["requested_by"]["name"] == "claude-code (agent)"
    assert entry("run.requested").body["requesters"] == []
    finished(made["id"])
    by_hand = {"gate": "end-session", "inputs": {"pid": 7}, "reason": "it blocks"}
    proposal = agent(f"/runs/{made['id']}/proposals", by_hand, claims=alone).json
    assert proposal["requesters"] == []
    why = sign_in_as("approver:database").get(f"/api/v1/proposals/{proposal['id']}").json["why_not"]
    assert "somebody has to sponsor it first" in why
    assert agent(f"/proposals/{proposal['id']}/sponsor", {}, claims=alone).status_code == 403
    assert agent(f"/proposals/{proposal['id']}/withdraw", {}, claims=alone).status_code == 403


def test_an_agent_that_nobody_stands_behind_borrows_nobodys_run(agent, diagnosed, sign_in_as, held):
    ben = sign_in_as("responder", "approver:database")
    run_id, _ = diagnosed(ben.person)
    before = held()
    told = agent("/runs", {"runbook": "disk-full", "rerun_of": run_id}, claims={"sub": AGENT, "name": None})
    assert (told.status_code, told.json["error"]["code"]) == (403, "refused")
    assert "No human stands behind claude-code (agent)" in told.json["error"]["message"]
    assert (held().tables, held().since(before)) == (before.tables, ["access.refused"])


def test_what_an_agent_alone_proposes_from_somebodys_run_needs_a_sponsor(agent, diagnosed, sign_in_as, service):
    anna, ben = sign_in_as("responder"), sign_in_as("approver:database")
    run_id, _ = diagnosed(anna.person)
    by_hand = {"gate": "end-session", "inputs": {"pid": 7}, "reason": "it blocks"}
    made = agent(f"/runs/{run_id}/proposals", by_hand, claims={"sub": AGENT, "name": None}).json
    assert made["requesters"] == [anna.person.subject]
    verdict = {"verdict": "approve", "digest": made["digest"]}
    refused = ben.post(f"/api/v1/proposals/{made['id']}/decisions", verdict)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "refused")
    assert "somebody has to sponsor it first" in refused.json["error"]["message"]
    with reading(service.engine) as tx:
        assert made["id"] not in [one.id for one, _ in proposals.waiting_for(tx, ben.person.subject, ["database"], 500)]
    assert sign_in_as("responder").post(f"/api/v1/proposals/{made['id']}/sponsor").status_code == 200
    wanting = ben.post(f"/api/v1/proposals/{made['id']}/decisions", verdict)
    assert wanting.json["error"]["code"] == "signed_decision_required"  # nothing else is missing any more
    with reading(service.engine) as tx:
        assert made["id"] in [one.id for one, _ in proposals.waiting_for(tx, ben.person.subject, ["database"], 500)]


def test_an_agent_that_nobody_stands_behind_stops_its_own_run_and_no_other(agent, sign_in_as, diagnosed):
    alone = {"sub": AGENT, "name": None}
    made = agent("/runs", {"runbook": "disk-full"}, claims=alone).json
    assert agent(f"/runs/{made['id']}/cancel", {}, claims=alone).json["state"] == "cancelled"
    other = sign_in_as("responder").post("/api/v1/runs", {"runbook": "disk-full"}).json
    assert agent(f"/runs/{other['id']}/cancel", {}, claims=alone).status_code == 403


@pytest.mark.parametrize("claim", CLIENT_CLAIMS)
def test_only_the_agents_client_needs_no_person_behind_it(agent, claim):
    told = agent("/me", claims={"client_id": None, "sub": "batch", claim: "batch"})
    assert (told.status_code, "for a program" in told.json["error"]["message"]) == (401, True)


@pytest.mark.parametrize("client_id", ["runbooks", "runbooks-cli"])
def test_a_service_whose_agents_have_peoples_client_does_not_start(client_id):
    with pytest.raises(Misconfigured, match="RUNBOOKS_AGENT_CLIENT_ID"):
        read_settings({"RUNBOOKS_AGENT_CLIENT_ID": client_id})


def test_where_tokens_are_had_names_the_agents_client(client):
    assert client.get("/.well-known/oauth-protected-resource").json["runbooks_agent_client_id"] == AGENT


def test_a_key_that_a_person_sent_is_not_their_agents_too(agent, entry, human, sign_in_as):
    themselves = {"client_id": "runbooks-cli"}
    incident = sign_in_as("responder").post("/api/v1/incidents", {"title": "x"}).json["id"]
    sent = {
        "body": {"text": f"Noted by {human}"},
        "headers": {"Idempotency-Key": f"key of {human}".replace(" ", "-")},
    }
    assert agent(f"/incidents/{incident}/notes", **sent, claims=themselves).status_code == 201
    told = agent(f"/incidents/{incident}/notes", **sent)
    assert (told.status_code, told.json["error"]["code"]) == (422, "idempotency_key_reused")
    assert entry("note.added").actor["kind"] == "person"
