"""What an incident's page tells, and its parts as HTML: the page and its live stream send the same parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from urllib.parse import urlencode

from flask import get_template_attribute
from markupsafe import Markup

from runbooks_app.actions.story import incident_story
from runbooks_app.core.incident import ChannelStory, IncidentStory, Told
from runbooks_app.core.incident_steps import Durations, durations
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.proposal import ProposalState
from runbooks_app.store import audit, incidents, proposals
from runbooks_app.store.database import Transaction, reading
from runbooks_app.store.records import Proposal
from runbooks_app.web import live
from runbooks_app.web.context import service
from runbooks_app.web.looks import Looks
from runbooks_app.web.pages.elements import Elements
from runbooks_app.web.pages.now_view import waits_for


@dataclass(frozen=True)
class IncidentView:
    """An incident at `now`, whoever looks; while `mark` is the same, so is what is told of it."""

    mark: tuple[object, ...]
    now: datetime
    story: IncidentStory
    items: list[tuple[str, Told]]
    took: Durations
    proposals: list[Proposal]

    @property
    def at_rest(self) -> bool:
        """Whether the page need not be live any more."""
        return self.story.closed_at is not None

    @property
    def page_title(self) -> str:
        """What the browser's tab says."""
        return f"{'✓' if self.at_rest else '●'} #{self.story.id} {self.story.title}"

    def lines(self, own: frozenset[str], *, may_audit: bool) -> Iterator[Markup]:
        """The timeline for whoever wrote these notes and may see the trail, or not."""
        edited = {note.id: note.edited_by for note in self.story.notes if note.edited_by}
        day: date | None = None
        for anchor, item in self.items:
            before, day = day, item.at.astimezone(UTC).date()
            begun = f"{day:%d %b %Y}" if day != before else ""
            yield _line(
                self.story.id, anchor, item, begun, edited.get(item.note_id, ""), item.note_id in own, may_audit
            )

    def url_of(self, channel: ChannelStory) -> str:
        """Where Slack opens a channel: in the person's own app or browser. Empty where that is not known."""
        team = service().settings.slack_team
        if not team or not channel.has_id:
            return ""
        return f"https://slack.com/app_redirect?{urlencode({'team': team, 'channel': channel.id})}"


@lru_cache(maxsize=2_000)
def _line(incident: str, anchor: str, item: Told, day: str, edited_by: str, own: bool, may_audit: bool) -> Markup:
    """One line of a timeline. What happened stays as it is, and a long incident is looked at again and again."""
    line = get_template_attribute("parts/incident.html", "line")
    return Markup(line(incident, anchor, item, day, edited_by, own, may_audit))  # noqa: S704 -- macros escape


class Rendered(Elements):
    """The parts of one look, each made once for all who are shown the same."""

    def __init__(self, view: IncidentView) -> None:
        super().__init__("parts/incident.html", view)
        self.view = view


def looks(incident_id: int) -> Looks[Rendered]:
    """The looks at an incident, for all who open or watch its page. Looking raises `NotFound` if there is none."""
    return live.looks(f"incident:{incident_id}", lambda before: _look(incident_id, before), live.KEPT)


def _look(incident_id: int, before: Rendered | None) -> Rendered:
    """The incident as it stands; `before` again where nothing happened since."""
    with reading(service().engine) as tx:
        mark = (audit.last_of_incident(tx, incident_id), *incidents.unentered(tx, incident_id))
        if before is not None and before.view.mark == mark:
            return before
        return Rendered(_read(tx, incident_id, mark))


def _read(tx: Transaction, incident_id: int, mark: tuple[object, ...]) -> IncidentView:
    story = incident_story(tx, service(), incident_id, outputs=False)
    return IncidentView(
        mark=mark,
        now=tx.now,
        story=story,
        items=list(zip(anchors(story.items), story.items, strict=True)),
        took=durations(story),
        proposals=proposals.of_incident(tx, incident_id),
    )


def parts(rendered: Rendered, person: Person) -> dict[str, Markup]:
    """The page's parts that change, by their ids."""
    view = rendered.view
    mine = sum(p.state is ProposalState.PROPOSED and waits_for(p, person, view.now) for p in view.proposals)
    own = frozenset(note.id for note in view.story.notes if note.writer == person.subject)
    may = [person.may(permission) for permission in (Permission.RUN, Permission.ASK, Permission.DECIDE)]
    return {
        "incident-head": rendered.element("head"),
        "incident-took": rendered.element("took"),
        "incident-actions": rendered.element("actions", mine, *may),
        "incident-timeline": rendered.element("timeline", own, person.may(Permission.AUDIT)),
        "incident-prose": rendered.element("prose"),
    }


def anchors(items: Iterable[Told]) -> list[str]:
    """An id for each line of a timeline that stays when others come: by its note, else by its entry, else by its time.

    Where one entry proves several lines they are counted.
    """
    ids: list[str] = []
    met: dict[str, int] = {}
    for item in items:
        entry = f"entry-{item.entry.seq}" if item.entry else f"at-{item.at:%Y%m%d-%H%M%S-%f}"
        name = f"note-{item.note_id}" if item.note_id else entry
        met[name] = met.get(name, 0) + 1
        ids.append(name if met[name] == 1 else f"{name}-{met[name]}")
    return ids
