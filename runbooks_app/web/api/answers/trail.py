"""The audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from runbooks_app.web.api.answers.base import Answer

if TYPE_CHECKING:
    from runbooks_app.core import audit


class Entry(Answer):
    """An entry of the audit trail, as `runbooks audit verify` reads it."""

    actor: dict[str, Any]
    at: str
    body: dict[str, Any]
    event: str
    hash: str
    objects: dict[str, Any]
    prev: str
    seq: int

    @classmethod
    def of(cls, found: audit.Entry) -> Self:
        """An entry."""
        return cls(**found.as_json())


class WholeEntry(Entry):
    """An entry with the envelope that its hash covers."""

    envelope: str


class Entries(Answer):
    """A page of the audit trail, newest first."""

    entries: list[Entry]
    next: int | None
    """The cursor of the following page; null on the last. A page before that may hold few entries, or none."""


class Head(Answer):
    """Where the trail ends: to be kept elsewhere, and compared later."""

    seq: int
    hash: str


class Verified(Answer):
    """What came of verifying the whole trail against its head."""

    ok: bool
    entries: int
    head: str
    broken_at: int | None
    reason: str
