"""Taking alerts: each delivery in one transaction, so that what was answered with 200 is written, and once.

A group of alerts opens an incident of its own, or goes on with the one it opened while that is open. Where it asks for
the same run as a moment ago, or as one that still goes, it joins that. What is beyond the budget runs nothing, and
neither does what a rule cannot be filled from: both are told in one line of the channel that counts them. Nothing is
caught up later: what still fires is told again by its sender and is looked at anew then.

An alert is nobody's request: no human is behind its runs, it may diagnose where a connection lets it, and nothing else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from runbooks_app.actions import incidents, running
from runbooks_app.actions.context import TIMER, Service
from runbooks_app.actions.telling import tell
from runbooks_app.core.alerts import (
    FIRING,
    OVER_BUDGET,
    RESOLVED,
    Held,
    Incoming,
    Lacking,
    Outcome,
    Rule,
    Run,
    judge,
    repeats,
    spent,
)
from runbooks_app.core.audit import Event, canonical
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.people import ALERT, Actor
from runbooks_app.core.wording import one_line
from runbooks_app.store import alerts, people
from runbooks_app.store.database import Transaction, transaction
from runbooks_app.store.incidents import keep_still

QUIET = 600
"""Seconds without another held alert after which a storm is over."""

KEPT = 30
"""Days that alerts are kept for which there is no incident."""

NAMED = 20
"""Names of alerts in an entry; it counts them all, and has the fingerprint of each."""

_HELD = {Outcome.STORM, Outcome.REFUSED}
_RAN = {Outcome.RUN, Outcome.JOINED}


@dataclass(frozen=True)
class Became:
    """What became of an alert, with the rule that it met and where it is told, if anywhere."""

    outcome: Outcome
    rule: str = ""
    why: str = ""
    incident_id: int | None = None
    run_id: str | None = None
    channel: str = ""


Pairs = list[tuple[Incoming, Became]]


def receive(
    service: Service, source: str, incoming: Iterable[Incoming], *, delivery: str = "", cut: int = 0
) -> tuple[Became, ...]:
    """Take a source's alerts, in order; what became of each. `cut` more were not read.

    `delivery` is the key of this very delivery, where there is one: a copy changes nothing and gives nothing. Raises
    `DatabaseAway` where nothing could be written: the sender tries again.
    """
    with transaction(service.engine) as tx:
        keep_still(tx)
        alerts.lock(tx, f"source:{source}")
        if delivery and not people.first_delivery(tx, f"alerts:{source}:{delivery}"):
            return ()
        return _Taking(tx, service, source, cut).take(tuple(incoming))


def end_storms(service: Service) -> int:
    """End the lines of held alerts to which nothing was added for a while; how many."""
    with transaction(service.engine) as tx:
        ended = alerts.end_quiet(tx, QUIET)
        for storm in ended:
            tx.audit(TIMER, Event.ALERTS_HELD, {"storm": storm.id}, _held_body(storm))
            tell(tx, f"storm:{storm.id}")
        return len(ended)


def forget(service: Service) -> int:
    """Forget alerts that belong to no incident and were not told for a month; how many."""
    with transaction(service.engine) as tx:
        return alerts.forget(tx, KEPT)


class _Taking:
    """One delivery while it is taken."""

    def __init__(self, tx: Transaction, service: Service, source: str, cut: int) -> None:
        self.tx, self.service, self.source, self.cut = tx, service, source, cut
        self.known: dict[tuple[str, Any], alerts.Seen] = {}
        self.incidents: dict[tuple[str, str], int | None] = {}

    def take(self, incoming: tuple[Incoming, ...]) -> tuple[Became, ...]:
        """Look at each, write all of them, and enter what is new."""
        # The last word about an alert counts, should a delivery name it twice.
        distinct = list({(alert.fingerprint, alert.starts_at): alert for alert in incoming}.values())
        if not distinct:
            return ()
        self.known = alerts.seen(self.tx, self.source, ((alert.fingerprint, alert.starts_at) for alert in distinct))
        over = [alert for alert in distinct if alert.status == RESOLVED]
        firing = [alert for alert in distinct if alert.status != RESOLVED]
        became = self._resolved(over) + self._late(firing)
        done = {(alert.fingerprint, alert.starts_at) for alert, _ in became}
        became += self._judged([a for a in firing if (a.fingerprint, a.starts_at) not in done])
        self._hold(became)
        self._enter(became)
        self._leave(became)
        alerts.write(self.tx, self.source, [_row(alert, what) for alert, what in became])
        by_alert = {(alert.fingerprint, alert.starts_at): what for alert, what in became}
        return tuple(by_alert[alert.fingerprint, alert.starts_at] for alert in distinct)

    def _was(self, alert: Incoming) -> alerts.Seen | None:
        return self.known.get((alert.fingerprint, alert.starts_at))

    def _resolved(self, over: list[Incoming]) -> Pairs:
        """What is over, whenever it began; what was never seen firing is written too, so that its begin comes late."""
        ended = alerts.resolve(self.tx, self.source, (alert.fingerprint for alert in over)) if over else []
        for incident in sorted({row.incident_id for row in ended if row.incident_id is not None}):
            rows = [row for row in ended if row.incident_id == incident]
            body = {
                "source": self.source,
                "rules": sorted({row.rule for row in rows}),
                "alerts": len(rows),
                "fingerprints": [row.fingerprint for row in rows],
            }
            self.tx.audit(self._actor(), Event.ALERT_RESOLVED, {"incident": incident}, body)
            for run_id in sorted({row.run_id for row in rows if row.run_id}):
                tell(self.tx, f"run:{run_id}")
        return [(alert, self._as_before(self._was(alert))) for alert in over]

    def _late(self, firing: list[Incoming]) -> Pairs:
        """Begins that come after their end, from senders who keep no order."""
        late = []
        for alert in firing:
            was = self._was(alert)
            if alert.event_id and was is not None and was.status == RESOLVED:
                late.append((replace(alert, status=RESOLVED), self._as_before(was)))
        return late

    def _judged(self, firing: list[Incoming]) -> Pairs:
        about, became = self.service.alerting, []
        asking: dict[tuple[str, str, str], list[tuple[Incoming, Run]]] = defaultdict(list)
        for alert in firing:
            found = judge(about.rules, about.catalogue, about.maintenance, alert, now=self.tx.now)
            if isinstance(found, Run):
                asking[found.rule.name, alert.group_key, canonical(found.parameters)].append((alert, found))
            elif isinstance(found, Held):
                became.append(
                    (alert, self._kept(alert, Outcome.MAINTENANCE, found.rule, f"maintenance: {found.window.name}"))
                )
            elif isinstance(found, Lacking):
                became.append((alert, self._kept(alert, Outcome.REFUSED, found.rule, found.why)))
            else:
                became.append((alert, replace(self._as_before(self._was(alert)), outcome=Outcome.UNMATCHED, why="")))
        for same in asking.values():
            became += self._asked([alert for alert, _ in same], same[0][1])
        return became

    def _asked(self, same: list[Incoming], found: Run) -> Pairs:
        """Alerts of one group that ask for the same run."""
        rule, group_key = found.rule, same[0].group_key
        try:
            usable = running.usable_by(self.service.connections, (ALERT,))
            asked = running.wanted(self.service, rule.runbook, found.parameters, usable)
        except RunbooksError as error:
            problems = "; ".join(map(str, error.problems))
            why = one_line(f"{error.message} {problems}".strip(), 300)
            return [(alert, self._kept(alert, Outcome.REFUSED, rule, why)) for alert in same]
        last = alerts.previous(
            self.tx,
            self.source,
            rule.name,
            group_key,
            (a.fingerprint for a in same),
            asked.runbook.name,
            asked.values,
            window=rule.window,
        )
        became: Pairs = []
        rest = []
        for alert in same:
            joins = last is not None and repeats(last.requested_at, rule.window, going=last.going, now=self.tx.now)
            # Whoever closed the incident is done with what fired then, and not with what begins afterwards.
            if last is None or not joins or (last.closed_at is not None and alert.starts_at > last.closed_at):
                rest.append(alert)
            else:
                became.append((alert, self._joined(alert, rule, last.incident_id, last.run_id)))
        if not rest:
            return became
        if self._spent(rule):
            return became + [(alert, self._kept(alert, Outcome.STORM, rule, OVER_BUDGET)) for alert in rest]
        first, channel = rest[0], rule.channel or self.service.settings.slack_channel
        actor = self._actor(rule, first)
        incident_id = self._incident(rule, group_key)
        if incident_id is None:
            incident_id = incidents.open_for_alert(self.tx, actor, first.summary, channel).id
            self.incidents[rule.name, group_key] = incident_id
        run = running.request(self.tx, self.service, actor, (), asked, channel=channel, incident_id=incident_id)
        became.append((first, Became(Outcome.RUN, rule.name, "", incident_id, run.id, channel)))
        return became + [(alert, self._joined(alert, rule, incident_id, run.id)) for alert in rest[1:]]

    def _spent(self, rule: Rule) -> bool:
        budget = self.service.alerting.budget  # of each source, whose deliveries are taken one at a time
        of_all, of_rule = alerts.started(self.tx, self.source, rule.name, budget.per)
        return spent(budget, rule, of_all=of_all, of_rule=of_rule)

    def _joined(self, alert: Incoming, rule: Rule, incident_id: int, run_id: str) -> Became:
        was = self._was(alert)
        began_it = was is not None and was.outcome == Outcome.RUN and was.run_id == run_id
        return Became(Outcome.RUN if began_it else Outcome.JOINED, rule.name, "", incident_id, run_id, rule.channel)

    def _kept(self, alert: Incoming, outcome: Outcome, rule: Rule, why: str) -> Became:
        """Nothing runs for it. It is told on the timeline of its own incident, else of one that its group has open."""
        was, incident_id = self._was(alert), self._incident(rule, alert.group_key)
        channel = rule.channel or self.service.settings.slack_channel
        if was is None or was.incident_id is None or (was.closed and incident_id is not None):
            return Became(outcome, rule.name, why, incident_id, None, channel)
        return Became(outcome, rule.name, why, was.incident_id, was.run_id, channel)

    def _incident(self, rule: Rule, group_key: str) -> int | None:
        """The open incident of a group."""
        if (rule.name, group_key) not in self.incidents:
            found = alerts.open_incident(self.tx, self.source, rule.name, group_key)
            self.incidents[rule.name, group_key] = found
        return self.incidents[rule.name, group_key]

    def _as_before(self, was: alerts.Seen | None) -> Became:
        if was is None:
            return Became(Outcome.RESOLVED)
        return Became(Outcome(was.outcome), was.rule, was.why, was.incident_id, was.run_id)

    def _actor(self, rule: Rule | None = None, alert: Incoming | None = None) -> Actor:
        told: dict[str, object] = {"surface": "alert", "source": self.source}
        if rule is not None:
            told["rule"] = rule.name
        return Actor(
            ALERT, f"{ALERT}:{self.source}", f"alert {alert.name}" if alert else f"alerts of {self.source}", told
        )

    def _enter(self, became: Pairs) -> None:
        """One entry for what each rule newly did for each run; what was told before is not entered again."""
        groups: dict[tuple[str, Outcome, int, str], list[Incoming]] = defaultdict(list)
        for alert, what in became:
            was = self._was(alert)
            again = was is not None and (was.status, was.outcome, was.run_id) == (FIRING, what.outcome, what.run_id)
            ran = alert.status == FIRING and what.outcome in _RAN
            if ran and not again and what.incident_id is not None and what.run_id is not None:
                groups[what.rule, what.outcome, what.incident_id, what.run_id].append(alert)
        for (rule, outcome, incident_id, run_id), of in sorted(groups.items()):
            body = {
                "source": self.source,
                "rule": rule,
                "outcome": str(outcome),
                "alerts": len(of),
                "names": sorted({alert.name for alert in of})[:NAMED],
                "fingerprints": [alert.fingerprint for alert in of],
                **({"cut": self.cut} if self.cut else {}),
            }
            objects = {"incident": incident_id, "run": run_id}
            self.tx.audit(self._actor(), Event.ALERT_RECEIVED, objects, body)

    def _leave(self, became: Pairs) -> None:
        """What belongs to another incident from now on stays on the timeline of the one that it belonged to."""
        known = [(self._was(alert), what) for alert, what in became]
        left = [was.id for was, what in known if was and was.incident_id and was.incident_id != what.incident_id]
        if left:
            alerts.leave(self.tx, left)

    def _hold(self, became: Pairs) -> None:
        """Count what is held, by channel and by maintenance window; an entry a minute for each."""
        fresh: dict[str, Counter[str]] = defaultdict(Counter)
        again: dict[str, Counter[str]] = defaultdict(Counter)
        windows: Counter[str] = Counter()
        for alert, what in became:
            if alert.status == RESOLVED:
                continue
            was = self._was(alert)
            if what.outcome in _HELD:
                known = was is not None and was.outcome in _HELD
                (again if known else fresh)[what.channel][f"{what.rule}: {what.why}"] += 1
            elif what.outcome is Outcome.MAINTENANCE:
                windows[what.why] += 1
        for channel in sorted({*fresh, *again}):
            storm, first = alerts.hold(self.tx, channel, fresh[channel], again[channel])
            if first:
                self.tx.audit(self._actor(), Event.ALERTS_HELD, {"storm": storm.id}, _held_body(storm))
            tell(self.tx, f"storm:{storm.id}", channel=channel)
        for window, count in sorted(windows.items()):
            if alerts.first_held_in_minute(self.tx, window):
                body = {"source": self.source, "maintenance": window, "held": count}
                self.tx.audit(self._actor(), Event.ALERTS_HELD, {}, body)


def _held_body(storm: alerts.Storm) -> dict[str, Any]:
    return {"channel": storm.channel, "held": storm.held, "rules": storm.rules}


def _row(alert: Incoming, became: Became) -> dict[str, Any]:
    return {
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at.isoformat(),
        "group_key": alert.group_key,
        "status": alert.status,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "link": alert.link,
        "rule": became.rule,
        "outcome": str(became.outcome),
        "why": became.why,
        "incident_id": became.incident_id,
        "run_id": became.run_id,
    }
