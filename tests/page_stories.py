"""Stories for the pages' tests: rows made through the actions, as people and workers make them.

The runbook is the library's own `db-latency`; what its cells print is written here, so no kernel runs.
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import signing

mpl.use("agg")
import matplotlib.pyplot as plt

from runbooks_app.actions import diagnosing, people, remediating, running, starting
from runbooks_app.actions.context import Service
from runbooks_app.actions.recording import CellTold, record_cells
from runbooks_app.actions.signatures import Checked
from runbooks_app.connections import Connection, CredentialSource
from runbooks_app.core.bundles import Proposed
from runbooks_app.core.people import Person
from runbooks_app.core.policy import Floor
from runbooks_app.core.proposal import ProposalState
from runbooks_app.core.run import CellState
from runbooks_app.library import Library
from runbooks_app.settings import Settings
from runbooks_app.store import proposals
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import reading

LIBRARY = Path(__file__).parent.parent / "runbook_library"
SURFACE = {"surface": "web", "auth_time": None}
ANNA = Person("https://id.example#anna", "Anna Weber", "anna@example.com", frozenset({"responder"}))
DEV = Person("https://id.example#dev", "Dev Patel", "dev@example.com", frozenset({"approver:database"}))
VERA = Person("https://id.example#vera", "Vera Lund", "vera@example.com", frozenset({"viewer"}))
AUDI = Person("https://id.example#audi", "Audi Thor", "audi@example.com", frozenset({"auditor"}))
INPUTS = {
    "pid": 4711,
    "backend_start": "2026-11-22 03:06:11.482913+00",
    "xact_start": "2026-11-22 03:06:12.003554+00",
    "application": "deploy-migration",
    "username": "shop_owner",
    "blocked": 37,
}


THOUSAND_CELLS = """INSERT INTO cells
    (attempt_id, cell_id, position, stage, source, state, outputs, started_at, ended_at)
  SELECT :attempt, 'many-' || n, 100 + n, 'diagnostic', 'print(n)', CASE n WHEN 500 THEN 'failed' ELSE :state END,
    jsonb_build_array(jsonb_build_object('output_type', 'stream', 'name', 'stdout', 'text', n || ' ' || :text)),
    now() + n * interval '10 ms', now() + (n + 1) * interval '10 ms'
  FROM generate_series(1, 1000) n"""
"""Gives an attempt a thousand cells more, each with its number and `text` as output; one of them failed."""


UNLIMITED = {"runs_per_person": 0, "runs_per_runbook": 0}
"""Stories share a database and leave runs behind: nobody's quota is used up by another story."""


@cache
def _library(folder: Path) -> Library:
    """Read once for all the tests that share it."""
    return Library(folder)


def service_on(engine: Any, folder: Path, **settings: Any) -> Service:
    """A service over a migrated database, with the library's own runbooks and one connection."""

    def source(role: str) -> CredentialSource:
        return CredentialSource("postgres-role", {"role": role, "minter": "minter", "password_file": "/nowhere"})

    orders = Connection(
        "orders-db",
        "postgres",
        "Orders database",
        host="orders.internal",
        port=5432,
        database="orders",
        floor=Floor(approvers=("database",)),
        diagnose=source("orders_reader"),
        remediate=source("orders_operator"),
    )
    given = {"public_url": "http://127.0.0.1:8080", "environment": "tests", **UNLIMITED, **settings}
    library = _library(given.pop("library", LIBRARY))
    artifacts = Artifacts("file://artifacts", folder)
    return Service(engine, library, {"orders-db": orders}, Settings(**given), artifacts)


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def shown(mime: str, value: Any, text: str = "") -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {mime: value, "text/plain": text}}


def bundle(kind: str, **value: Any) -> dict[str, Any]:
    return shown(f"application/vnd.runbook.{kind}+json", value)


@cache
def chart() -> dict[str, Any]:
    figure, axes = plt.subplots(figsize=(7, 2.6), dpi=100)
    axes.plot([0, 1, 2, 3, 4, 5], [12, 14, 13, 480, 492, 500], marker="o", markersize=3)
    axes.set_ylabel("ms")
    axes.set_title("Time of each read")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    return shown("image/png", base64.b64encode(file.getvalue()).decode(), "reads rise from 13 ms to 500 ms")


