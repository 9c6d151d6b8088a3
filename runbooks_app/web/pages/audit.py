"""`/audit`: the trail. Search it, look at one entry's proof, take it along, and learn how to verify it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import urlencode

from flask import Blueprint, Response, g, render_template, request

from runbooks_app.actions import auditing
from runbooks_app.core.audit import GENESIS, Event, entry_hash
from runbooks_app.core.people import Permission
from runbooks_app.store import audit
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard, signed_in

blueprint = Blueprint("audit", __name__)

PAGE = 100


@blueprint.get("/audit")
@guard(Permission.AUDIT)
def search() -> str:
    """List entries, newest first: by event, object, person, words and time."""
    asked = {name: request.args.get(name, "").strip()[:200] for name in ("event", "object", "person", "words")}
    times = {name: request.args.get(name, "").strip() for name in ("since", "until")}
    wanted = auditing.Wanted(**asked, since=_time(times["since"]), until=_time(times["until"]))
    with reading(service().engine) as tx:
        head = audit.head(tx)
        found = auditing.search(tx, wanted, _number(request.args.get("before", "")), PAGE)
    asked |= {name: given if _time(given) else "" for name, given in times.items()}
    again = {name: value for name, value in asked.items() if value}
    return render_template(
        "audit.html",
        entries=[(entry, json.loads(entry.actor), json.loads(entry.objects)) for entry in found.entries],
        earlier=urlencode({**again, "before": found.further}) if found.further else "",
        looked_through=found.looked_through,
        head=head,
        events=sorted(Event),
        asked=asked,
    )


@blueprint.post("/audit/export")
@guard(Permission.AUDIT)
def export() -> Response:
    """Answer with the whole trail as a file, as it is read. That it left is entered in it, so this is no GET."""
    at = service()
    last = auditing.export_trail(at, g.person, signed_in())

    def lines() -> Iterator[str]:
        for entry in auditing.copy(at, last):
            yield json.dumps(entry.as_json(), ensure_ascii=False) + "\n"

    response = Response(lines(), content_type="application/x-ndjson")
    response.headers["Content-Disposition"] = f'attachment; filename="runbooks-trail-{last}.jsonl"'
    return response


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


def _time(given: str) -> datetime | None:
    """A date or a time of day as a browser sends it, in UTC; None where it is none."""
    with suppress(ValueError):
        at = datetime.fromisoformat(given)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None


def _number(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdigit() and len(given) < 18 else None
