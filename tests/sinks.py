"""Everywhere that something of a run may end up, as text: what must not be there is looked for here."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import redis

if TYPE_CHECKING:
    from whole_stage import Person

    from runbooks_app.main.demo.stage import Stage
    from runbooks_app.main.demo.story import Story


def spellings(secret: str) -> set[str]:
    """Enough of each spelling that it would be recognised."""
    raw = secret.encode()
    shifted = base64.b64encode(b"x" + raw).decode()[2:-4]
    return {
        secret, secret[::-1], raw.hex(), base64.b64encode(raw).decode().rstrip("=")[:-1], shifted,
        quote(secret, safe=""), "".join(f"%{byte:02x}" for byte in raw), "\u200b".join(secret),
    }  # fmt: skip


def found_in(sinks: dict[str, str], secrets: list[str]) -> set[tuple[str, str]]:
    """Where one of them stands in one of its spellings, with its first letters."""
    return {
        (sink, spelling[:3])
        for sink, text in sinks.items()
        for secret in secrets
        for spelling in spellings(secret)
        if spelling in text or json.dumps(spelling)[1:-1] in text
    }


def sinks_of(stage: Stage, story: Story, person: Person, run: dict[str, Any], *, sign: str) -> dict[str, str]:
    """All that is kept and shown of a run and of its one proposal; `sign` is a text that its cells told for certain."""
    (proposal,) = run["proposals"]
    whole = person.api(f"/runs/{run['id']}?outputs=true")
    pages = [f"/runs/{run['id']}", f"/proposals/{proposal['id']}", f"/incidents/{run['incident']}"]
    pages += re.findall(rf'"(/runs/{run["id"]}/cells/[^"#?]+)"', person.page(pages[0]))
    exports = [person.ask(f"/incidents/{run['incident']}/exports", kind=kind).text for kind in ("ipynb", "html", "md")]
    files = [path for path in stage.folder.rglob("*") if path.suffix == ".log" or "artifacts" in path.parts]
    return {
        "the database": _database(stage, sign),
        "Redis": _redis(stage, sign),
        "the channel": json.dumps(story.messages()),
        "the chat's own record": (stage.folder / "slack.json").read_text(),
        "the API": json.dumps(whole),
        "pages": "\n".join(person.page(path) for path in pages),
        "postmortems": "\n".join(exports),
        "logs and artifacts": "\n".join(path.read_text(errors="replace") for path in files if path.is_file()),
    }


def _database(stage: Stage, sign: str) -> str:
    """Every row of every table."""
    with psycopg.connect(stage.database.url(database="runbooks")) as owner:
        tables = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [str(row) for (table,) in tables for row in owner.execute(f'SELECT t::text FROM "{table}" t').fetchall()]
    assert any(sign in row for row in rows)
    return "\n".join(rows)


def _redis(stage: Stage, sign: str) -> str:
    """Every stream and value."""
    assert stage.redis is not None
    client = redis.Redis.from_url(stage.redis.url, password=stage.redis.password)
    with client:
        found = [
            str(client.xrange(key)) if client.type(key) == b"stream" else str(client.dump(key))
            for key in client.scan_iter()
        ]
    assert any(sign in text for text in found)
    return "\n".join(found)
