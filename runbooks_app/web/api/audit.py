"""The audit trail, for auditors."""

from __future__ import annotations

from runbooks_app.actions import auditing
from runbooks_app.core import audit as trail
from runbooks_app.core.errors import NotFound
from runbooks_app.core.people import Permission
from runbooks_app.store import audit as audit_entries
from runbooks_app.store.database import reading
from runbooks_app.web.api import answers, asked
from runbooks_app.web.api.contract import blueprint, tells
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard


@blueprint.get("/audit")
@guard(Permission.AUDIT)
@tells(answers.Entries, query=asked.AuditQuery)
def search_audit(wanted: asked.AuditQuery) -> answers.Entries:
    """Entries of the trail, newest first.

    Words are looked for in 20,000 entries at a time: a page may hold few entries or none, and still have a `next`.
    """
    asked_for = auditing.Wanted(
        event=wanted.event or "",
        object=wanted.object,
        person=wanted.person,
        words=wanted.words,
        since=wanted.since,
        until=wanted.until,
    )
    with reading(service().engine) as tx:
        found = auditing.search(tx, asked_for, wanted.before, wanted.limit)
    return answers.Entries(entries=[answers.Entry.of(entry) for entry in found.entries], next=found.further)


@blueprint.get("/audit/<int:seq>")
@guard(Permission.AUDIT)
@tells(answers.WholeEntry, problems=(NotFound,))
def get_entry(seq: int) -> answers.WholeEntry:
    """One entry, with the envelope that its hash covers."""
    with reading(service().engine) as tx:
        entry = audit_entries.get(tx, seq)
    return answers.WholeEntry(**entry.as_json(), envelope=entry.envelope().decode())


@blueprint.get("/audit/head")
@guard(Permission.AUDIT)
@tells(answers.Head)
def get_head() -> answers.Head:
    """Where the trail ends now: to be kept elsewhere, and compared later."""
    with reading(service().engine) as tx:
        seq, digest = audit_entries.head(tx)
    return answers.Head(seq=seq, hash=digest)


@blueprint.get("/audit/verification")
@guard(Permission.AUDIT)
@tells(answers.Verified)
def verify() -> answers.Verified:
    """Verify the whole trail against its head."""
    with reading(service().engine) as tx:
        verdict = trail.verify(audit_entries.entries(tx), audit_entries.head(tx))
    return answers.Verified(
        ok=verdict.ok,
        entries=verdict.entries,
        head=verdict.head,
        broken_at=verdict.broken_at,
        reason=verdict.reason,
    )
