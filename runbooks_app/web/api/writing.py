"""What people write about an incident: notes, and the postmortem's prose.

Who changes a text says on which version: where somebody was quicker nothing is kept, and it is answered with 409. So a
change that is sent again does nothing again, and wants no key.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import g

from runbooks_app.actions import incidents
from runbooks_app.actions import writing as actions
from runbooks_app.core.errors import Conflict, InvalidInput, NotFound, Refused
from runbooks_app.core.people import Permission
from runbooks_app.core.writing import Section, section
from runbooks_app.store import incidents as incident_rows
from runbooks_app.store import writing
from runbooks_app.store.database import reading
from runbooks_app.store.records import Note
from runbooks_app.web.api import answers, asked
from runbooks_app.web.api.contract import Created, blueprint, once, tells
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in


@blueprint.get("/incidents/<int:incident_id>/notes")
@guard(Permission.READ)
@tells(answers.Notes, query=asked.NotesQuery, problems=(NotFound,))
def list_notes(wanted: asked.NotesQuery, incident_id: int) -> answers.Notes:
    """Notes of an incident and of what became part of it, newest first."""
    with reading(service().engine) as tx:
        incident_rows.get(tx, incident_id)
        found = writing.notes(tx, incident_id, wanted.limit + 1, wanted.before)
    shown = found[: wanted.limit]
    return answers.Notes(
        notes=[answers.Note.of(note) for note in shown], next=shown[-1].id if len(found) > wanted.limit else None
    )


@blueprint.post("/incidents/<int:incident_id>/notes")
@guard(Permission.NOTE)
@tells(answers.Note, body=asked.NewNote, status=HTTPStatus.CREATED, problems=(InvalidInput, NotFound))
def add_note(wanted: asked.NewNote, incident_id: int) -> Created:
    """Put a note on the timeline."""
    about = (service(), g.person, signed_in(), incident_id, wanted.text)
    note = once(lambda key: incidents.add_note(*about, delivery=key), lambda made: _note(incident_id, int(made)))
    return Created(answers.Note.of(note), f"/api/v1/incidents/{incident_id}")


@blueprint.put("/incidents/<int:incident_id>/notes/<int:note_id>")
@guard(Permission.NOTE)
@tells(answers.Note, body=asked.ChangedText, problems=(InvalidInput, NotFound, Conflict, Refused), keyed=False)
def change_note(wanted: asked.ChangedText, incident_id: int, note_id: int) -> answers.Note:
    """Have one's own note say something else; an agent changes only what it wrote itself."""
    actions.edit_note(service(), g.person, signed_in(), incident_id, note_id, wanted.version, wanted.text)
    return answers.Note.of(_note(incident_id, note_id))


@blueprint.get("/incidents/<int:incident_id>/postmortem")
@guard(Permission.READ)
@tells(answers.Postmortem, problems=(NotFound,))
def get_postmortem(incident_id: int) -> answers.Postmortem:
    """The prose of the postmortem, section by section."""
    with reading(service().engine) as tx:
        incident_rows.get(tx, incident_id)
        prose = writing.prose(tx, incident_id)
    return answers.Postmortem(sections=[answers.Prose.of(name, prose.get(name)) for name in Section])


@blueprint.put("/incidents/<int:incident_id>/postmortem/<name>")
@guard(Permission.NOTE)
@tells(answers.Prose, body=asked.ChangedText, problems=(InvalidInput, NotFound, Conflict, Refused), keyed=False)
def write_postmortem(wanted: asked.ChangedText, incident_id: int, name: str) -> answers.Prose:
    """Write a section of the postmortem, which agents do not."""
    which = section(name)
    actions.write_postmortem(service(), g.person, signed_in(), incident_id, which, wanted.version, wanted.text)
    with reading(service().engine) as tx:
        return answers.Prose.of(which, writing.prose(tx, incident_id).get(which))


def _note(incident_id: int, note_id: int) -> Note:
    with reading(service().engine) as tx:
        return writing.note(tx, incident_id, note_id)
