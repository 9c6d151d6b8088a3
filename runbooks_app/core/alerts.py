"""What an alert leads to: which rule it meets, what that runs with which parameters, and what holds it back.

A rule names labels and what they must say, exactly or with `*` for any letters. There are no regular expressions: what
stands in an alert's labels comes from whatever was monitored, and no pattern here can be made to take long. The first
rule that matches decides. Parameters are filled from labels and from the catalogue's entry of the alert's service, as
values and never as code; what an alert does not tell is not guessed: then nothing runs, and that is said.

Annotations fill nothing: they hold figures that change each time, and two deliveries of one alert must ask for the
same run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any

from runbooks_app.core.wording import one_line, quoted

FIRING, RESOLVED = "firing", "resolved"

SERVICE = "service"
"""The label that names an entry of the catalogue."""

PLACE = re.compile(r"\{(labels|service)\.([A-Za-z_][A-Za-z0-9_-]{0,62})\}", re.ASCII)
"""A place in a rule's parameter that an alert fills."""

OVER_BUDGET = "over the budget"
"""Why nothing ran for an alert that asks for nothing wrong."""

WEEK = 7 * 24 * 60
"""Minutes."""


class Outcome(StrEnum):
    """What became of an alert."""

    RUN = "run"
    JOINED = "joined"
    STORM = "storm"
    MAINTENANCE = "maintenance"
    UNMATCHED = "unmatched"
    REFUSED = "refused"
    RESOLVED = "resolved"


@dataclass(frozen=True)
class Incoming:
    """One alert as it came in. `labels` say what it is about and never change while it fires.

    `fingerprint` is the same for the same labels, `group_key` for all that the sender wants told as one. `event_id` is
    set where deliveries come in no order, each with an id of its own. `link` leads to where it came from.
    """

    source: str
    fingerprint: str
    status: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    group_key: str
    link: str = ""
    event_id: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return one_line(self.labels.get("alertname", "") or self.annotations.get("summary", "") or "Alert", 100)

    @property
    def summary(self) -> str:
        """One line about it: its name, and what it says of itself or is about."""
        said = self.annotations.get("summary") or self.annotations.get("description") or self.labels.get(SERVICE, "")
        return self.name if not said or said == self.name else f"{self.name}: {one_line(said, 180)}"


@dataclass(frozen=True)
class Rule:
    """Alerts with these labels run this runbook, and its message stands in this channel.

    `parameters` are values, or texts with places such as `{service.postgres}` and `{labels.window}`. Within `window`
    seconds of a run's start nothing runs again for the same. At most `budget` of its runs start by one source in the
    span of the whole budget; None: as many as that lets start. With `source` it takes the alerts of that one alone.
    """

    name: str
    match: Mapping[str, str]
    runbook: str
    channel: str = ""
    window: int = 1800
    budget: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def takes(self, incoming: Incoming) -> bool:
        """Whether it speaks of this alert."""
        return self.source in {"", incoming.source} and matches(self.match, incoming.labels)


@dataclass(frozen=True)
class Budget:
    """At most so many runs of one source's alerts start in so many seconds; what is beyond is a storm."""

    runs: int = 10
    per: int = 600


@dataclass(frozen=True)
class Maintenance:
    """Alerts with these labels run nothing at these times: from `begin` to `end`, or each week.

    `weekly` is the minute of the week (Monday 00:00 is 0, by the clocks of `zone`) at which it begins, and its length
    in minutes.
    """

    name: str
    match: Mapping[str, str]
    begin: datetime | None = None
    end: datetime | None = None
    weekly: tuple[int, int] | None = None
    zone: tzinfo | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is on."""
        if self.weekly is None:
            return (self.begin is None or self.begin <= now) and (self.end is None or now < self.end)
        there = now.astimezone(self.zone)
        begin, length = self.weekly
        return (there.weekday() * 1440 + there.hour * 60 + there.minute - begin) % WEEK < length


@dataclass(frozen=True)
class Run:
    """It is to be diagnosed by this rule, with these parameters, not validated yet."""

    rule: Rule
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Held:
    """A maintenance window holds it back. Nothing is caught up: what still fires runs when it is told again."""

    rule: Rule
    window: Maintenance


@dataclass(frozen=True)
class Lacking:
    """It meets a rule and lacks what that needs."""

    rule: Rule
    why: str


@dataclass(frozen=True)
class Unmatched:
    """No rule speaks of it."""


def judge(
    rules: Iterable[Rule],
    catalogue: Mapping[str, Mapping[str, Any]],
    maintenance: Iterable[Maintenance],
    incoming: Incoming,
    *,
    now: datetime,
) -> Run | Held | Lacking | Unmatched:
    """What a firing alert asks for, as far as it is seen from the alert alone; `now` has a zone."""
    rule = next((rule for rule in rules if rule.takes(incoming)), None)
    if rule is None:
        return Unmatched()
    for window in maintenance:
        if window.holds(now) and matches(window.match, incoming.labels):
            return Held(rule, window)
    parameters = {}
    for name, value in rule.parameters.items():
        filled, lacking = fill(value, incoming.labels, catalogue)
        if lacking:
            return Lacking(rule, f"{name}: {lacking}")
        parameters[name] = filled
    return Run(rule, parameters)


def matches(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether each of these labels is there and says what it must."""
    return all(name in labels and fits(pattern, labels[name]) for name, pattern in wanted.items())


def fits(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which each `*` stands for any letters, also none.

    Each piece between two stars is looked for once, from the left: that is enough, and takes no longer than the text.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    last = rest.pop()
    at, end = len(first), len(text) - len(last)
    if end < at or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in rest:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def fill(value: Any, labels: Mapping[str, str], catalogue: Mapping[str, Mapping[str, Any]]) -> tuple[Any, str]:
    """The value with its places filled, and what is lacking for it, if anything is.

    A text that is one place becomes what stands there, also a list. What is filled in is never read for places again.
    """
    if not isinstance(value, str):
        return value, ""
    lacking: list[str] = []

    def found(place: re.Match[str]) -> Any:
        kind, key = place.groups()
        if kind == "labels":
            if key not in labels:
                lacking.append(f"the alert has no label {key}.")
            return labels.get(key, "")
        name = labels.get(SERVICE)
        entry = catalogue.get(name or "")
        if name is None:
            lacking.append(f"the alert has no label {SERVICE}.")
        elif entry is None:
            lacking.append(f"the catalogue has no service {quoted(name)}.")
        elif key not in entry:
            lacking.append(f"the catalogue says no {key} of {name}.")
        else:
            return entry[key]
        return ""

    whole = PLACE.fullmatch(value)
    filled = found(whole) if whole else PLACE.sub(lambda place: str(found(place)), value)
    return filled, lacking[0] if lacking else ""


def repeats(requested_at: datetime | None, window: int, *, going: bool, now: datetime) -> bool:
    """Whether what was last run for the same, requested then, is answer enough: it goes on, or began a moment ago."""
    return requested_at is not None and (going or (now - requested_at).total_seconds() < window)


def spent(budget: Budget, rule: Rule, *, of_all: int, of_rule: int) -> bool:
    """Whether so many runs of a source's alerts, so many of them this rule's, have used the budget up."""
    return of_all >= budget.runs or (rule.budget is not None and of_rule >= rule.budget)