def waiting_sessions(count: int = 37) -> dict[str, Any]:
    return {
        "kind": "table",
        "columns": [
            {"name": "pid", "type": "number"},
            {"name": "application", "type": "text"},
            {"name": "waits for", "type": "text"},
            {"name": "seconds", "type": "number"},
            {"name": "since", "type": "time"},
            {"name": "statement", "type": "text"},
        ],
        "rows": [
            [4712 + n, "checkout", "deploy-migration", round(371 - 4.2 * n, 1), "2026-11-22T03:06:20Z", STATEMENT]
            for n in range(count)
        ],
        "omitted": 0,
    }


STATEMENT = "UPDATE orders SET state = 'paid', paid_at = now() WHERE id = $1 AND state = 'open' RETURNING id"
CRITICAL = "Session 4711 (deploy-migration) has held a lock on orders for 6 min and blocks 37 others"


def told_by(cell_id: str) -> list[dict[str, Any]]:
    """What each cell of the runbook prints in these stories."""
    return {
        "latency": [
            stream("200 reads of 8 tables in 1.5 s\n"),
            bundle("keep", values={"p99": 0.5}),
            bundle(
                "finding",
                severity="warning",
                summary="Reads are slow: p50 13 ms, p95 488 ms, p99 500 ms",
                evidence={"kind": "text", "text": "public.orders    p99 500 ms\npublic.customers p99 14 ms\n"},
            ),
        ],
        "activity": [
            shown(
                "text/html",
                "<table><tr><th>state</th><th>sessions</th></tr><tr><td>active</td><td>41</td></tr>"
                "<tr><td>idle in transaction</td><td>1</td></tr></table><script>alert(1)</script>",
                "active 41\nidle in transaction 1",
            )
        ],
        "blocking-tree": [
            bundle("finding", severity="critical", summary=CRITICAL, evidence=waiting_sessions()),
        ],
        "longest-transactions": [stream("\x1b[1mpid   for\x1b[0m\n4711  \x1b[31m6 min\x1b[0m\n")],
        "locks": [stream("".join(f"relation orders AccessExclusiveLock {n}\n" for n in range(400)))],
        "chart": [chart()],
        "what-would-help": [
            bundle(
                "proposal",
                gate="terminate-session",
                inputs=INPUTS,
                reason="It began 6 min ago, runs a migration by hand, and everything else waits behind it.",
            )
        ],
        "terminate-session": [stream("Session 4711 was told to end.\n")],
        "terminate-freed": [bundle("check", name="nobody is blocked", ok=True, seconds=0.4, detail="0 sessions wait")],
        "terminate-latency": [bundle("check", name="p99 is back", ok=True, seconds=2.3, detail="14 ms")],
    }.get(cell_id, [])


