"""`/incidents`: incidents, their timelines, notes, and the postmortem that leaves the service."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlencode

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import incidents as actions
from runbooks_app.actions.story import incident_story
from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.core.incident import ChannelStory, durations
from runbooks_app.core.people import Permission
from runbooks_app.core.proposal import ProposalState
from runbooks_app.documents import postmortem
from runbooks_app.store import incidents, proposals
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in
from runbooks_app.web.pages.now import waits_for

blueprint = Blueprint("incident", __name__)

MOST_OFFERED = 50
"""Runs of other incidents that the page offers to attach."""

_FORMS = {
    "ipynb": (postmortem.as_notebook_text, "application/x-ipynb+json"),
    "html": (postmortem.as_html, "text/html; charset=utf-8"),
    "md": (postmortem.as_markdown, "text/markdown; charset=utf-8"),
}


@blueprint.get("/incidents")
@guard(Permission.READ)
def every() -> str:
    """List incidents, the open ones first."""
    return _list()


@blueprint.post("/incidents")
@guard(Permission.NOTE)
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
@guard(Permission.NOTE)
def close(incident_id: int) -> Response:
    """Close the incident with its cause."""
    cause = request.form.get("cause", "").replace("\r\n", "\n")
    return _done(
        lambda: actions.close_incident(service(), g.person, signed_in(), incident_id, cause).id,
        lambda problems: _page(incident_id, cause=cause, problems=problems),
    )


@blueprint.post("/incidents/<int:incident_id>/runs")
@guard(Permission.NOTE)
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
    with reading(service().engine) as tx:
        story = incident_story(tx, service(), incident_id)
        found = proposals.of_incident(tx, incident_id)
        mine = sum(one.state is ProposalState.PROPOSED and waits_for(one, g.person, tx.now) for one in found)
        others = [] if story.closed_at else incidents.runs_of_others(tx, incident_id, MOST_OFFERED)
    return render_template(
        "incident.html",
        story=story,
        mine=mine,
        took=durations(story),
        note=note,
        cause=cause,
        others=others,
        channel_url=_channel_url,
        errors={problem.where: problem.message for problem in problems},
    )


def _channel_url(channel: ChannelStory) -> str:
    """Where Slack opens a channel: in the person's own app or browser. Empty where that is not known."""
    team = service().settings.slack_team
    if not team or not channel.has_id:
        return ""
    return f"https://slack.com/app_redirect?{urlencode({'team': team, 'channel': channel.id})}"


def _list(title: str = "", problems: tuple[Problem, ...] = ()) -> str:
    with reading(service().engine) as tx:
        found = incidents.listed(tx, only_open=False, limit=200)
    found.sort(key=lambda incident: incident.closed_at is not None)
    return render_template("incidents.html", incidents=found, title=title, problems=problems)


def _done(act: Callable[[], int], again: Callable[[tuple[Problem, ...]], str]) -> Response:
    """Act, and go on to the page of the incident that is answered; or show the form again beside what is wrong."""
    try:
        incident_id = act()
    except InvalidInput as error:
        return make_response(again(error.problems), HTTPStatus.UNPROCESSABLE_ENTITY)
    return make_response(redirect(url_for("pages.incident.show", incident_id=incident_id), HTTPStatus.SEE_OTHER))
