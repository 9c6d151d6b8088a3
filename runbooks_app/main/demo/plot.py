"""`runbooks demo --once`: the whole story through the real HTTP endpoints, each step checked against the databases."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from runbooks_app.core import audit
from runbooks_app.main.demo import alarm
from runbooks_app.main.demo.stage import DRILL, Stage
from runbooks_app.main.demo.story import Browser, StepFailedError, Story, expect, until

WAITS = 0.3
"""Seconds from which a wait for a lock is told of; the runbook's own default takes its time, a story does not."""


def play(folder: Path, progress: Callable[[str], None], say: Callable[[str], None]) -> dict[str, Any]:
    """Play it: `ok`, `seconds` and the steps."""
    began = time.monotonic()
    steps: list[dict[str, Any]] = []
    ok = False
    try:
        with Stage(folder, progress, usual_ports=False) as stage:
            story = Story(stage, say, steps)
            steps.append(
                {
                    "name": "everything is started",
                    "ok": True,
                    "seconds": round(time.monotonic() - began, 2),
                    "checked": [stage.url],
                }
            )
            say(f"✓ {steps[0]['seconds']:6.2f} s  everything is started")
            _tell(story)
            ok = True
    except StepFailedError as failed:
        say(f"The story failed: {failed}")
    return {"ok": ok, "seconds": round(time.monotonic() - began, 2), "steps": steps}


def _tell(story: Story) -> None:
    stage = story.stage
    traffic = stage.shop.traffic()
    story.fault = stage.shop.inject("migration")
    try:
        _alarmed(story)
        ana, ben = _arrive(story)
        proposal, drill_id = _untouched(story, ana, ben)
        _stale_then_applied(story, ben, proposal, drill_id)
    finally:
        story.fault.stop()
        traffic.stop()
    _trail(story)
    _postmortem(story, ana)


def _alarmed(story: Story) -> None:
    with story.step("an alert brings the diagnosis into the channel before anyone asks") as checked:
        pid = until("the session that holds the lock", story.blocker)
        until("sessions to wait for it", lambda: _blocked(story, pid) >= 3)
        alarm.ring(story.stage)

        def told() -> list[str]:
            found = [message for message in story.messages(channel=alarm.CHANNEL) if not message["thread_ts"]]
            return [m["text"] for m in found if "diagnosed in" in m["text"] and str(pid) in m["plain"]]

        checked.extend(until("the diagnosis in the channel", told))


def _arrive(story: Story) -> tuple[Browser, Browser]:
    ana, ben, otto = (Browser(story.stage, sub) for sub in ("ana", "ben", "otto"))
    with story.step("people sign in at the provider") as checked:
        for person in (ana, ben, otto):
            landed = person.sign_in()
            expect(landed.status_code == 200, f"{person.sub} landed on {landed.status_code}")
            checked.append(f"{person.sub}: {', '.join(person.api('/me')['roles'])}")
    with story.step("chat accounts are tied to people by a one-time link and a login") as checked:
        for user, person in (("U0ANA", ana), ("U0BEN", ben)):
            path = story.link_for(user)
            answer = person.post(path, person.page(path))
            expect(answer.status_code == 200, f"the link answered {answer.status_code}")
            checked.append(f"{user} is {person.sub}")
    return ana, ben


def _ask(story: Story, person: Browser, user: str, database: str) -> str:
    """Ask for a run in the channel; its id."""
    before = {run["id"] for run in person.api("/runs")["runs"]}
    story.command(user, f"/runbook db-latency database={database} blocked_after={WAITS}")
    found: list[str] = until("the run", lambda: [r["id"] for r in person.api("/runs")["runs"] if r["id"] not in before])
    return found[0]


