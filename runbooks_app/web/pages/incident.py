"""`/incidents`: incidents, their timelines, notes, and the postmortem that leaves the service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import incidents as actions
from runbooks_app.core.errors import Problem
from runbooks_app.core.people import Permission
from runbooks_app.documents import postmortem
from runbooks_app.store import incidents
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.errors import beside_the_form, or_the_form
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages import incident_view

blueprint = Blueprint("incident", __name__)

MOST_OFFERED = 50
"""Runs of other incidents that the page offers to attach."""

PAGE = 50
"""Closed incidents on a page of the list."""
MOST_OPEN = 200

_FORMS = {
    "ipynb": (postmortem.as_notebook_text, "application/x-ipynb+json"),
    "html": (postmortem.as_html, "text/html; charset=utf-8"),
    "md": (postmortem.as_markdown, "text/markdown; charset=utf-8"),
}


@blueprint.get("/incidents")
@guard(Permission.READ)
def every() -> str:
    """List incidents, the open ones first, then the closed ones a page at a time; by words."""
    return _list()


@blueprint.post("/incidents")
@guard(Permission.MANAGE)
def open_one() -> Response:
    """Open an incident before anything has run."""
    title = request.form.get("title", "")
    return _done(
        lambda: actions.open_incident(service(), g.person, signed_in(), title).id,
        lambda problems: _list(title, problems),
    )


@blueprint.get("/incidents/<int:incident_id>")
@guard(Permission.READ)
def show(incident_id: int) -> str:
    """Show what happened, in order, and how long it took."""
    return _page(incident_id)


@blueprint.post("/incidents/<int:incident_id>/notes")
@guard(Permission.NOTE)
def note(incident_id: int) -> Response:
    """Put a note on the timeline."""
    text = request.form.get("text", "").replace("\r\n", "\n")
    return _done(
        lambda: actions.add_note(service(), g.person, signed_in(), incident_id, text).incident_id,
        lambda problems: _page(incident_id, note=text, problems=problems),
    )


@blueprint.post("/incidents/<int:incident_id>/close")
@guard(Permission.MANAGE)
def close(incident_id: int) -> Response:
    """Close the incident with its cause."""
    cause = request.form.get("cause", "").replace("\r\n", "\n")
    return _done(
        lambda: actions.close_incident(service(), g.person, signed_in(), incident_id, cause).id,
        lambda problems: _page(incident_id, cause=cause, problems=problems),
    )


@blueprint.post("/incidents/<int:incident_id>/runs")
@guard(Permission.MANAGE)
def attach(incident_id: int) -> Response:
    """Make a run of another incident part of this one."""
    run_id = request.form.get("run", "")
    return _done(
        lambda: actions.attach_run(service(), g.person, signed_in(), run_id, incident_id).id,
        lambda problems: _page(incident_id, problems=problems),
    )


@blueprint.post("/incidents/<int:incident_id>/postmortem")
@guard(Permission.EXPORT)
def export(incident_id: int) -> Response:
    """Answer with the postmortem as a file. That it left is entered in the trail, so this is no GET."""
    kind = request.form.get("kind", "")
    story = actions.export_postmortem(service(), g.person, signed_in(), incident_id, kind)
    write, content_type = _FORMS[kind]
    response = Response(write(story), content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="incident-{incident_id}.{kind}"'
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return response


def _page(incident_id: int, *, note: str = "", cause: str = "", problems: tuple[Problem, ...] = ()) -> str:
    seen = incident_view.looks(incident_id).now(afresh=True).view
    with reading(service().engine) as tx:
        view = replace(seen, now=tx.now)
        others = [] if view.at_rest else incidents.runs_of_others(tx, incident_id, MOST_OFFERED)
    fields = {"text"} if seen.story.closed_at else {"text", "cause"}
    return render_template(
        "incident.html",
        view=view,
        story=view.story,
        parts=incident_view.parts(incident_view.Rendered(view), g.person),
        note=note,
        cause=cause,
        others=others,
        errors={problem.where: problem for problem in problems if problem.where in fields},
        refused=bool(problems),
        problems=[problem for problem in problems if problem.where not in fields],
    )


def _list(title: str = "", problems: tuple[Problem, ...] = ()) -> str:
    words, given = request.args.get("q", "").strip()[:200], request.args.get("before", "")
    before = int(given) if given.isascii() and given.isdigit() and len(given) < 18 else None
    with reading(service().engine) as tx:
        found = []
        if before is None:
            found = incidents.search(tx, words=words, closed=False, before=None, limit=MOST_OPEN)
        closed = incidents.search(tx, words=words, closed=True, before=before, limit=PAGE + 1)
    more = {"q": words, "before": closed[PAGE - 1].id} if len(closed) > PAGE else None
    return render_template(
        "incidents.html",
        incidents=[*found, *closed[:PAGE]],
        words=words,
        earlier=urlencode(more) if more else "",
        title=title,
        problems=problems,
    )


def _done(act: Callable[[], int], again: Callable[[tuple[Problem, ...]], str]) -> Response:
    """Act, and go on to the page of the incident that is answered; or show the form again beside what is wrong."""
    return or_the_form(
        lambda: make_response(redirect(url_for("pages.incident.show", incident_id=act()), HTTPStatus.SEE_OTHER)),
        lambda error: again(beside_the_form(error)),
    )