@dataclass
class Story:
    """Drives a service as its workers would."""

    service: Service
    worker: str = "worker-1"
    issuer: str = "https://id.example"
    _claims: dict[str, tuple[diagnosing.Claim, diagnosing.Said]] = field(default_factory=dict)

    def request(self, person: Person = ANNA, incident_id: int | None = None, **given: Any) -> str:
        parameters = {"database": "orders-db", **given}
        run = running.request_run(self.service, person, SURFACE, "db-latency", parameters, incident_id=incident_id)
        assert run is not None
        return run.id

    def claim(self, run_id: str) -> diagnosing.Claim:
        claim = diagnosing.claim_run(self.service, run_id, self.worker)
        assert claim is not None
        self._claims[run_id] = claim, diagnosing.Said()
        return claim

    def begin(self, run_id: str, cell_id: str) -> None:
        claim, said = self._claims[run_id]
        record_cells(self.service, claim, [CellTold(cell_id, CellState.RUNNING, datetime.now(UTC))], said)

    def end(self, run_id: str, cell_id: str, state: CellState = CellState.OK, reason: str = "", **how: Any) -> None:
        claim, said = self._claims[run_id]
        now = datetime.now(UTC)
        outputs = how.get("outputs", told_by(cell_id) if state is CellState.OK else [])
        began = now - timedelta(seconds=how.get("took", 0.3))
        told = CellTold(cell_id, state, began, now, tuple(outputs), 1, reason, how.get("whole"))
        record_cells(self.service, claim, [told], said)

    def finish(self, run_id: str, reason: str = "") -> None:
        claim, said = self._claims[run_id]
        diagnosing.finish_run(self.service, claim, said, reason)

    def diagnose(self, run_id: str, *, wrong: dict[str, tuple[CellState, str]] | None = None) -> None:
        """The whole diagnosis; `wrong` names cells that do not end well."""
        began = datetime.now(UTC)
        claim = self.claim(run_id)
        _, said = self._claims[run_id]
        at = began
        for place, cell in enumerate(claim.cells):
            state, reason = (wrong or {}).get(cell.id, (CellState.OK, ""))
            over = at + timedelta(milliseconds=(40, 150, 1500, 60, 320, 90, 70, 640, 20)[place % 9])
            outputs = told_by(cell.id) if state is CellState.OK else [stream("Traceback\n", "stderr")]
            told = CellTold(cell.id, state, at, over, tuple(outputs), place, reason)
            record_cells(self.service, claim, [told], said)
            at = over
        self.finish(run_id)

    def proposals(self, run_id: str) -> list[str]:
        with reading(self.service.engine) as tx:
            return [proposal.id for proposal in proposals.of_run(tx, run_id)]

    def diagnosed(self, person: Person = ANNA) -> tuple[str, str]:
        """Ids of a run that was diagnosed, and of its proposal."""
        run_id = self.request(person)
        self.diagnose(run_id)
        return run_id, self.proposals(run_id)[0]

    def approve(self, proposal_id: str, person: Person = DEV, reason: str = "") -> None:
        with reading(self.service.engine) as tx:
            proposal = proposals.get(tx, proposal_id)
        signing.approve(self.service, person, proposal, reason)

    def checked(self, proposal_id: str) -> Checked:
        return signing.checked(self.service, proposal_id, signing.signatures(self.issuer))

    def recheck(self, proposal_id: str, *, proposes: bool = True, inputs: dict[str, Any] | None = None) -> str:
        """The id of the re-check; it proposes the same as before, nothing, or the same with other inputs."""
        claim = remediating.open_recheck(self.service, proposal_id, self.worker, self.checked(proposal_id))
        assert claim is not None
        said = diagnosing.Said()
        self._cells(claim, said, without=() if proposes and not inputs else ("what-would-help",))
        if inputs:
            said.proposed.append(Proposed("terminate-session", inputs, "it blocks them now"))
        remediating.finish_recheck(self.service, claim, said, "")
        return claim.run.id

    def remediate(self, proposal_id: str, state: ProposalState = ProposalState.APPLIED, reason: str = "") -> None:
        started = starting.start_remediation(self.service, proposal_id, self.worker, self.checked(proposal_id))
        assert started is not None
        claim = started.claim
        said = diagnosing.Said()
        self._cells(claim, said)
        remediating.finish_remediation(self.service, claim, proposal_id, said, state, reason)

    def verify(self, proposal_id: str) -> None:
        claim = remediating.start_verification(self.service, proposal_id, self.worker)
        assert claim is not None
        said = diagnosing.Said()
        self._cells(claim, said)
        remediating.finish_verification(self.service, claim, said, "")

    def mend(self, proposal_id: str) -> None:
        """Everything after the approval, as it goes well."""
        self.recheck(proposal_id)
        self.remediate(proposal_id)
        self.verify(proposal_id)

    def _cells(self, claim: diagnosing.Claim, said: diagnosing.Said, without: tuple[str, ...] = ()) -> None:
        for cell in claim.cells:
            now = datetime.now(UTC)
            outputs = [] if cell.id in without else told_by(cell.id)
            ended = now + timedelta(milliseconds=120)
            record_cells(self.service, claim, [CellTold(cell.id, CellState.OK, now, ended, tuple(outputs), 1)], said)

    def sign_in(self, person: Person) -> tuple[str, str]:
        """Cookie and CSRF token of a fresh session."""
        secret, session = people.sign_in(self.service, person, {"surface": "web", "auth_time": int(time.time())})
        return secret, session.csrf


def until(what: Any, seconds: float = 10.0) -> Iterator[None]:
    """Look again and again until `what()` is true; the caller's loop does the looking."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, f"it did not come about in {seconds:.0f} s"
        yield
