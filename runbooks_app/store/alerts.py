"""Alerts that came in, and the line of those that are held back in a channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Record

MOST_REASONS = 30
"""Kinds of held alerts that one line counts apart; more of them are counted together."""

BEYOND = "others"

_CLOSED = "EXISTS (SELECT FROM incidents i WHERE i.id = a.incident_id AND i.closed_at IS NOT NULL) AS closed"


@dataclass(frozen=True)
class Seen(Record):
    """An alert as it stood when it was last told; `closed`: its incident is.

    It is known by source, fingerprint and `starts_at`. What it was for incidents before stands in rows that are `past`.
    """

    id: int
    fingerprint: str
    starts_at: datetime
    rule: str
    status: str
    outcome: str
    why: str
    incident_id: int | None
    run_id: str | None
    closed: bool


@dataclass(frozen=True)
class Previous(Record):
    """What was last run for the same: `going` where it has not ended; `closed_at` of its incident."""

    run_id: str
    requested_at: datetime
    going: bool
    incident_id: int
    closed_at: datetime | None


@dataclass(frozen=True)
class Behind(Record):
    """The alerts behind a run: how many, how many still fire, since when; the labels of the first."""

    count: int
    firing: int
    since: datetime
    resolved_at: datetime | None
    labels: dict[str, str]


@dataclass(frozen=True)
class Storm(Record):
    """Alerts of a channel for which nothing ran: how many, and of each kind."""

    id: int
    channel: str
    held: int
    rules: dict[str, int]
    began_at: datetime
    last_at: datetime
    ended_at: datetime | None


def lock(tx: Transaction, what: str) -> None:
    """One at a time until commit: the deliveries of a source, which spend its budget, the line of a channel."""
    tx.execute("SELECT pg_advisory_xact_lock(hashtextextended(:what, 7226103))", what=what)


def seen(
    tx: Transaction, source: str, those: Iterable[tuple[str, datetime]]
) -> dict[tuple[str, datetime], Seen]:  # fmt: skip
    """What is known of these alerts, each by its fingerprint and when it began."""
    rows = tx.execute(
        f"""SELECT a.*, {_CLOSED} FROM jsonb_to_recordset(:those) AS t (fingerprint text, starts_at timestamptz)
           JOIN alerts a ON a.source = :source AND a.fingerprint = t.fingerprint AND a.starts_at = t.starts_at
             AND NOT a.past""",
        source=source,
        those=[{"fingerprint": fingerprint, "starts_at": at.isoformat()} for fingerprint, at in those],
    )
    return {(row.fingerprint, row.starts_at): Seen.of(row) for row in rows}


def leave(tx: Transaction, ids: list[int]) -> None:
    """Leave these rows where they are: what is written of their alerts next has rows of its own."""
    past = "UPDATE alerts SET past = true WHERE id IN (SELECT CAST(jsonb_array_elements(:ids) AS bigint))"
    tx.execute(past, ids=ids)


def write(tx: Transaction, source: str, rows: list[dict[str, Any]]) -> None:
    """Write alerts, each once, with its columns; one that is known is told once more."""
    tx.execute(
        """INSERT INTO alerts (source, fingerprint, starts_at, rule, group_key, status, labels, annotations, link,
                               outcome, why, incident_id, run_id, resolved_at)
           SELECT :source, t.fingerprint, t.starts_at, t.rule, t.group_key, t.status, t.labels, t.annotations, t.link,
                  t.outcome, t.why, t.incident_id, t.run_id, CASE t.status WHEN 'resolved' THEN now() END
           FROM jsonb_to_recordset(:rows) AS t (fingerprint text, starts_at timestamptz, rule text, group_key text,
               status text, labels jsonb, annotations jsonb, link text, outcome text, why text, incident_id bigint,
               run_id text)
           ON CONFLICT (source, fingerprint, starts_at) WHERE NOT past DO UPDATE SET
               seen = alerts.seen + 1, last_at = now(), rule = excluded.rule, group_key = excluded.group_key,
               status = excluded.status, annotations = excluded.annotations, outcome = excluded.outcome,
               why = excluded.why, incident_id = excluded.incident_id, run_id = excluded.run_id,
               resolved_at = CASE excluded.status WHEN 'resolved' THEN coalesce(alerts.resolved_at, now()) END""",
        source=source,
        rows=rows,
    )


def resolve(tx: Transaction, source: str, fingerprints: Iterable[str]) -> list[Seen]:
    """Note that these are over, whenever they began; those that were not yet."""
    rows = tx.execute(
        f"""UPDATE alerts a SET status = 'resolved', resolved_at = now(), last_at = now()
           WHERE source = :source AND status = 'firing'
             AND fingerprint IN (SELECT jsonb_array_elements_text(:fingerprints)) RETURNING a.*, {_CLOSED}""",
        source=source,
        fingerprints=sorted(set(fingerprints)),
    )
    return sorted(Seen.every(rows), key=lambda row: row.id)


def previous(
    tx: Transaction,
    source: str,
    rule: str,
    group_key: str,
    fingerprints: Iterable[str],
    runbook: str,
    values: Any,
    *,
    window: int,
) -> Previous | None:
    """The latest run for this group, or for one of these alerts, by this rule and with the same parameters.

    Of those that go on or were asked for in the last `window` seconds: an alert was last told then or later, so however
    long its past is, only what was told since is looked at.
    """
    row = tx.execute(
        """SELECT r.id AS run_id, r.requested_at, r.state IN ('queued', 'diagnosing') AS going, r.incident_id,
                  i.closed_at
           FROM (SELECT run_id FROM alerts WHERE source = :source AND rule = :rule AND group_key = :group_key
                   AND last_at > now() - make_interval(secs => :window)
                 UNION SELECT run_id FROM alerts WHERE source = :source AND rule = :rule
                   AND fingerprint IN (SELECT jsonb_array_elements_text(:fingerprints))
                   AND last_at > now() - make_interval(secs => :window)
                 UNION SELECT a.run_id FROM runs g JOIN alerts a ON a.run_id = g.id
                   WHERE g.state IN ('queued', 'diagnosing') AND a.source = :source AND a.rule = :rule
                     AND (a.group_key = :group_key
                       OR a.fingerprint IN (SELECT jsonb_array_elements_text(:fingerprints)))) a
           JOIN runs r ON r.id = a.run_id JOIN incidents i ON i.id = r.incident_id
           WHERE r.runbook = :runbook AND r.parameters = :values
           ORDER BY r.requested_at DESC LIMIT 1""",
        source=source,
        rule=rule,
        group_key=group_key,
        fingerprints=sorted(set(fingerprints)),
        runbook=runbook,
        values=values,
        window=window,
    ).first()
    return Previous.of(row) if row else None


def of_run(tx: Transaction, incident_id: int, run_id: str) -> Behind | None:
    """The alerts that brought a run of this incident or joined it; None where there are none."""
    row = tx.execute(
        """SELECT count(*) AS count, count(*) FILTER (WHERE status = 'firing') AS firing, min(starts_at) AS since,
                  max(resolved_at) AS resolved_at, (array_agg(labels ORDER BY id))[1] AS labels
           FROM alerts WHERE incident_id = :incident AND run_id = :run""",
        incident=incident_id,
        run=run_id,
    ).one()
    found = Behind.of(row)
    return found if found.count else None


def open_incident(tx: Transaction, source: str, rule: str, group_key: str) -> int | None:
    """The open incident that this group opened, or that took it over."""
    found = tx.execute(
        """SELECT i.id FROM alerts a JOIN incidents i ON i.id = a.incident_id
           WHERE a.source = :source AND a.rule = :rule AND a.group_key = :group_key AND i.closed_at IS NULL
           ORDER BY a.last_at DESC, i.id DESC LIMIT 1""",
        source=source,
        rule=rule,
        group_key=group_key,
    )
    return found.scalar_one_or_none()


def started(tx: Transaction, source: str, rule: str, seconds: int) -> tuple[int, int]:
    """How many runs this source's alerts have started in these last seconds: all of them, and those of this rule."""
    row = tx.execute(
        """SELECT count(*) AS of_all, count(*) FILTER (WHERE requested_by -> 'signed_in' ->> 'rule' = :rule) AS of_rule
           FROM runs WHERE purpose = 'diagnosis' AND requested_at > now() - make_interval(secs => :seconds)
             AND requested_by ->> 'kind' = 'alert' AND requested_by -> 'signed_in' ->> 'source' = :source""",
        source=source,
        rule=rule,
        seconds=seconds,
    ).one()
    return row.of_all, row.of_rule


