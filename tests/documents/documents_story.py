"""Stories of incidents to render: the one of the design's first page, and a hostile one."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

from PIL import Image, PngImagePlugin

from runbooks_app.core.incident import (
    AuditRef,
    CellStory,
    ChannelStory,
    CredentialStory,
    DecisionStory,
    FindingStory,
    Happened,
    IncidentStory,
    NoteStory,
    ProposalStory,
    RemediationStory,
    RunStory,
    Told,
    VerificationStory,
)
from runbooks_app.core.policy import Policy, Risk
from runbooks_app.core.proposal import ProposalState, Verification
from runbooks_app.core.run import CellState, RunState
from runbooks_app.core.runbook import Stage

OPENED = datetime(2026, 11, 22, 3, 12, 4, tzinfo=UTC)


def at(seconds):
    return OPENED + timedelta(seconds=seconds)


def ref(seq):
    return AuditRef(seq, sha256(str(seq).encode()).hexdigest())


@cache
def png(text="secret-in-metadata", size=(320, 120)):
    import base64

    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    image = Image.new("RGB", size, (240, 244, 248))
    for x in range(size[0]):
        image.putpixel((x, size[1] - 1 - (x * 7) % size[1]), (11, 92, 173))
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return base64.b64encode(out.getvalue() + b"trailing").decode()


def display(**data):
    return {"output_type": "display_data", "data": data.pop("data", data), "metadata": {}}


def bundle(name, value, plain=""):
    return display(data={f"application/vnd.runbook.{name}+json": value, "text/plain": plain})


EVIDENCE = {
    "kind": "table",
    "columns": [
        {"name": "pid", "type": "number"},
        {"name": "user", "type": "text"},
        {"name": "blocks", "type": "number"},
        {"name": "since", "type": "time"},
        {"name": "query", "type": "text"},
    ],
    "rows": [
        [
            4711,
            "deploy-migration",
            37,
            "2026-11-22T03:06:00+00:00",
            "ALTER TABLE orders ADD COLUMN note text",
        ],
        [
            4718,
            "orders_app",
            0,
            "2026-11-22T03:11:58+00:00",
            "UPDATE orders SET state = 'paid' WHERE id = 17",
        ],
    ],
    "omitted": 12,
}


def make_story(*, text=lambda plain: plain, outputs=(), title="Orders are slow"):
    """The story of design.md; `text` wraps every text that somebody else wrote."""
    diagnosis = (
        CellStory(
            "intro",
            Stage.TEXT,
            "## Latency\nWho waits for **whom**; see the [manual](https://example.org/locks).",
        ),
        CellStory(
            "params",
            Stage.PARAMETERS,
            'database: Connection["postgres"] = "orders-db"',
            (),
            1,
            CellState.OK,
            "",
            at(2),
            at(2.1),
            ("parameters",),
        ),
        CellStory(
            "blocking",
            Stage.DIAGNOSTIC,
            'rows = db.execute("SELECT * FROM pg_locks").fetchall()\n'
            "for row in rows:  # worst first\n    print(row, 42)\n",
            (
                {
                    "output_type": "stream",
                    "name": "stdout",
                    "text": "4711 \x1b[31;1mblocks 37\x1b[0m others\n",
                },
                display(data={"image/png": png(), "text/plain": "<Figure size 320x120>"}),
                display(
                    data={
                        "text/html": "<table><tr><th>pid</th><th>state</th></tr>"
                        "<tr><td>4711</td><td>active</td></tr></table>",
                        "text/plain": "pid state",
                    }
                ),
                bundle(
                    "finding",
                    {
                        "severity": "critical",
                        "summary": text("session 4711 blocks 37 others"),
                        "evidence": EVIDENCE,
                    },
                ),
                bundle(
                    "proposal",
                    {"gate": "terminate-session", "inputs": {"pid": 4711}, "reason": text("blocks 37")},
                ),
                *outputs,
            ),
            2,
            CellState.OK,
            "",
            at(2.1),
            at(3.3),
            ("diagnostic",),
        ),
        CellStory(
            "replicas",
            Stage.DIAGNOSTIC,
            "lag = replica_lag()",
            (
                {
                    "output_type": "error",
                    "ename": "OperationalError",
                    "evalue": text("connection refused"),
                    "traceback": ["\x1b[31mOperationalError\x1b[0m: connection refused"],
                },
            ),
            3,
            CellState.FAILED,
            "",
            at(3.3),
            at(3.9),
            ("diagnostic",),
        ),
        CellStory(
            "lag-chart",
            Stage.DIAGNOSTIC,
            "plot(lag)",
            (),
            None,
            CellState.SKIPPED,
            text("needs lag, which replicas would have defined"),
            None,
            None,
            ("diagnostic",),
        ),
    )
    remediate = CellStory(
        "terminate",
        Stage.REMEDIATION,
        'pid: int\nkit.gate("terminate-session", "End session {pid}")\n'
        'db.execute("SELECT pg_terminate_backend(%s)", [pid])',
        ({"output_type": "stream", "name": "stdout", "text": "terminated 4711\n"},),
        1,
        CellState.OK,
        "",
        at(95),
        at(95.4),
        ("remediation",),
    )
    verify = CellStory(
        "verify",
        Stage.DIAGNOSTIC,
        'kit.wait("nobody blocked", lambda: blocked() == 0)',
        (
            bundle(
                "check",
                {
                    "name": text("nobody blocked"),
                    "ok": True,
                    "seconds": 2.5,
                    "detail": text("0 sessions wait"),
                },
            ),
        ),
        1,
        CellState.OK,
        "",
        at(97),
        at(99.5),
        ("diagnostic",),
    )
    policy = Policy(Risk.HIGH, 1, (("database",), ("payments", "sre")), 1800, recheck=True)
    proposal = ProposalStory(
        id="prop-1",
        gate="terminate-session",
        title=text("End session 4711 on orders-db"),
        state=ProposalState.APPLIED,
        proposed_at=at(4),
        digest="ab" * 32,
        inputs={"pid": 4711, "user": text("deploy-migration")},
        policy=policy,
        cell=remediate,
        target="orders-db",
        reason=text("it blocks 37 others"),
        connections={"orders-db": "orders_operator"},
        expires_at=at(1804),
        approved_at=at(90),
        decisions=(
            DecisionStory(
                text("Dana Base"),
                "approve",
                at(90),
                text("the migration can be repeated"),
                "web",
                signed=True,
                entry=ref(47),
            ),
            DecisionStory(text("Late Larry"), "deny", at(120), text("wait"), "web", counted=False, entry=ref(52)),
        ),
        remediation=RemediationStory(
            ProposalState.APPLIED,
            at(94),
            at(95.5),
            (
                CredentialStory("orders-db", "rb_4711_remediate", ref(49)),
                CredentialStory("cloud", "role/rb-4711", ref(56)),
            ),
            "",
            (remediate,),
            ref(49),
            ref(50),
        ),
        verification=VerificationStory(Verification.VERIFIED, at(99.6), "", (verify,), (), ref(51)),
        recheck=ref(48),
        entry=ref(46),
    )
    denied = ProposalStory(
        id="prop-2",
        gate="cancel-query",
        title=text("Cancel the query of session 4718"),
        state=ProposalState.DENIED,
        proposed_at=at(5),
        digest="cd" * 32,
        inputs={"pid": 4718},
        policy=policy,
        cell=remediate,
        by=text("Olga Call"),
        by_hand=True,
        decisions=(DecisionStory(text("Dana Base"), "deny", at(60), text("not the cause"), "web", entry=ref(45)),),
        entry=ref(44),
    )
    run = RunStory(
        id="run-1",
        runbook="db-latency",
        title=text("Database latency"),
        digest="ef" * 32,
        parameters={"database": "orders-db", "since": text("10m")},
        requested_by=text("Alertmanager"),
        requested_at=at(0.5),
        state=RunState.DIAGNOSED,
        partial=True,
        source="alert",
        started_at=at(1),
        ended_at=at(4),
        cells=diagnosis,
        findings=(
            FindingStory("info", text("p99 is 2.4 s"), "blocking", at(3), None, ref(43)),
            FindingStory("critical", text("session 4711 blocks 37 others"), "blocking", at(3), EVIDENCE, ref(42)),
        ),
        proposals=(proposal, denied),
        requested=ref(41),
        entry=ref(43),
    )
    items = (
        Told(
            at(0),
            Happened.OPENED,
            text("DatabaseLatencyHigh fired for orders"),
            "Alertmanager",
            entry=ref(40),
        ),
        Told(at(0.5), Happened.RUN, text("db-latency requested"), "Alertmanager", run_id="run-1", entry=ref(41)),
        Told(at(3), Happened.FINDING, text("session 4711 blocks 37 others"), run_id="run-1", entry=ref(42)),
        Told(
            at(60),
            Happened.DECISION,
            text("denied: Cancel the query of session 4718"),
            text("Dana Base"),
            human=True,
            entry=ref(45),
        ),
        Told(
            at(90),
            Happened.DECISION,
            text("approved: End session 4711 on orders-db"),
            text("Dana Base"),
            human=True,
            entry=ref(47),
        ),
        Told(at(95), Happened.REMEDIATION, text("applied"), "worker", entry=ref(50)),
        Told(at(99.6), Happened.VERIFICATION, text("verified"), "worker", entry=ref(51)),
        Told(
            at(300),
            Happened.NOTE,
            text("Migration is repeated at noon"),
            text("Olga Call"),
            human=True,
            entry=ref(53),
        ),
    )
    return IncidentStory(
        id="inc-7",
        title=text(title),
        opened_at=at(0),
        opened_by=text("Alertmanager"),
        closed_at=at(600),
        closed_by=text("Olga Call"),
        cause=text("A migration held a lock"),
        channels=(ChannelStory("C0ORDERS", text("inc-orders")),),
        items=items,
        runs=(run,),
        notes=(
            NoteStory(
                at(300),
                text("Olga Call"),
                text("Migration is repeated at noon.\nWith lock_timeout this time."),
                ref(53),
            ),
            NoteStory(at(310), text("Olga Call"), text("Rolled back"), ref(53), author=text("Ben")),
        ),
        opened=ref(40),
        cause_entry=ref(54),
        closed=ref(55),
    )
