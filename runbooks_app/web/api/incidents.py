"""Incidents: opened, read, noted, closed, taken out as a postmortem."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, g

from runbooks_app.actions import incidents, waiting
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Refused
from runbooks_app.core.people import Permission
from runbooks_app.documents import postmortem
from runbooks_app.store import asks as ask_rows
from runbooks_app.store import incidents as incident_rows
from runbooks_app.store import proposals as proposal_rows
from runbooks_app.store import runs as run_rows
from runbooks_app.store import writing
from runbooks_app.store.database import reading
from runbooks_app.store.records import Incident
from runbooks_app.web.api import answers, asked
from runbooks_app.web.api.answers.incidents import incident_fields
from runbooks_app.web.api.contract import Created, blueprint, once, tells
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in

EXPORTS = {
    "ipynb": ("application/x-ipynb+json", postmortem.as_notebook_text),
    "html": ("text/html; charset=utf-8", postmortem.as_html),
    "md": ("text/markdown; charset=utf-8", postmortem.as_markdown),
}

MOST_SHOWN = 200
"""Of what an incident has many of, so many come with it, the latest. The rest is read by a cursor; that of its
proposals with their runs."""


@blueprint.get("/incidents")
@guard(Permission.READ)
@tells(answers.Incidents, query=asked.IncidentsQuery)
def list_incidents(wanted: asked.IncidentsQuery) -> answers.Incidents:
    """Incidents, newest first."""
    with reading(service().engine) as tx:
        found = incident_rows.listed(tx, only_open=wanted.state == "open", before=wanted.before, limit=wanted.limit + 1)
    shown = found[: wanted.limit]
    return answers.Incidents(
        incidents=[answers.Incident.of(incident) for incident in shown],
        next=shown[-1].id if len(found) > wanted.limit else None,
    )


@blueprint.post("/incidents")
@guard(Permission.MANAGE)
@tells(answers.Incident, body=asked.NewIncident, status=HTTPStatus.CREATED, problems=(InvalidInput,))
def open_incident(wanted: asked.NewIncident) -> Created:
    """Open an incident."""
    about = (service(), g.person, signed_in(), wanted.title, wanted.channel)
    opened = once(lambda key: incidents.open_incident(*about, delivery=key), lambda made: _incident(int(made)))
    return Created(answers.Incident.of(opened), f"/api/v1/incidents/{opened.id}")


@blueprint.get("/incidents/<int:incident_id>")
@guard(Permission.READ)
@tells(answers.WholeIncident, problems=(NotFound,))
def get_incident(incident_id: int) -> answers.WholeIncident:
    """One incident with its latest 200 runs, asks, proposals and notes."""
    with reading(service().engine) as tx:
        line = waiting.line(tx, service())
        return answers.WholeIncident(
            **incident_fields(incident_rows.get(tx, incident_id)),
            runs=[answers.Run.of(r, line) for r in run_rows.recent(tx, incident_id=incident_id, limit=MOST_SHOWN)],
            asks=[answers.AskedRun.of_asked(a, line) for a in ask_rows.of_incident(tx, incident_id, MOST_SHOWN)],
            proposals=[answers.Proposal.of(p) for p in proposal_rows.of_incident(tx, incident_id, MOST_SHOWN)],
            notes=[answers.Note.of(n) for n in reversed(writing.notes(tx, incident_id, MOST_SHOWN))],
        )


@blueprint.post("/incidents/<int:incident_id>/close")
@guard(Permission.MANAGE)
@tells(answers.Incident, body=asked.Closing, problems=(InvalidInput, NotFound, Conflict))
def close_incident(wanted: asked.Closing, incident_id: int) -> answers.Incident:
    """Close an incident with its cause."""
    about = (service(), g.person, signed_in(), incident_id, wanted.cause)
    closed = once(lambda key: incidents.close_incident(*about, delivery=key), lambda _: _incident(incident_id))
    return answers.Incident.of(closed)


@blueprint.post("/incidents/<int:incident_id>/runs")
@guard(Permission.MANAGE)
@tells(answers.Incident, body=asked.Attaching, problems=(NotFound, Conflict, Refused))
def attach_run(wanted: asked.Attaching, incident_id: int) -> answers.Incident:
    """Have a run belong to this open incident."""
    about = (service(), g.person, signed_in(), wanted.run, incident_id)
    attached = once(lambda key: incidents.attach_run(*about, delivery=key), lambda _: _incident(incident_id))
    return answers.Incident.of(attached)


@blueprint.post("/incidents/<int:incident_id>/exports")
@guard(Permission.EXPORT)
@tells(body=asked.NewExport, media=tuple(kind for kind, _ in EXPORTS.values()), problems=(NotFound,), keyed=False)
def export(wanted: asked.NewExport, incident_id: int) -> Response:
    """Take the postmortem out; that it left is entered, hence no GET.

    It changes nothing else, so it may be sent again, and takes no `Idempotency-Key`: each export is entered.
    """
    kind = wanted.kind
    story = incidents.export_postmortem(service(), g.person, signed_in(), incident_id, kind)
    content_type, write = EXPORTS[kind]
    response = Response(write(story), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="postmortem-{incident_id}.{kind}"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _incident(incident_id: int) -> Incident:
    with reading(service().engine) as tx:
        return incident_rows.get(tx, incident_id)
