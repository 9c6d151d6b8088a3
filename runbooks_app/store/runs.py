"""Runs, their attempts, cells and findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from runbooks_app.core.errors import Conflict, NotFound
from runbooks_app.core.run import ENDED, CellState, RunState
from runbooks_app.store import cursors
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Attempt, Cell, CellOutline, Finding, Run


@dataclass(frozen=True)
class PlannedCell:
    """A cell that an attempt is going to execute."""

    cell_id: str
    stage: str
    source: str


TIMES = ("started_at", "ended_at")


@dataclass(frozen=True)
class RecordedCell:
    """How a cell stands, with its row's columns; `outputs` are empty where an `artifact` holds them."""

    cell_id: str
    state: str
    outputs: list[dict[str, Any]]
    artifact: str
    execution_count: int | None
    started_at: datetime | None
    ended_at: datetime | None
    reason: str
    whole: dict[str, Any] | None = None


def insert(tx: Transaction, run: dict[str, Any]) -> None:
    """Write a new run; `run` holds its columns."""
    columns = ", ".join(run)
    tx.execute(f"INSERT INTO runs ({columns}) VALUES ({', '.join(':' + c for c in run)})", **run)


def get(tx: Transaction, run_id: str, *, lock: bool = False) -> Run:
    """The run, or `NotFound`; `lock` holds its row until commit.

    Rows that refer to it, such as those of runs that repeat it, may be written meanwhile (hence NO KEY): who writes
    them holds an incident, for which who holds the run waits.
    """
    row = tx.execute(f"SELECT * FROM runs WHERE id = :id {'FOR NO KEY UPDATE' if lock else ''}", id=run_id).first()
    if row is None:
        raise NotFound(f"There is no run {run_id[:40]!r}.")
    return Run.of(row)


def those(tx: Transaction, run_ids: Iterable[str]) -> list[Run]:
    """These runs, those of them that are there."""
    rows = tx.execute(
        "SELECT * FROM runs WHERE id = ANY(ARRAY(SELECT jsonb_array_elements_text(:ids)))", ids=sorted(set(run_ids))
    )
    return Run.every(rows)


def told_in(tx: Transaction, channel: str, ts: str) -> Run | None:
    """The run that a message of ours tells of, or whose thread it begins."""
    row = tx.execute(
        """SELECT r.* FROM chat_messages m JOIN runs r ON m.about LIKE 'run:%' AND r.id = split_part(m.about, ':', 2)
           WHERE m.channel = :channel AND m.ts = :ts AND m.ts <> ''""",
        channel=channel,
        ts=ts,
    ).first()
    return Run.of(row) if row else None


def move(tx: Transaction, run: Run, to: RunState, **changes: Any) -> None:
    """Change the state, guarded by the state that was read, with other columns along; an ended run has its time."""
    sets = "".join(f", {name} = :{name}" for name in changes) + f", ended_at = {'now()' if to in ENDED else 'NULL'}"
    tx.moved(
        f"Run {run.id}",
        f"UPDATE runs SET state = :to{sets} WHERE id = :id AND state = :was",
        id=run.id,
        to=str(to),
        was=str(run.state),
        **changes,
    )


def recent(
    tx: Transaction, *, runbook: str = "", incident_id: int | None = None, before: str = "", limit: int = 50
) -> list[Run]:
    """Diagnoses, newest first; `before` is the id of the last one seen; refused if there is none such.

    Only what is asked for stands in the statement: an index then finds the place to go on from among a million runs.
    """
    conditions: dict[str, tuple[str, Any]] = {}
    if runbook:
        conditions["runbook"] = "runbook = :runbook", runbook
    if incident_id is not None:
        conditions["incident"] = "incident_id = :incident", incident_id
    if before:
        cursors.known(tx, "runs", before)
        after = "(requested_at, id) < (SELECT requested_at, id FROM runs WHERE id = :before)"
        conditions["before"] = after, before
    rows = tx.execute(
        f"""SELECT * FROM runs WHERE {" AND ".join(["purpose = 'diagnosis'", *(c for c, _ in conditions.values())])}
            ORDER BY requested_at DESC, id DESC LIMIT :limit""",
        **{name: value for name, (_, value) in conditions.items()},
        limit=limit,
    )
    return Run.every(rows)


def going(tx: Transaction) -> list[Run]:
    """Diagnoses that are queued or running, oldest first."""
    rows = tx.execute(
        """SELECT * FROM runs WHERE state IN ('queued', 'diagnosing') AND purpose = 'diagnosis'
           ORDER BY requested_at LIMIT 100"""
    )
    return Run.every(rows)


def open_attempt(
    tx: Transaction,
    run_id: str,
    stage: str,
    worker: str,
    lease: int,
    proposal_id: str | None = None,
    target: str | None = None,
) -> Attempt:
    """Start the next attempt; `lease` is in seconds. The unique indexes let a remediation start only once."""
    row = tx.execute(
        """
        INSERT INTO attempts (run_id, stage, proposal_id, target, number, worker, lease_until)
        SELECT :run_id, :stage, :proposal_id, :target,
               1 + coalesce(max(number), 0), :worker, now() + make_interval(secs => :lease)
        FROM attempts WHERE run_id = :run_id AND stage = :stage AND proposal_id IS NOT DISTINCT FROM :proposal_id
        RETURNING *
        """,
        run_id=run_id,
        stage=stage,
        proposal_id=proposal_id,
        target=target,
        worker=worker,
        lease=lease,
    ).one()
    return Attempt.of(row)


