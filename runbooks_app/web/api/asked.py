"""What clients may send to the API: bodies and queries. Whatever else is in them is refused.

So nobody sets a field that is not theirs to set (requesters, a state, a role): it has no name here.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from runbooks_app.core.audit import Event

Name = Annotated[str, Field(min_length=1, max_length=100)]
Id = Annotated[str, Field(min_length=1, max_length=40)]
Values = dict[Annotated[str, Field(max_length=100)], Any]
IncidentId = Annotated[int, Field(ge=1, lt=2**53)]


def _dated(given: str) -> str:
    """Refuse a number, which would pass as seconds since 1970."""
    if not re.match(r"\d{4}-\d\d-\d\d", given):
        raise ValueError("should be a date and a time with their zone (RFC 3339)")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_dated)]


class Body(BaseModel):
    """A JSON object, taken literally: no text is read as a number, no field passes unnamed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class NewRun(Body):
    """A run asked for: parameters are validated against what the runbook declares."""

    runbook: Name
    parameters: Values = {}
    incident: IncidentId | None = None
    rerun_of: Id | None = None


class NewProposal(Body):
    """A remediation cell proposed by hand."""

    gate: Name
    inputs: Values = {}
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


class NewDecision(Body):
    """A verdict on a proposal; `digest` is the proposal's as it was shown."""

    verdict: Literal["approve", "deny"]
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Annotated[str, Field(max_length=2_000)] = ""


class NewIncident(Body):
    """An incident opened by hand."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    channel: Annotated[str, Field(pattern=r"^[A-Z0-9]{0,40}$")] = ""


class Closing(Body):
    """An incident closed with its cause."""

    cause: Annotated[str, Field(min_length=1, max_length=2_000)]


class Attaching(Body):
    """A run that is to belong to an incident."""

    run: Id


class NewNote(Body):
    """A note for an incident's timeline."""

    text: Annotated[str, Field(min_length=1, max_length=10_000)]


class ChangedText(Body):
    """What a note or a section is to say, and the version that was changed."""

    text: Annotated[str, Field(max_length=50_000)]
    version: Annotated[int, Field(ge=0, lt=2**31)]
    """The version that stood when it was read; of a section that nobody has written yet 0."""


class NewAsk(Body):
    """A question in cells of one's own, which only read; a line `# %%` begins another cell."""

    source: Annotated[str, Field(min_length=1, max_length=20_000)]
    hypothesis: Annotated[str, Field(max_length=4_000)] = ""
    rerun_of: Id | None = None
    """The ask that is asked again, edited perhaps."""


class NewConclusion(Body):
    """What an ask showed."""

    conclusion: Annotated[str, Field(min_length=1, max_length=4_000)]
    was: Annotated[str, Field(max_length=4_000)] = ""
    """The conclusion that stood there when it was read."""


class NewExport(Body):
    """A postmortem to be taken out of the service."""

    kind: Literal["ipynb", "html", "md"]


class Nothing(Body):
    """An action that takes nothing but its address."""


class Query(BaseModel):
    """A query string."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NoQuery(Query):
    """An address that takes no query."""


class RunsQuery(Query):
    """Which runs."""

    runbook: Annotated[str, Field(max_length=100)] = ""
    incident: IncidentId | None = None
    before: Annotated[str, Field(max_length=40)] = ""
    """The cursor that the page before gave as `next`."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class RunQuery(Query):
    """Whether cells come with their outputs."""

    outputs: bool = False


class ProposalsQuery(Query):
    """Which of the waiting proposals."""

    before: Annotated[str, Field(max_length=40)] = ""
    """The cursor that the page before gave as `next`."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class IncidentsQuery(Query):
    """Which incidents: open ones, or all."""

    state: Literal["open", "all"] = "open"
    before: IncidentId | None = None
    """The cursor that the page before gave as `next`."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AsksQuery(Query):
    """Which asks."""

    before: Annotated[str, Field(max_length=40)] = ""
    """The cursor that the page before gave as `next`."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class NotesQuery(Query):
    """Which notes."""

    before: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    """The cursor that the page before gave as `next`."""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AuditQuery(Query):
    """Which entries."""

    event: Event | None = None
    """One kind of entries."""
    object: Annotated[str, Field(max_length=200)] = ""
    """What they are about: `incident 3`, a run's or a proposal's id or address; what is none finds nothing."""
    person: Annotated[str, Field(max_length=200)] = ""
    """Who did it: a name, a part of one, or a subject."""
    words: Annotated[str, Field(max_length=200)] = ""
    """Found in actor, objects or body."""
    since: Moment | None = None
    """With its zone, as in `2026-11-23T13:00:00Z`."""
    until: Moment | None = None
    """Not included."""
    before: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    """The cursor that the page before gave as `next`."""
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