def _ended(person: Browser, run_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        run: dict[str, Any] = person.api(f"/runs/{run_id}")
        return run if run["state"] not in {"queued", "diagnosing", "lost"} else None

    run: dict[str, Any] = until(f"the end of run {run_id}", look)
    expect(
        run["state"] == "diagnosed" and not run["in_part"],
        f"run {run_id} ended {run['state']}: {run['reason']} {run['problems']}",
    )
    return run


def _proposal(run: dict[str, Any], gate: str = "terminate-session") -> dict[str, Any]:
    found = [p for p in run["proposals"] if p["gate"] == gate]
    expect(len(found) == 1, f"run {run['id']} proposes {[p['gate'] for p in run['proposals']]}")
    proposal: dict[str, Any] = found[0]
    return proposal


def _settled(person: Browser, proposal_id: str, *states: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        seen: dict[str, Any] = person.api(f"/proposals/{proposal_id}")
        return seen if seen["state"] in states else None

    found: dict[str, Any] = until(f"proposal {proposal_id} to be {' or '.join(states)}", look)
    return found


def _untouched(story: Story, ana: Browser, ben: Browser) -> tuple[dict[str, Any], str]:
    """Denied and self-approved proposals leave the blocker alone; one that is open, one that is about to expire."""
    with story.step("a migration holds a lock; the diagnosis stands in the channel") as checked:
        pid = story.blocker()
        if pid is None:
            raise StepFailedError("no session holds the lock")
        until("sessions to wait for it", lambda: _blocked(story, pid) >= 5)
        asked = [_ask(story, ana, "U0ANA", database) for database in (DRILL, "orders-db")]
        drills, run = (_ended(ana, run_id) for run_id in asked)
        worst = [f for f in run["findings"] if f["severity"] == "critical"]
        expect(bool(worst), f"no critical finding: {run['findings']}")
        proposal = _proposal(run)
        expect(proposal["inputs"]["pid"] == pid, f"proposes {proposal['inputs']}, the blocker is {pid}")
        until("the message in the channel", lambda: f"/proposals/{proposal['id']}" in str(story.messages()))
        checked += [worst[0]["summary"], proposal["title"]]
    with story.step("nobody approves what they asked for") as checked:
        answer = ben.decide(_by_hand(ben, run["id"], proposal), "approve", "my own")
        expect(answer.status_code == 403, f"answered {answer.status_code}")
        expect(story.blocker() == pid, "the blocker is gone")
        checked.append("403, and the blocker is untouched")
    with story.step("a denied proposal executes nothing") as checked:
        denied = _by_hand(ana, run["id"], proposal)
        answer = ben.decide(denied, "deny", "not during the sale")
        expect(answer.status_code == 200, f"answered {answer.status_code}")
        expect(_settled(ben, denied, "denied")["state"] == "denied", "it is not denied")
        expect(story.blocker() == pid, "the blocker is gone")
        checked.append(f"session {pid} still holds its lock")
    return proposal, _proposal(drills)["id"]


def _by_hand(person: Browser, run_id: str, like: dict[str, Any]) -> str:
    """Propose by hand what the diagnosis proposed too; the new proposal's id."""
    path = f"/runs/{run_id}/propose/{like['gate']}"
    form = person.page(path)
    inputs = {field: str(like["inputs"][name]) for field, name in re.findall(r'name="(p\.(\w+))"', form)}
    answer = person.post(path, form, reason="to be sure", **inputs)
    expect(answer.status_code == 200, f"proposing by hand answered {answer.status_code}: {answer.text[:300]}")
    return answer.url.path.rsplit("/", 1)[-1]


def _stale_then_applied(story: Story, ben: Browser, proposal: dict[str, Any], drill_id: str) -> None:
    with story.step("the blocker changes before the approval: stale, with a successor") as checked:
        story.fault.stop()
        story.fault = story.stage.shop.inject("migration")
        pid = until("the new blocker", story.blocker)
        until("sessions to wait for it", lambda: _blocked(story, pid) >= 5)
        ben.decide(proposal["id"], "approve", "go")
        stale = _settled(ben, proposal["id"], "stale")
        expect(story.blocker() == pid, "the new blocker is gone")
        run_id = proposal["run"]
        successor = until(
            "the successor",
            lambda: [p["id"] for p in ben.api(f"/runs/{run_id}")["proposals"] if p["predecessor"] == proposal["id"]],
        )[0]
        checked.append(stale["state_reason"])
    with story.step("an expired proposal cannot be approved") as checked:
        late = _settled(ben, drill_id, "expired")
        answer = ben.decide(late["id"], "approve", "too late")
        expect(answer.status_code == 409, f"answered {answer.status_code}")
        expect(story.blocker() == pid, "the blocker is gone")
        checked.append(late["state_reason"])
    with story.step("approved, re-checked, executed once, verified") as checked:
        expect(story.blocker() == pid, "no lock before")
        answer = ben.decide(successor, "approve", "yes, end it")
        expect(answer.status_code == 200, f"answered {answer.status_code}")
        done = _settled(ben, successor, "applied", "failed", "unknown", "stale")
        expect(done["state"] == "applied", f"it is {done['state']}: {done['state_reason']}")
        expect(story.blocker() is None, "the lock is still in pg_locks")
        checked.append("the lock is gone from pg_locks")
        seen = _verified(ben, successor)
        checked += [f"{'✓' if c['ok'] else '✗'} {c['name']}" for c in seen["checks"]]
        until("the channel to say so", lambda: "verified" in str(story.messages()).lower())
        again = ben.decide(successor, "approve", "once more")
        expect(again.status_code == 409, f"a second approval was answered {again.status_code}")
        checked.append("an approval is good for one start")


def _verified(person: Browser, proposal_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        seen: dict[str, Any] = person.api(f"/proposals/{proposal_id}")
        return seen if seen["verification"] not in {None, "pending"} else None

    seen: dict[str, Any] = until("the verification", look)
    expect(
        seen["verification"] == "verified",
        f"{seen['verification']}: {seen['verification_reason']} {seen['checks']}",
    )
    return seen


def _blocked(story: Story, pid: int) -> int:
    """How many sessions have waited for this one long enough to be told of."""
    with psycopg.connect(story.stage.shop.server.url(database="orders")) as session:
        row = session.execute(
            """SELECT count(DISTINCT pid) FROM pg_locks
               WHERE NOT granted AND waitstart < now() - make_interval(secs => %s)
                 AND %s = ANY (pg_blocking_pids(pid))""",
            [WAITS + 0.1, pid],
        ).fetchone()
        return int(row[0]) if row else 0


def _trail(story: Story) -> None:
    # Imported here, as nbformat below: the start of everything waits for whoever imports first.
    from runbooks_app.store import audit as stored  # noqa: PLC0415
    from runbooks_app.store.database import connect, reading  # noqa: PLC0415

    stage = story.stage
    url = f"postgresql://runbooks_app@127.0.0.1:{stage.database.port}/runbooks"
    engine = connect(url, stage.secret("runbooks_app"), pool_size=1)

    def verdict() -> audit.Verdict:
        with reading(engine) as tx:
            return audit.verify(stored.entries(tx), stored.head(tx))

    with story.step("the audit trail verifies, and a flipped byte is found") as checked:
        whole = verdict()
        expect(whole.ok, whole.reason)
        checked.append(f"{whole.entries} entries hold")
        seq = whole.entries // 2
        with psycopg.connect(stage.database.url(database="runbooks"), autocommit=True) as owner:
            # Only a superuser can do this, and it shows all the same.
            row = owner.execute("SELECT at FROM audit_entries WHERE seq = %s", [seq]).fetchone()
            expect(row is not None, "no entry to flip")
            at = str(row[0]) if row else ""
            flipped = at[:-2] + chr(ord(at[-2]) ^ 1) + at[-1]  # the last digit of its time
            owner.execute("ALTER TABLE audit_entries DISABLE TRIGGER audit_no_change")
            owner.execute("UPDATE audit_entries SET at = %s WHERE seq = %s", [flipped, seq])
            found = verdict()
            owner.execute("UPDATE audit_entries SET at = %s WHERE seq = %s", [at, seq])
            owner.execute("ALTER TABLE audit_entries ENABLE TRIGGER audit_no_change")
        expect(found.broken_at == seq, f"flipped in {seq}, found at {found.broken_at}")
        expect(verdict().ok, "the trail does not hold after the byte was put back")
        checked.append(found.reason)
    engine.dispose()


def _postmortem(story: Story, ana: Browser) -> None:
    import nbformat  # noqa: PLC0415

    with story.step("the postmortem is exported") as checked:
        incident = ana.api("/incidents")["incidents"][0]["id"]
        page = ana.page(f"/incidents/{incident}")
        for kind in ("ipynb", "html", "md"):
            answer = ana.post(f"/incidents/{incident}/postmortem", page, kind=kind)
            expect(answer.status_code == 200, f"{kind} answered {answer.status_code}")
            if kind == "ipynb":
                notebook = nbformat.reads(answer.text, as_version=4)  # type: ignore[no-untyped-call]
                nbformat.validate(notebook)
                checked.append(f"a valid notebook with {len(notebook.cells)} cells")
            expect(
                "terminate" in answer.text.lower() or "End session" in answer.text, f"{kind} does not tell the story"
            )
            checked.append(f"{kind}: {len(answer.content):,} bytes")
