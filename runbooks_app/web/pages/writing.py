"""Pages of a note and of a postmortem: what people wrote, what it said before, and the forms that change it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from runbooks_app.actions import writing as actions
from runbooks_app.core.errors import InvalidInput, RunbooksError, Unavailable
from runbooks_app.core.people import Permission
from runbooks_app.core.writing import LONGEST_NOTE, LONGEST_SECTION, Clash, Section, section
from runbooks_app.documents import markdown
from runbooks_app.store import incidents, writing
from runbooks_app.store.database import reading
from runbooks_app.store.writing import Version
from runbooks_app.web.context import service
from runbooks_app.web.errors import status_of
from runbooks_app.web.guards import guard, signed_in

blueprint = Blueprint("writing", __name__)

MOST_BEFORE = 20
"""Earlier versions of a text that its page shows; the trail has them all."""


@blueprint.get("/incidents/<int:incident_id>/notes/<int:note_id>")
@guard(Permission.READ)
def note(incident_id: int, note_id: int) -> str:
    """Show a note, what it said before, and the form to who wrote it."""
    return _note(incident_id, note_id)


@blueprint.post("/incidents/<int:incident_id>/notes/<int:note_id>")
@guard(Permission.NOTE)
def edit_note(incident_id: int, note_id: int) -> Response:
    """Have one's own note say something else."""
    mine = _typed()
    try:
        actions.edit_note(service(), g.person, signed_in(), incident_id, note_id, mine.version, mine.text)
    except (Clash, InvalidInput, Unavailable) as error:
        return make_response(_note(incident_id, note_id, mine, error), status_of(error))
    shown = url_for("pages.incident.show", incident_id=incident_id, _anchor=f"note-{note_id}")
    return make_response(redirect(shown, HTTPStatus.SEE_OTHER))


@blueprint.get("/incidents/<int:incident_id>/postmortem")
@guard(Permission.READ)
def postmortem(incident_id: int) -> str:
    """Show the postmortem's prose, section by section, each with its field."""
    return _postmortem(incident_id, {})[0]


@blueprint.post("/incidents/<int:incident_id>/postmortem/<name>")
@guard(Permission.NOTE)
def write(incident_id: int, name: str) -> Response:
    """Write one section. What was typed in the others came along, and stands in the page that comes back."""
    which = section(name)
    typed = {each: _typed(f"-{each}") for each in Section if f"text-{each}" in request.form}
    mine = typed.pop(which, _typed(f"-{which}"))
    try:
        actions.write_postmortem(service(), g.person, signed_in(), incident_id, which, mine.version, mine.text)
    except (Clash, InvalidInput, Unavailable) as error:
        page, _ = _postmortem(incident_id, typed, Refusal(which, mine, error))
        return make_response(page, status_of(error))
    page, unsaved = _postmortem(incident_id, typed)
    if unsaved:
        return make_response(page)
    shown = url_for("pages.writing.postmortem", incident_id=incident_id, _anchor=which)
    return make_response(redirect(shown, HTTPStatus.SEE_OTHER))


@dataclass(frozen=True)
class Typed:
    """A text as a form was sent it, and the version that the form was made from."""

    text: str
    version: int

    def after(self, error: RunbooksError | None, stands: int) -> Typed:
        """As the form comes back: once somebody was shown what they clashed with, they go on from that."""
        return replace(self, version=stands) if isinstance(error, Clash) else self

    def is_new(self, stands: Version | None, before: list[Version]) -> bool:
        """Whether it says anything but what it said in its version, or says now."""
        text = self.text.replace("\r\n", "\n").strip()
        said = {one.version: one.text for one in (*before, *([stands] if stands else []))}
        return text not in {said.get(self.version, ""), stands.text if stands else ""}


@dataclass(frozen=True)
class Refusal:
    """What a section was sent and could not take."""

    section: Section
    typed: Typed
    error: RunbooksError


def _typed(mark: str = "") -> Typed:
    """A text and its version; what is no number fits none."""
    given = request.form.get(f"version{mark}", "")
    version = int(given) if given.isascii() and given.isdigit() and len(given) < 9 else -1
    return Typed(request.form.get(f"text{mark}", ""), version)


def _told(error: RunbooksError | None) -> str:
    """What is wrong with a text, for beside its field."""
    if error is None or isinstance(error, Clash):
        return ""
    return " ".join(f"It {problem.message} {problem.fix}".strip() for problem in error.problems) or error.message


def _note(incident_id: int, note_id: int, mine: Typed | None = None, error: RunbooksError | None = None) -> str:
    with reading(service().engine) as tx:
        incident = incidents.get(tx, incident_id)
        found = writing.note(tx, incident_id, note_id)
        before = writing.said_before(tx, note_id, MOST_BEFORE)
    return render_template(
        "note.html",
        incident=incident,
        note=found,
        before=before,
        own=found.subject == g.person.subject and not found.source,
        mine=mine.after(error, found.version) if mine else Typed(found.text, found.version),
        clash=isinstance(error, Clash),
        error=_told(error),
        longest=LONGEST_NOTE,
    )


def _postmortem(
    incident_id: int, typed: dict[Section, Typed], refusal: Refusal | None = None
) -> tuple[str, dict[Section, Typed]]:
    """The page, and what of `typed` is not saved: it stands in its section's field."""
    with reading(service().engine) as tx:
        incident = incidents.get(tx, incident_id)
        prose = writing.prose(tx, incident_id)
        before = {name: writing.prose_before(tx, incident_id, name, MOST_BEFORE) for name in prose}
    unsaved = {name: one for name, one in typed.items() if one.is_new(prose.get(name), before.get(name, []))}
    fields = dict.fromkeys(Section, Typed("", 0)) | unsaved
    fields |= {Section(name): Typed(one.text, one.version) for name, one in prose.items() if name not in unsaved}
    if refusal:
        stands = prose.get(refusal.section)
        fields[refusal.section] = refusal.typed.after(refusal.error, stands.version if stands else 0)
    page = render_template(
        "postmortem.html",
        incident=incident,
        sections=[(name, prose.get(name), before.get(name, [])) for name in Section],
        shown={name: markdown.render(written.text, deeper=2) for name, written in prose.items() if written.text},
        fields=fields,
        unsaved=unsaved,
        tried=refusal.section if refusal else None,
        clash=refusal is not None and isinstance(refusal.error, Clash),
        error=_told(refusal.error if refusal else None),
        longest=LONGEST_SECTION,
    )
    return page, unsaved