def hold(tx: Transaction, channel: str, fresh: Mapping[str, int], again: Mapping[str, int]) -> tuple[Storm, bool]:
    """Add held alerts, by what they are, to the channel's open line; it, and whether they are its first this minute.

    Those that were held before keep the line open and are counted once.
    """
    lock(tx, f"storm:{channel}")
    row = tx.execute(
        "SELECT *, date_trunc('minute', last_at) < date_trunc('minute', now()) AS later FROM alert_storms"
        " WHERE channel = :channel AND ended_at IS NULL FOR UPDATE",  # one that ends just now is not added to
        channel=channel,
    ).first()
    rules: dict[str, int] = dict(row.rules) if row else {}
    counted = fresh if row else Counter(fresh) + Counter(again)
    for what, count in counted.items():
        key = what if what in rules or len(rules) < MOST_REASONS else BEYOND
        rules[key] = rules.get(key, 0) + count
    held = sum(counted.values())
    if row is None:
        written = tx.execute(
            "INSERT INTO alert_storms (channel, held, rules) VALUES (:channel, :held, :rules) RETURNING *",
            channel=channel,
            held=held,
            rules=rules,
        ).one()
    else:
        written = tx.execute(
            "UPDATE alert_storms SET held = held + :held, rules = :rules, last_at = now() WHERE id = :id RETURNING *",
            id=row.id,
            held=held,
            rules=rules,
        ).one()
    return Storm.of(written), row is None or row.later


def storm(tx: Transaction, storm_id: int) -> Storm:
    """The line of held alerts."""
    return Storm.of(tx.execute("SELECT * FROM alert_storms WHERE id = :id", id=storm_id).one())


def end_quiet(tx: Transaction, seconds: int) -> list[Storm]:
    """End the lines to which nothing was added for these seconds."""
    rows = tx.execute(
        """UPDATE alert_storms SET ended_at = now()
           WHERE ended_at IS NULL AND last_at < now() - make_interval(secs => :seconds) RETURNING *""",
        seconds=seconds,
    )
    return Storm.every(rows)


def forget(tx: Transaction, days: int) -> int:
    """Delete what belongs to no incident and was not told for these days; how many."""
    return tx.execute(
        "DELETE FROM alerts WHERE incident_id IS NULL AND last_at < now() - make_interval(days => :days)", days=days
    ).rowcount


def first_held_in_minute(tx: Transaction, window: str) -> bool:
    """Whether a maintenance window holds its first alert of this minute; asked before it is written."""
    lock(tx, f"maintenance:{window}")
    found = tx.execute(
        """SELECT EXISTS (SELECT FROM alerts WHERE outcome = 'maintenance' AND why = :window
             AND last_at >= date_trunc('minute', now()))""",
        window=window,
    )
    return not found.scalar_one()
