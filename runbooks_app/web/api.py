"""The JSON API, `/api/v1`: the same actions as the pages, for the person whose access token or session it is.

A program sends an access token (`runbooks_app.web.bearer`). With a session, a request with effect wants its cookie,
the header `X-CSRF-Token` and an `Origin` of this service, as from a page. `GET /api/v1/me` tells that token. Errors
have the one shape of `runbooks_app.web.errors`.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, g, jsonify, make_response

from runbooks_app.actions import connections, deciding, incidents, running, waiting
from runbooks_app.actions.proposing import revision
from runbooks_app.core import audit as trail
from runbooks_app.core.deciding import Unsigned, why_not
from runbooks_app.core.errors import Problem, RunbooksError
from runbooks_app.core.people import Permission
from runbooks_app.documents import postmortem
from runbooks_app.store import audit as audit_entries
from runbooks_app.store import incidents as incident_rows
from runbooks_app.store import people
from runbooks_app.store import proposals as proposal_rows
from runbooks_app.store import runs as run_rows
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import Proposal
from runbooks_app.web import models, shapes
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.models import body, query
from runbooks_app.web.pages.cells import whole_response

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

EXPORTS = {
    "ipynb": ("application/x-ipynb+json", postmortem.as_notebook_text),
    "html": ("text/html; charset=utf-8", postmortem.as_html),
    "md": ("text/markdown; charset=utf-8", postmortem.as_markdown),
}


@blueprint.get("/me")
@guard()
def me() -> Response:
    """Who is signed in and until when; with a session, also the token that its requests with effect carry."""
    person = g.person
    return jsonify(
        subject=person.subject,
        name=person.name,
        roles=sorted(person.roles),
        expires_at=(g.session or g.token).expires_at.isoformat(),
        **({"csrf": g.session.csrf} if g.session else {}),
    )


@blueprint.get("/runbooks")
@guard(Permission.READ)
def list_runbooks() -> Response:
    """All runbooks, and the notebooks that cannot serve as such, with their problems."""
    query(models.NoQuery)
    library = service().library
    broken = [
        {"name": name, "message": error.message, "problems": [str(problem) for problem in error.problems]}
        for name, error in library.broken().items()
    ]
    return jsonify(runbooks=[shapes.runbook(found) for found in library.runbooks().values()], broken=broken)


@blueprint.get("/runbooks/<name>")
@guard(Permission.READ)
def get_runbook(name: str) -> Response:
    """One runbook with the JSON Schema of its parameters."""
    return jsonify(shapes.runbook(service().library.get(name)))


@blueprint.get("/runs")
@guard(Permission.READ)
def list_runs() -> Response:
    """Runs, newest first; `next` is the cursor of the following page, null on the last."""
    asked = query(models.RunsQuery)
    with reading(service().engine) as tx:
        found = run_rows.recent(
            tx, runbook=asked.runbook, incident_id=asked.incident, before=asked.before, limit=asked.limit + 1
        )
        line = waiting.line(tx, service())
    shown = found[: asked.limit]
    return jsonify(runs=[shapes.run(r, line) for r in shown], next=shown[-1].id if len(found) > asked.limit else None)


@blueprint.post("/runs")
@guard(Permission.RUN)
def ask_for_run() -> Response:
    """Ask for a run; answered once it is kept."""
    asked = body(models.NewRun)
    run = running.request_run(
        service(),
        g.person,
        signed_in(),
        asked.runbook,
        asked.parameters,
        incident_id=asked.incident,
        rerun_of=asked.rerun_of,
    )
    assert run is not None  # noqa: S101 -- None stands for a repeated delivery, and there is no delivery here
    # Its place is told by whoever asks next: what is kept is acknowledged without another look that could fail.
    return _created(shapes.run(run, {}), f"/api/v1/runs/{run.id}")


@blueprint.get("/runs/<run_id>")
@guard(Permission.READ)
def get_run(run_id: str) -> Response:
    """One run with cells, findings and proposals; `?outputs=true` for what the cells printed."""
    asked = query(models.RunQuery)
    with reading(service().engine) as tx:
        return jsonify(shapes.whole_run(tx, service(), run_id, outputs=asked.outputs))


@blueprint.get("/runs/<run_id>/cells/<int:attempt_id>/<cell_id>/whole")
@guard(Permission.READ)
def get_whole_text(run_id: str, attempt_id: int, cell_id: str) -> Response:
    """All the text that a cell printed, where the run has only its beginning."""
    query(models.NoQuery)
    return whole_response(run_id, attempt_id, cell_id, download=True)


@blueprint.post("/runs/<run_id>/cancel")
@guard(Permission.READ)
def cancel_run(run_id: str) -> Response:
    """Stop a run; the action knows who may: whoever asked for it, and who may cancel."""
    body(models.Nothing)
    # What is stopped waits no longer, whatever its place was.
    return jsonify(shapes.run(running.cancel_run(service(), g.person, signed_in(), run_id), {}))


@blueprint.post("/runs/<run_id>/proposals")
@guard(Permission.PROPOSE)
def propose(run_id: str) -> Response:
    """Propose a remediation cell by hand."""
    asked = body(models.NewProposal)
    made = deciding.propose_by_hand(service(), g.person, signed_in(), run_id, asked.gate, asked.inputs, asked.reason)
    return _created(shapes.proposal(made), f"/api/v1/proposals/{made.id}")


@blueprint.get("/proposals")
@guard(Permission.READ)
def list_waiting() -> Response:
    """Proposals that wait for a decision, those that expire first at the top."""
    query(models.NoQuery)
    with reading(service().engine) as tx:
        return jsonify(proposals=[shapes.proposal(p) for p in proposal_rows.waiting(tx)])


@blueprint.get("/proposals/<proposal_id>")
@guard(Permission.READ)
def get_proposal(proposal_id: str) -> Response:
    """One proposal, with the cell that would run, who stands behind it, and why whoever asks may not decide, if so."""
    with reading(service().engine) as tx:
        found = proposal_rows.get(tx, proposal_id)
        behind = {subject: people.get(tx, subject) for subject in {*found.requesters, found.sponsor} - {""}}
        return jsonify(
            {
                **shapes.proposal(found),
                "source": _source(tx, found),
                "names": {subject: person.name for subject, person in behind.items() if person},
                "why_not": why_not(found.asked, g.person, tx.now),
            }
        )


@blueprint.post("/proposals/<proposal_id>/sponsor")
@guard(Permission.SPONSOR)
def sponsor(proposal_id: str) -> Response:
    """Answer for a proposal that no human asked for."""
    body(models.Nothing)
    return jsonify(shapes.proposal(deciding.sponsor(service(), g.person, signed_in(), proposal_id)))


@blueprint.post("/proposals/<proposal_id>/decisions")
@guard(Permission.DECIDE)
def decide(proposal_id: str) -> Response:
    """Approve or deny. What wants a signed decision is approved on its page alone: a browser signs in afresh there."""
    asked = body(models.NewDecision)
    about = (service(), g.person, signed_in(), proposal_id)
    try:
        decided = deciding.decide(*about, asked.verdict, asked.digest, asked.reason)
    except Unsigned as unsigned:
        page = f"{service().settings.public_url}/proposals/{proposal_id}"
        problem = Problem("verdict", "wants a signed decision.", f"Approve it at {page}")
        raise Unsigned(unsigned.message, problems=(problem,)) from unsigned
    return jsonify(shapes.proposal(decided))


@blueprint.post("/proposals/<proposal_id>/withdraw")
@guard(Permission.READ)
def withdraw(proposal_id: str) -> Response:
    """Take a proposal back; the action knows who may: whoever asked for it."""
    body(models.Nothing)
    return jsonify(shapes.proposal(deciding.withdraw(service(), g.person, signed_in(), proposal_id)))


@blueprint.get("/connections")
@guard(Permission.READ)
def list_connections() -> Response:
    """The systems that runbooks may reach, what binds approval there, and what the latest test of each proved."""
    query(models.NoQuery)
    with reading(service().engine) as tx:
        found = connections.seen(tx, service().connections)
    return jsonify(connections=[shapes.connection(seen) for seen in found.values()])


@blueprint.get("/incidents")
@guard(Permission.READ)
def list_incidents() -> Response:
    """Incidents, newest first."""
    asked = query(models.IncidentsQuery)
    with reading(service().engine) as tx:
        found = incident_rows.listed(tx, only_open=asked.state == "open", limit=asked.limit)
    return jsonify(incidents=[shapes.incident(i) for i in found])


@blueprint.post("/incidents")
@guard(Permission.NOTE)
def open_incident() -> Response:
    """Open an incident."""
    asked = body(models.NewIncident)
    opened = incidents.open_incident(service(), g.person, signed_in(), asked.title, asked.channel)
    return _created(shapes.incident(opened), f"/api/v1/incidents/{opened.id}")


@blueprint.get("/incidents/<int:incident_id>")
@guard(Permission.READ)
def get_incident(incident_id: int) -> Response:
    """One incident with its runs, proposals and notes."""
    with reading(service().engine) as tx:
        line = waiting.line(tx, service())
        return jsonify(
            {
                **shapes.incident(incident_rows.get(tx, incident_id)),
                "runs": [shapes.run(r, line) for r in run_rows.recent(tx, incident_id=incident_id, limit=200)],
                "proposals": [shapes.proposal(p) for p in proposal_rows.of_incident(tx, incident_id)],
                "notes": [shapes.note(n) for n in incident_rows.notes(tx, incident_id)],
            }
        )


@blueprint.post("/incidents/<int:incident_id>/close")
@guard(Permission.NOTE)
def close_incident(incident_id: int) -> Response:
    """Close an incident with its cause."""
    asked = body(models.Closing)
    closed = incidents.close_incident(service(), g.person, signed_in(), incident_id, asked.cause)
    return jsonify(shapes.incident(closed))


@blueprint.post("/incidents/<int:incident_id>/notes")
@guard(Permission.NOTE)
def add_note(incident_id: int) -> Response:
    """Put a note on the timeline."""
    asked = body(models.NewNote)
    note = incidents.add_note(service(), g.person, signed_in(), incident_id, asked.text)
    return _created(shapes.note(note), f"/api/v1/incidents/{incident_id}")


@blueprint.post("/incidents/<int:incident_id>/exports")
@guard(Permission.EXPORT)
def export(incident_id: int) -> Response:
    """Take the postmortem out; that it left is entered, hence no GET."""
    kind = body(models.NewExport).kind
    story = incidents.export_postmortem(service(), g.person, signed_in(), incident_id, kind)
    content_type, write = EXPORTS[kind]
    response = Response(write(story), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="postmortem-{incident_id}.{kind}"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


@blueprint.get("/audit")
@guard(Permission.AUDIT)
def search_audit() -> Response:
    """Entries of the trail, newest first; `next` is the cursor of the following page."""
    asked = query(models.AuditQuery)
    with reading(service().engine) as tx:
        found = audit_entries.search(tx, event=asked.event, words=asked.words, before=asked.before, limit=asked.limit)
    last = found[-1].seq if len(found) == asked.limit else None
    return jsonify(entries=[entry.as_json() for entry in found], next=last)


@blueprint.get("/audit/<int:seq>")
@guard(Permission.AUDIT)
def get_entry(seq: int) -> Response:
    """One entry, with the envelope that its hash covers."""
    with reading(service().engine) as tx:
        entry = audit_entries.get(tx, seq)
    return jsonify({**entry.as_json(), "envelope": entry.envelope().decode()})


@blueprint.get("/audit/head")
@guard(Permission.AUDIT)
def get_head() -> Response:
    """Where the trail ends now: to be kept elsewhere, and compared later."""
    with reading(service().engine) as tx:
        seq, digest = audit_entries.head(tx)
    return jsonify(seq=seq, hash=digest)


@blueprint.get("/audit/verification")
@guard(Permission.AUDIT)
def verify() -> Response:
    """Verify the whole trail against its head."""
    with reading(service().engine) as tx:
        verdict = trail.verify(audit_entries.entries(tx), audit_entries.head(tx))
    return jsonify(
        ok=verdict.ok,
        entries=verdict.entries,
        head=verdict.head,
        broken_at=verdict.broken_at,
        reason=verdict.reason,
    )


def _source(tx: Transaction, proposal: Proposal) -> str | None:
    """The cell that the proposal would run; None where it can no longer be read, and so can only be denied."""
    try:
        section = revision(tx, service(), run_rows.get(tx, proposal.run_id).revision).section(proposal.gate)
    except RunbooksError:
        return None
    return section.cell.source if section else None


def _created(told: dict[str, object], where: str) -> Response:
    response = make_response(jsonify(told), HTTPStatus.CREATED)
    response.headers["Location"] = where
    return response
