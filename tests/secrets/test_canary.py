"""A story in which every cell gives its own password away, in many spellings: it must be nowhere afterwards.

The cells also tell it masked, letter by letter, in a way that nobody looks for: so the test knows what to look for.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from notebooks import cell, notebook
from sinks import found_in, sinks_of
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


def told(run: dict[str, Any]) -> list[str]:
    """The passwords that the cells of a run told masked."""
    return [
        "".join(chr(int(number) ^ 85) for number in masked.split())
        for masked in re.findall(r"masked: ([\d ]+)", json.dumps(run))
    ]


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
    until("the channel", lambda: "failed" in json.dumps(story.messages()))
    sinks = sinks_of(stage, story, ana, run, sign="masked:")
    passwords = told(json.loads(sinks["the API"]))
    # Diagnosis twice, in both of its cells; remediation; verification.
    assert len(set(passwords)) >= 3, sinks["the API"]
    assert not found_in(sinks, passwords)
