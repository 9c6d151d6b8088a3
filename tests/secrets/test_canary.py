"""A story in which every cell gives its own password away, in many spellings: it must be nowhere afterwards.

The cells also tell it masked, letter by letter, in a way that nobody looks for: so the test knows what to look for.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import redis
from notebooks import cell, notebook
from whole_stage import Person, until

if TYPE_CHECKING:
    from runbooks_app.main.demo.stage import Stage
    from runbooks_app.main.demo.story import Story

SETUP = """
from runbook_library import kit
import base64, html, json, urllib.parse, zlib
from IPython.display import HTML, display, publish_display_data

def give_away():
    password = kit.postgres(database).info.password
    print("masked:", " ".join(str(ord(letter) ^ 85) for letter in password))
    spelt = [
        password, password[::-1], password.encode().hex(), base64.b64encode(password.encode()).decode(),
        base64.b64encode(b"x" + password.encode()).decode(), json.dumps(json.dumps(password)), repr(password.encode()),
        urllib.parse.quote(password, safe=""), "".join(f"%{byte:02x}" for byte in password.encode()),
    ]
    for text in spelt:
        print(text[:9], end="", flush=True)
        print(text[9:])
        display(HTML(f"<b>{html.escape(text)}</b>"), display_id=text)
    publish_display_data({"text/plain": "x", f"x/{password}": {password: [password]}}, metadata={password: password})
    return password
"""
LOOK = """
password = give_away()
kit.finding("critical", f"It is {password}", [{"password": password, "reversed": password[::-1]}])
kit.keep(password=password)
kit.propose("act", text=password, reason=f"because of {password}")
"""
FAIL = "raise ValueError(give_away())"
SPREAD = 'print("\\u200b".join(kit.postgres(database).info.password))'
ACT = """
text: str  # What to say
kit.gate("act", "Say {text}", risk="high", target="{database}")
kit.postgres(database).execute("SELECT 1")
raise ValueError(give_away())
"""
CHECK = """
password = give_away()
kit.check(f"said {password}", True, detail=password)
"""


def spellings(secret: str) -> set[str]:
    """Enough of each spelling that it would be recognised."""
    raw = secret.encode()
    shifted = base64.b64encode(b"x" + raw).decode()[2:-4]
    return {
        secret, secret[::-1], raw.hex(), base64.b64encode(raw).decode().rstrip("=")[:-1], shifted,
        quote(secret, safe=""), "".join(f"%{byte:02x}" for byte in raw), "\u200b".join(secret),
    }  # fmt: skip


def told(run: dict[str, Any]) -> list[str]:
    """The passwords that the cells of a run told masked."""
    return [
        "".join(chr(int(number) ^ 85) for number in masked.split())
        for masked in re.findall(r"masked: ([\d ]+)", json.dumps(run))
    ]


def database_dump(stage: Stage) -> str:
    """Every row of every table, as text."""
    with psycopg.connect(stage.database.url(database="runbooks")) as owner:
        tables = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [str(row) for (table,) in tables for row in owner.execute(f'SELECT t::text FROM "{table}" t').fetchall()]
    assert any("masked:" in row for row in rows)
    return "\n".join(rows)


def redis_dump(stage: Stage) -> str:
    """Every stream and value."""
    assert stage.redis is not None
    client = redis.Redis.from_url(stage.redis.url, password=stage.redis.password)
    with client:
        found = [
            str(client.xrange(key)) if client.type(key) == b"stream" else str(client.dump(key))
            for key in client.scan_iter()
        ]
    assert any("masked:" in text for text in found)
    return "\n".join(found)


def test_a_password_that_cells_give_away_in_every_spelling_is_nowhere_afterwards(
    stage: Stage, story: Story, ana: Person, ben: Person, linked: None
):
    runbook = notebook(
        cell("look", LOOK, "diagnostic"),
        cell("fail", FAIL, "diagnostic"),
        cell("spread", SPREAD, "diagnostic"),
        cell("act", ACT, "remediation"),
        cell("check", CHECK, "diagnostic"),
        title="Gives itself away",
    )
    runbook["cells"][1] = cell("setup", SETUP, "setup")
    place = stage.library / "gives-itself-away.ipynb"
    place.write_text(json.dumps(runbook))
    try:
        before = {run["id"] for run in ana.api("/runs")["runs"]}
        until("the runbook", lambda: ana.client.get(f"{stage.url}/api/v1/runbooks/{place.stem}").status_code == 200)
        story.command("U0ANA", f"/runbook {place.stem}")
        run_id = until("the run", lambda: [r["id"] for r in ana.api("/runs")["runs"] if r["id"] not in before])[0]
        run = ana.run(run_id)
        assert run["state"] == "diagnosed"
        (proposal,) = run["proposals"]
        assert ben.decision(proposal).status_code == 200
        assert ben.proposal(proposal["id"], "failed", "applied", "stale")["state"] == "failed"
        ben.verified(proposal["id"])
    finally:
        place.unlink()
    messages = until("the channel", lambda: "failed" in (seen := json.dumps(story.messages())) and seen)
    whole = ana.api(f"/runs/{run_id}?outputs=true")
    pages = [f"/runs/{run_id}", f"/proposals/{proposal['id']}", f"/incidents/{run['incident']}"]
    pages += re.findall(rf'"(/runs/{run_id}/cells/[^"#?]+)"', ana.page(pages[0]))
    exports = [ana.ask(f"/incidents/{run['incident']}/exports", kind=kind).text for kind in ("ipynb", "html", "md")]
    files = [path for path in stage.folder.rglob("*") if path.suffix == ".log" or "artifacts" in path.parts]
    sinks = {
        "the database": database_dump(stage),
        "Redis": redis_dump(stage),
        "the channel": messages,
        "the chat's own record": (stage.folder / "slack.json").read_text(),
        "the API": json.dumps(whole),
        "pages": "\n".join(ana.page(path) for path in pages),
        "postmortems": "\n".join(exports),
        "logs and artifacts": "\n".join(path.read_text(errors="replace") for path in files if path.is_file()),
    }
    passwords = told(whole)
    # Diagnosis twice, in both of its cells; remediation; verification.
    assert len(set(passwords)) >= 3, whole
    found = {
        (sink, spelling[:3])
        for sink, text in sinks.items()
        for password in passwords
        for spelling in spellings(password)
        if spelling in text or json.dumps(spelling)[1:-1] in text
    }
    assert not found
