"""`/audit`: the trail. Search it, look at one entry's proof, and learn how to verify all of it elsewhere."""

from __future__ import annotations

import json

from flask import Blueprint, render_template, request

from runbooks_app.core.audit import GENESIS, Event, entry_hash
from runbooks_app.core.people import Permission
from runbooks_app.store import audit
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard

blueprint = Blueprint("audit", __name__)

PAGE = 100


@blueprint.get("/audit")
@guard(Permission.AUDIT)
def search() -> str:
    """List entries, newest first, by kind and by words."""
    event = request.args.get("event", "")
    event = event if event in set(Event) else ""
    words = request.args.get("words", "").strip()[:200]
    before = request.args.get("before", "")
    with reading(service().engine) as tx:
        found = audit.search(tx, event=event, words=words, before=_number(before), limit=PAGE + 1)
        head = audit.head(tx)
    return render_template(
        "audit.html",
        entries=[(entry, json.loads(entry.actor), json.loads(entry.objects)) for entry in found[:PAGE]],
        more=found[PAGE - 1].seq if len(found) > PAGE else None,
        head=head,
        event=event,
        events=list(Event),
        words=words,
    )


@blueprint.get("/audit/<int:seq>")
@guard(Permission.AUDIT)
def show(seq: int) -> str:
    """Show one entry with the bytes that its hash covers."""
    with reading(service().engine) as tx:
        entry = audit.get(tx, seq)
        before = audit.get(tx, seq - 1) if seq > 1 else None
        head = audit.head(tx)
    return render_template(
        "entry.html",
        entry=entry,
        told=entry.as_json(),
        envelope=entry.envelope().decode(),
        holds=entry_hash(entry) == entry.hash,
        follows=entry.prev == (before.hash if before else GENESIS),
        head=head,
    )


def _number(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdigit() and len(given) < 18 else None