def end_attempt(tx: Transaction, attempt_id: int) -> None:
    """End a going attempt; `Conflict` if another has fenced it off already."""
    tx.moved(
        "The attempt",
        "UPDATE attempts SET ended_at = now() WHERE id = :id AND ended_at IS NULL",
        id=attempt_id,
    )


def attempts(tx: Transaction, *run_ids: str) -> list[Attempt]:
    """All attempts of a run, or of several, in order."""
    rows = tx.execute(
        "SELECT * FROM attempts WHERE run_id = ANY(ARRAY(SELECT jsonb_array_elements_text(:ids))) ORDER BY id",
        ids=list(run_ids),
    )
    return Attempt.every(rows)


def renew_leases(tx: Transaction, worker: str, held: Iterable[int], lease: int) -> tuple[set[int], set[int]]:
    """Keep held attempts alive: ids that are still the worker's own, and those whose run is to be cancelled."""
    rows = tx.execute(
        """
        UPDATE attempts a SET lease_until = now() + make_interval(secs => :lease)
        FROM runs r WHERE r.id = a.run_id AND a.worker = :worker AND a.ended_at IS NULL
          AND a.id = ANY(CAST(:held AS bigint[]))
        RETURNING a.id, r.cancel_requested_at IS NOT NULL AND a.stage = 'diagnose' AS cancel
        """,
        worker=worker,
        held="{" + ",".join(map(str, held)) + "}",
        lease=lease,
    ).all()
    return {row.id for row in rows}, {row.id for row in rows if row.cancel}


def lapsed(tx: Transaction) -> Attempt | None:
    """An attempt whose worker no longer renews the lease, locked; what another sweep holds is passed over."""
    row = tx.execute(
        """SELECT * FROM attempts WHERE ended_at IS NULL AND lease_until < now()
           ORDER BY lease_until LIMIT 1 FOR UPDATE SKIP LOCKED"""
    ).first()
    return Attempt.of(row) if row else None


def plan_cells(tx: Transaction, attempt_id: int, cells: Iterable[PlannedCell]) -> None:
    """Write the cells that an attempt will execute, all waiting."""
    tx.execute(
        """INSERT INTO cells (attempt_id, cell_id, position, stage, source, state)
           SELECT :attempt, cell_id, position, stage, source, 'waiting'
           FROM jsonb_to_recordset(:cells) AS planned (cell_id text, position integer, stage text, source text)""",
        attempt=attempt_id,
        cells=[asdict(cell) | {"position": position} for position, cell in enumerate(cells)],
    )


def record_cells(tx: Transaction, attempt_id: int, cells: Sequence[RecordedCell]) -> None:
    """Write how cells of a going attempt stand; `Conflict` if the attempt was fenced off."""
    if not cells:
        return
    written = tx.execute(
        """UPDATE cells SET state = told.state, outputs = told.outputs, artifact = told.artifact,
             execution_count = told.execution_count, started_at = told.started_at, ended_at = told.ended_at,
             reason = told.reason, whole = told.whole
           FROM jsonb_to_recordset(:told) AS told (cell_id text, state text, outputs jsonb, artifact text,
             execution_count integer, started_at timestamptz, ended_at timestamptz, reason text,
             whole jsonb)
           WHERE cells.attempt_id = :attempt AND cells.cell_id = told.cell_id
             AND EXISTS (SELECT FROM attempts WHERE id = :attempt AND ended_at IS NULL)""",
        attempt=attempt_id,
        told=[
            vars(cell) | {at: time.isoformat() if (time := getattr(cell, at)) else None for at in TIMES}
            for cell in cells
        ],
    )
    if written.rowcount != len(cells):
        raise Conflict(f"Cells of attempt {attempt_id} have moved on in the meantime; look at them again.")


def update_outputs(
    tx: Transaction, attempt_id: int, cell_id: str, outputs: list[dict[str, Any]], artifact: str
) -> None:
    """Show other outputs for a cell of a going attempt that has ended; `Conflict` if the attempt was fenced off."""
    tx.moved(
        f"Cell {cell_id}",
        """UPDATE cells SET outputs = :outputs, artifact = :artifact, updates = updates + 1
           WHERE attempt_id = :attempt AND cell_id = :cell AND state NOT IN ('waiting', 'running')
             AND EXISTS (SELECT FROM attempts WHERE id = :attempt AND ended_at IS NULL)""",
        attempt=attempt_id,
        cell=cell_id,
        outputs=outputs,
        artifact=artifact,
    )


