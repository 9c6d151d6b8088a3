"""The base of all answers, and people in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A JSON object that the API answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def same(cls, found: object, *, but: Collection[str] = ()) -> dict[str, Any]:
        """The fields that what was found has under the same names: all but these."""
        return {name: getattr(found, name) for name in cls.model_fields if name not in but}


class Actor(Answer):
    """Who did something."""

    kind: str
    """`person`, or the kind of program."""
    name: str
    subject: str

    @classmethod
    def of(cls, actor: Mapping[str, Any]) -> Self:
        """An actor without how they were signed in, which is for auditors."""
        return cls(kind=actor["kind"], name=actor["name"], subject=actor["subject"])


class Me(Answer):
    """Whoever asks."""

    subject: str
    name: str
    roles: list[str]
    agent: str
    """Of an agent: the client that its token was issued to. It asks and proposes, and never decides."""
    expires_at: datetime
    """When the session or the access token ends."""
    csrf: str = ""
    """With a session alone: what its requests with effect carry in the header `X-CSRF-Token`."""


class ProblemPoint(Answer):
    """One point at fault: where, what is wrong, how to mend it."""

    where: str
    message: str
    fix: str


class Failure(Answer):
    """What went wrong; `code` is what programs match on."""

    code: str
    message: str
    problems: list[ProblemPoint]


class Problems(Answer):
    """The one shape of an error."""

    error: Failure
