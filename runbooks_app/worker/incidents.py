"""What is told of an incident in its channels, and its postmortem as a file."""

from __future__ import annotations

from runbooks_app.actions.context import Service
from runbooks_app.actions.story import incident_story
from runbooks_app.chat.incidents import IncidentTold, closed_message, incident_message, postmortem_message
from runbooks_app.chat.views import FileTold, Told
from runbooks_app.core.incident import IncidentStory
from runbooks_app.documents import postmortem
from runbooks_app.store.database import Transaction


def told_of_incident(tx: Transaction, service: Service, incident_id: str) -> tuple[Told, ...]:
    """Its one message; once it is closed, who closed it and with which cause, in the thread."""
    told = _told(tx, service, incident_story(tx, service, int(incident_id), outputs=False))
    parts = [Told(f"incident:{incident_id}", incident_message(told))]
    if told.closed and not told.part_of:
        parts.append(Told(f"incident:{incident_id}:closed", closed_message(told)))
    return tuple(parts)


def told_of_postmortem(tx: Transaction, service: Service, incident_id: str) -> tuple[Told, ...]:
    """The postmortem, which somebody who may take it out wanted here: as a file, without restricted evidence."""
    story = incident_story(tx, service, int(incident_id), shared=True)
    told = _told(tx, service, story)
    document = postmortem.as_markdown(story).encode()
    name = f"postmortem-{incident_id}.md"
    return (
        Told(f"postmortem:{incident_id}", postmortem_message(told)),
        Told(f"postmortem:{incident_id}:file", None, FileTold(name, f"Postmortem of incident {incident_id}", document)),
    )


def _told(tx: Transaction, service: Service, story: IncidentStory) -> IncidentTold:
    base = f"{service.settings.public_url}/incidents/"
    return IncidentTold(
        number=int(story.id),
        title=story.title,
        url=base + story.id,
        opened_by=story.opened_by,
        seconds=((story.closed_at or tx.now) - story.opened_at).total_seconds(),
        closed=story.closed_at is not None,
        closed_by=story.closed_by,
        cause=story.cause,
        part_of=base + story.merged_into if story.merged_into else "",
    )
