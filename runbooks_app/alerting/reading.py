"""From the alerts file and the catalogue to values: every problem is named with its mend."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import rfc8785

from runbooks_app.core import durations
from runbooks_app.core.addresses import http_address
from runbooks_app.core.alerts import PLACE, WEEK, Budget, Maintenance, Rule
from runbooks_app.core.audit import canonical
from runbooks_app.core.errors import InvalidInput, Misconfigured, Problem
from runbooks_app.core.tables import Table

Read = TypeVar("Read")

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", re.ASCII)
CHANNEL = re.compile(r"[CG][A-Z0-9]{1,39}", re.ASCII)
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
WEEKLY = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

KINDS: Mapping[str, tuple[str, ...]] = {
    "alertmanager": ("token_file",),
    "grafana": ("token_file", "secret_file", "timestamp_header"),
    "pagerduty": ("secret_files",),
    "json": ("secret_file",),
}
"""How each kind of source proves itself: by a bearer token, or by a signature with a secret."""

LEAST_SECRET = 16
"""Characters of a secret; a shorter one can be guessed."""


@dataclass(frozen=True)
class Source:
    """Who sends alerts to `/alerts/<name>`, and the files with what proves it; several while a secret is changed.

    With `timestamp_header` (Grafana's; it has no default there) the time is signed along and must be recent.
    """

    name: str
    kind: str
    files: tuple[Path, ...]
    bearer: bool = False
    timestamp_header: str = ""


@dataclass(frozen=True)
class Alerting:
    """All that is known of alerts: no secret is in it."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    budget: Budget = Budget()  # noqa: RUF009 - frozen itself
    maintenance: tuple[Maintenance, ...] = ()
    catalogue: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


EMPTY = Alerting()
"""No alerts are taken."""


def read_alerting(alerts: Path | None, catalogue: Path | None) -> Alerting:
    """What both files say; None for one that there is not. Raises `Misconfigured` with every problem."""
    services = _read(catalogue, "catalogue", "CATALOGUE", _catalogue) if catalogue else {}
    return _read(alerts, "alerts file", "ALERTS", partial(_alerts, services)) if alerts else EMPTY


def read_secrets(alerting: Alerting) -> dict[str, tuple[str, ...]]:
    """What proves each source, by its name. Raises `Misconfigured` with every file that will not do."""
    problems: list[Problem] = []
    found = {}
    for source in alerting.sources.values():
        where = f"source.{source.name}"
        found[source.name] = tuple(_secret(where, path, problems) for path in source.files)
    if problems:
        raise Misconfigured("The secrets of those who send alerts cannot be used.", problems=tuple(problems))
    return found


def _secret(where: str, path: Path, problems: list[Problem]) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8"
        problems.append(Problem(where, f"{path.name} cannot be read ({why}).", "Put the secret there, of mode 0600."))
        return ""
    if len(value) < LEAST_SECRET:
        mend = f"Make another: head -c 32 /dev/urandom | base64 > {path.name}"
        problems.append(Problem(where, f"{path.name} holds fewer than {LEAST_SECRET} characters.", mend))
    return value


def _read(path: Path, what: str, setting: str, reader: Callable[[dict[str, Any], Path, list[Problem]], Read]) -> Read:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        mend = f"Name an existing file by the setting RUNBOOKS_{setting}."
        raise Misconfigured(f"The {what} {path} cannot be read: {error.strerror}. {mend}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The {what} {path} is no TOML: {error}.") from None
    problems: list[Problem] = []
    found = reader(document, path.parent, problems)
    if problems:
        raise Misconfigured(f"The {what} {path} cannot be used.", problems=tuple(problems))
    return found


def _catalogue(document: dict[str, Any], _folder: Path, problems: list[Problem]) -> Mapping[str, Mapping[str, Any]]:
    for name, entry in document.items():
        table = Table(name, entry, problems)
        for key, value in table.fields.items():
            if not LABEL.fullmatch(key):
                table.wrong(key, "cannot be named by a rule.", "Use letters, digits, hyphens and underscores.")
            if key == "owners":
                table.texts(key, (), "team-orders")
            elif key == "dashboards":
                inner = table.inner(key)
                for title in inner.fields:
                    if http_address(inner.text(title)) is None:
                        inner.wrong(title, "is no http or https address.", "Write the dashboard's address.")
            elif not _is_plain(value):
                table.wrong(key, "must be a text, a number, true, false, or a list of these.")
    return document


def _alerts(
    catalogue: Mapping[str, Mapping[str, Any]], document: dict[str, Any], folder: Path, problems: list[Problem]
) -> Alerting:
    Table("the file", document, problems).only(("source", "rule", "budget", "maintenance"))
    sources = Table("source", document.get("source", {}), problems)
    if not sources.fields:
        sources.wrong("", "is missing: nobody may send alerts.", 'Write [source.prod] with kind = "alertmanager".')
    budget = Table("budget", document.get("budget", {}), problems)
    budget.only(("runs", "per"))
    rules = tuple(_rule(table, catalogue, tuple(sources.fields)) for table in _list("rule", document, problems))
    if not document.get("rule"):
        problems.append(Problem("rule", "is missing: no alert would run anything.", "Write [[rule]] with a match."))
    windows = tuple(_maintenance(table) for table in _list("maintenance", document, problems))
    for kind, named in (("rule", rules), ("maintenance", windows)):
        names = [item.name for item in named]
        problems += [
            Problem(f"{kind} {name!r}", "stands there twice.", "Names tell them apart.")
            for name in sorted({name for name in names if name and names.count(name) > 1})
        ]
    return Alerting(
        sources={
            name: _source(Table(f"source.{name}", entry, problems), name, folder)
            for name, entry in sources.fields.items()
        },
        rules=rules,
        budget=Budget(budget.number("runs", 10, 0, 10_000), _span(budget, "per", 600)),
        maintenance=windows,
        catalogue=catalogue,
    )


def _list(kind: str, document: Mapping[str, Any], problems: list[Problem]) -> list[Table]:
    entries = document.get(kind, [])
    if not isinstance(entries, list):
        problems.append(Problem(kind, "must be a list of tables.", f"Write [[{kind}]], with two brackets."))
        return []
    named = [entry.get("name") if isinstance(entry, Mapping) else None for entry in entries]
    return [
        Table(f"{kind} {name!r}" if isinstance(name, str) else f"{kind} {number}", entry, problems)
        for number, (name, entry) in enumerate(zip(named, entries, strict=True), 1)
    ]


def _source(table: Table, name: str, folder: Path) -> Source:
    if not NAME.fullmatch(name):
        table.wrong("", "is no name for a source.", "Use small letters, digits and hyphens, a letter first.")
    kind = table.choice("kind", tuple(KINDS))
    if not kind:
        return Source(name, "", ())
    ways = [key for key in KINDS[kind] if "_file" in key]
    table.only(("kind", *KINDS[kind]))
    given = [key for key in ways if key in table.fields]
    if len(given) != 1:
        what = "is missing: anybody could send alerts." if not given else "is one way to prove it; another is given."
        table.wrong(ways[-1], what, f"Name a file of mode 0600 by {' or '.join(ways)}.")
        return Source(name, kind, ())
    if given[0] == "secret_files":
        files = table.texts("secret_files", (), "pagerduty.secret")
    else:
        files = (table.text(given[0], fix="Name a file of mode 0600."),)
    header = table.text("timestamp_header", "-")
    if header == "-":
        header = ""
    elif given[0] == "token_file" or not HEADER.fullmatch(header):
        table.wrong("timestamp_header", "is no header that is signed along.", "Name Grafana's, beside a secret_file.")
    return Source(name, kind, tuple(folder.absolute() / file for file in files), given[0] == "token_file", header)


def _rule(table: Table, catalogue: Mapping[str, Mapping[str, Any]], sources: tuple[str, ...]) -> Rule:
    table.only(("name", "source", "match", "runbook", "channel", "window", "budget", "parameters"))
    channel = table.text("channel", "-")
    if channel != "-" and not CHANNEL.fullmatch(channel):
        table.wrong("channel", "is no channel's id.", "Write it as in C0123ABCD: ids stay when names change.")
    given = table.inner("parameters").fields if "parameters" in table.fields else {}
    # Dates are TOML's own; parameters take them as text.
    parameters = {key: value.isoformat() if isinstance(value, date) else value for key, value in given.items()}
    for key, value in parameters.items():
        if not _is_plain(value):
            table.wrong(f"parameters.{key}", "must be a text, a number, true, false, or a list of these.")
        elif isinstance(value, str):
            _place(table, f"parameters.{key}", value, catalogue)
    return Rule(
        name=table.text("name", fix="Name the rule: people read it when it runs something."),
        match=_match(table),
        runbook=table.text("runbook", fix="Name the runbook that diagnoses this."),
        channel="" if channel == "-" else channel,
        window=_span(table, "window", 1800),
        budget=table.number("budget", 0, 0, 10_000) if "budget" in table.fields else None,
        parameters=parameters,
        source=table.choice("source", sources) if "source" in table.fields else "",
    )


def _is_plain(value: Any) -> bool:
    """Whether JSON can say it, and it is no table."""
    if isinstance(value, list):
        return all(_is_plain(item) and not isinstance(item, list) for item in value)
    try:
        return isinstance(value, str | int | float) and bool(canonical(value))
    except rfc8785.CanonicalizationError:  # no number, or beyond all bounds
        return False


def _place(table: Table, key: str, value: str, catalogue: Mapping[str, Mapping[str, Any]]) -> None:
    """Note braces that are no place, and places that no entry of the catalogue could fill."""
    rest = PLACE.sub("", value)
    if "{" in rest or "}" in rest:
        mend = 'Write places as in "{labels.instance}" or "{service.postgres}".'
        table.wrong(key, f"holds braces that are no place: {value[:60]!r}.", mend)
    for kind, name in PLACE.findall(value):
        if kind == "service" and not any(name in entry for entry in catalogue.values()):
            mend = f"Write {name} below its services, in the file that RUNBOOKS_CATALOGUE names."
            table.wrong(key, f"wants {name}, which the catalogue has of no service.", mend)


def _match(table: Table) -> dict[str, str]:
    match = table.inner("match") if "match" in table.fields else Table(f"{table.where}.match", {}, table.problems)
    if not match.fields:
        match.wrong("", "is missing: it would take every alert.", 'Write match = { alertname = "*" } if that is meant.')
    found = {}
    for label, wanted in match.fields.items():
        if not LABEL.fullmatch(label) or not isinstance(wanted, str):
            match.wrong(label, "must be a label and the text that it has.", 'Write it as in alertname = "Database*".')
        else:
            found[label] = wanted
    return found


def _maintenance(table: Table) -> Maintenance:
    table.only(("name", "match", "from", "until", "weekly", "zone"))
    name, match = table.text("name", fix="Name the window: people read why nothing ran."), _match(table)
    if "weekly" in table.fields:
        if {"from", "until"} & table.fields.keys():
            table.wrong("weekly", "stands beside from or until.", "Write two windows.")
        return Maintenance(name, match, weekly=_weekly(table), zone=_zone(table))
    begin, end = _moment(table, "from"), _moment(table, "until")
    if "zone" in table.fields:
        table.wrong("zone", "goes with weekly alone.", "Write the zone behind the time, as in 02:00:00+01:00.")
    if end is None:
        table.wrong("until", "is missing: it would never end.", 'Write until or weekly = "Sun 02:00-04:00".')
    elif begin is not None and begin >= end:
        table.wrong("until", "is before from.")
    return Maintenance(name, match, begin, end)


def _moment(table: Table, key: str) -> datetime | None:
    value = table.fields.get(key)
    if value is None:
        return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        table.wrong(key, "must be a time with its zone, without quotes.", f"Write {key} = 2026-01-31T02:00:00Z.")
        return datetime(1, 1, 1, tzinfo=UTC) if key == "from" else datetime(9999, 1, 1, tzinfo=UTC)
    return value


def _weekly(table: Table) -> tuple[int, int]:
    found = WEEKLY.fullmatch(str(table.fields["weekly"]))
    if found is None:
        table.wrong("weekly", "is no time of the week.", 'Write it as in "Sun 02:00-04:00".')
        return 0, 1
    day, *times = found.groups()
    hour, minute, until_hour, until_minute = map(int, times)
    length = (until_hour * 60 + until_minute - hour * 60 - minute) % 1440 or 1440
    return (DAYS.index(day) * 1440 + hour * 60 + minute) % WEEK, length


def _zone(table: Table) -> ZoneInfo:
    name = table.text("zone", fix='Write the zone whose clocks count, as in zone = "Europe/Berlin".')
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):  # what it raises for a name that is a folder or leads elsewhere
        table.wrong("zone", "is no time zone.", 'Write it as in zone = "Europe/Berlin".')
        return ZoneInfo("UTC")


def _span(table: Table, key: str, default: int) -> int:
    if key not in table.fields:
        return default
    try:
        return durations.parse(table.fields[key])
    except InvalidInput as error:
        table.wrong(key, error.message)
        return default
