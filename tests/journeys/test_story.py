"""`runbooks demo --once --json`: the whole story, as scripts see it."""

from __future__ import annotations

import json
import subprocess
import sys

from runbooks_app.main.demo.stage import LIBRARY


def test_the_demo_plays_its_whole_story_and_tells_it_as_one_object(tmp_path):
    state = tmp_path / "demo"
    command = [sys.executable, "-m", "runbooks_app.main", "demo", "--once", "--json", "--state", str(state)]
    played = subprocess.run(
        command, cwd=LIBRARY.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=220, check=False
    )
    assert played.stdout, played.stderr
    told = json.loads(played.stdout)
    failed = [step for step in told["steps"] if not step["ok"]]
    assert failed == [], f"{failed}\n{played.stderr}"
    assert (played.returncode, told["ok"]) == (0, True), played.stderr
    assert set(told) == {"ok", "seconds", "steps"}
    for step in told["steps"]:
        assert set(step) == {"name", "ok", "seconds", "checked"}
        assert step["checked"], step["name"]
    names = " ".join(step["name"] for step in told["steps"])
    for played_out in (
        "expired",
        "denied",
        "stale",
        "executed once, verified",
        "flipped byte",
        "postmortem",
    ):
        assert played_out in names
    assert 0 < sum(step["seconds"] for step in told["steps"]) <= told["seconds"]
