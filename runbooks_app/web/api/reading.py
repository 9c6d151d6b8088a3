"""The request's body and query, taken literally: read strictly, and fitted to the model that the route names."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import UnsupportedMediaType

from runbooks_app.core.errors import InvalidInput, Problem

Model = TypeVar("Model", bound=BaseModel)


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
