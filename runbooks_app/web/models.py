"""What clients may send to the API: bodies and queries. Whatever else is in them is refused.

So nobody sets a field that is not theirs to set (requesters, a state, a role): it has no name here.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from runbooks_app.core.errors import InvalidInput, Problem

Model = TypeVar("Model", bound=BaseModel)

Name = Annotated[str, Field(min_length=1, max_length=100)]
Id = Annotated[str, Field(min_length=1, max_length=40)]
Values = dict[Annotated[str, Field(max_length=100)], Any]
IncidentId = Annotated[int, Field(ge=1, lt=2**53)]


class Body(BaseModel):
    """A JSON object, taken literally: no text is read as a number, no field passes unnamed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


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
    reason: Annotated[str, Field(max_length=2_000)] = ""


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


class NewNote(Body):
    """A note for an incident's timeline."""

    text: Annotated[str, Field(min_length=1, max_length=10_000)]


class NewExport(Body):
    """A postmortem to be taken out of the service."""

    kind: Literal["ipynb", "html", "md"]


class Nothing(Body):
    """An action that takes nothing but its address."""


class Query(BaseModel):
    """A query string."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(Query):
    """An address that takes no query."""


class RunsQuery(Query):
    """Which runs: `before` is the cursor that the page before gave as `next`."""

    runbook: Annotated[str, Field(max_length=100)] = ""
    incident: IncidentId | None = None
    before: Annotated[str, Field(max_length=40)] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class RunQuery(Query):
    """Whether cells come with their outputs."""

    outputs: bool = False


class IncidentsQuery(Query):
    """Which incidents: open ones, or all."""

    state: Literal["open", "all"] = "open"
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AuditQuery(Query):
    """Which entries: `before` is a sequence number."""

    event: Annotated[str, Field(max_length=64, pattern=r"^[a-z_.]*$")] = ""
    words: Annotated[str, Field(max_length=200)] = ""
    before: Annotated[int, Field(ge=1, lt=2**53)] | None = None
    limit: Annotated[int, Field(ge=1, le=1_000)] = 100


def body(model: type[Model]) -> Model:
    """The request's JSON as this model; an empty body is an empty object."""
    raw = request.get_data()
    if not raw:
        return _fitted(model, {})
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    try:
        given = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins)
        _storable(given)
    except (ValueError, RecursionError) as error:
        why = error.args[0] if isinstance(error, _Unusable) else "It is not readable as JSON."
        raise InvalidInput(f"The request's body cannot be used. {why}") from error
    return _fitted(model, given)


def query(model: type[Model]) -> Model:
    """The request's query string as this model."""
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice:
        raise InvalidInput(
            "The query cannot be used.", problems=tuple(Problem(n[:100], "is given twice.") for n in twice)
        )
    return _fitted(model, request.args.to_dict())


def _fitted(model: type[Model], given: Any) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problems = tuple(_problem(e["loc"], e["type"], e["msg"], model) for e in error.errors()[:20])
        raise InvalidInput("What was sent does not fit.", problems=problems) from error


def _problem(location: tuple[int | str, ...], kind: str, message: str, model: type[BaseModel]) -> Problem:
    where = ".".join(str(part) for part in location)[:100] or "body"
    if kind == "extra_forbidden":
        names = ", ".join(model.model_fields)
        return Problem(where, "is not known here.", f"Known: {names}." if names else "Nothing is taken here.")
    if kind == "missing":
        return Problem(where, "is missing.")
    return Problem(where, message[:1].lower() + message[1:] + ".")


class _Unusable(ValueError):
    """JSON that can be read but not kept."""


def _no_constant(constant: str) -> NoReturn:
    raise _Unusable(f"{constant} is no JSON number.")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, if no name stands in it twice: two readers could take different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unusable("A name stands twice in one object.")
    return found


def _storable(value: Any) -> None:
    """Refuse texts that PostgreSQL cannot hold: NUL, and halves of surrogate pairs."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise _Unusable("A text holds a NUL or half a character.")
    elif isinstance(value, dict):
        for name, part in value.items():
            _storable(name)
            _storable(part)
    elif isinstance(value, list):
        for part in value:
            _storable(part)