def cells(tx: Transaction, attempt_id: int) -> list[Cell]:
    """Cells of an attempt in order."""
    rows = tx.execute("SELECT * FROM cells WHERE attempt_id = :id ORDER BY position", id=attempt_id)
    return Cell.every(rows)


def cells_named(tx: Transaction, attempt_id: int, cell_ids: Iterable[str]) -> dict[str, Cell]:
    """Those of an attempt's cells, by their ids."""
    rows = tx.execute(
        """SELECT * FROM cells
           WHERE attempt_id = :id AND cell_id = ANY(ARRAY(SELECT jsonb_array_elements_text(:named)))""",
        id=attempt_id,
        named=list(cell_ids),
    )
    return {row.cell_id: Cell.of(row) for row in rows}


def outlines(tx: Transaction, attempt_id: int) -> list[tuple[CellOutline, int]]:
    """Cells of an attempt in order, without what they printed: how many bytes of it are stored; -1 as an artifact.

    Sizes are taken where the bytes lie: a hundred megabytes of outputs are not read for them.
    """
    rows = tx.execute(
        """SELECT attempt_id, cell_id, position, stage, state, reason, started_at, ended_at, updates, whole,
             CASE artifact WHEN '' THEN pg_column_size(outputs) ELSE -1 END AS stored
           FROM cells WHERE attempt_id = :id ORDER BY position""",
        id=attempt_id,
    )
    return [(CellOutline.of(row), row.stored) for row in rows]


def illustrated(tx: Transaction, attempt_id: int) -> list[str]:
    """Ids of an attempt's cells that may show an image: what lies in an artifact is not looked into."""
    rows = tx.execute(
        """SELECT cell_id FROM cells
           WHERE attempt_id = :id AND (artifact <> '' OR jsonb_path_exists(outputs, '$[*].data."image/png"'))""",
        id=attempt_id,
    )
    return list(rows.scalars())


def cell(tx: Transaction, run_id: str, attempt_id: int, cell_id: str) -> Cell:
    """One cell of one of the run's attempts, or `NotFound`."""
    row = tx.execute(
        """SELECT c.* FROM cells c JOIN attempts a ON a.id = c.attempt_id
           WHERE a.run_id = :run AND a.id = :attempt AND c.cell_id = :cell""",
        run=run_id,
        attempt=attempt_id,
        cell=cell_id,
    ).first()
    if row is None:
        raise NotFound(f"Run {run_id[:40]} has no such cell.")
    return Cell.of(row)


def rechecks(tx: Transaction, proposal_id: str) -> list[Run]:
    """The runs that checked a proposal again, in order."""
    rows = tx.execute(
        "SELECT * FROM runs WHERE proposal_id = :id AND purpose = 'recheck' ORDER BY requested_at", id=proposal_id
    )
    return Run.every(rows)


def ended_cells(tx: Transaction, attempt_id: int, running: CellState, reason: str) -> list[tuple[str, CellState]]:
    """Stage and state of each cell, in order, of an attempt that has ended: those that had not are closed first."""
    select = "SELECT stage, state FROM cells WHERE attempt_id = :id ORDER BY position"
    found = [(row.stage, CellState(row.state)) for row in tx.execute(select, id=attempt_id)]
    if any(state in {CellState.WAITING, CellState.RUNNING} for _, state in found):
        close_cells(tx, attempt_id, str(running), reason)
        found = [(row.stage, CellState(row.state)) for row in tx.execute(select, id=attempt_id)]
    return found


def close_cells(tx: Transaction, attempt_id: int, running: str, reason: str) -> None:
    """Tell what became of the cells of an attempt that ended early: what ran became `running`, the rest never ran."""
    tx.execute(
        """UPDATE cells SET reason = :reason, ended_at = now(),
             state = CASE state WHEN 'running' THEN :running ELSE 'never_ran' END
           WHERE attempt_id = :id AND state IN ('waiting', 'running')""",
        id=attempt_id,
        running=running,
        reason=reason,
    )


def add_finding(tx: Transaction, finding: dict[str, Any]) -> int:
    """Store a finding; its id."""
    return int(
        tx.execute(
            """INSERT INTO findings (run_id, attempt_id, cell_id, severity, summary, evidence)
               VALUES (:run_id, :attempt_id, :cell_id, :severity, :summary, CAST(:evidence AS jsonb)) RETURNING id""",
            **finding,
        ).scalar_one()
    )


def findings(tx: Transaction, *run_ids: str) -> list[Finding]:
    """Findings of a run's diagnosis and verifications, or of several runs' by their latest attempts, worst first."""
    rows = tx.execute(
        """
        SELECT f.* FROM findings f JOIN attempts a ON a.id = f.attempt_id
        WHERE f.run_id = ANY(ARRAY(SELECT jsonb_array_elements_text(:ids)))
          AND a.number = (SELECT max(number) FROM attempts b WHERE b.run_id = a.run_id
            AND b.stage = a.stage AND b.proposal_id IS NOT DISTINCT FROM a.proposal_id)
        ORDER BY array_position(ARRAY['critical', 'warning', 'info'], f.severity), f.id
        """,
        ids=list(run_ids),
    )
    return Finding.every(rows)
