"""From the file to groups and services: every problem is named with its mend."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

from runbooks_app.core import durations
from runbooks_app.core.addresses import http_address, keeps_secrets
from runbooks_app.core.errors import InvalidInput, Misconfigured, Problem
from runbooks_app.core.tables import Table
from runbooks_app.oncall.groups import Group, OnCall, PagingService
from runbooks_app.oncall.rota import Rota

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
EMAIL = re.compile(r"[^\s@<>\"',;]{1,64}@[^\s@<>\"',;]{1,190}")
"""As far as it has to be told from what is none."""

URLS = {"pagerduty": "https://api.pagerduty.com", "opsgenie": "https://api.opsgenie.com"}
"""Where each kind is, if nothing is said; both have another address for customers in the EU."""
EVENTS_URL = "https://events.pagerduty.com"
OPTIONS = {
    "pagerduty": ("kind", "url", "events_url", "token_file", "routing_key_file"),
    "opsgenie": ("kind", "url", "token_file", "team"),
}
PAGES_WITH = {"pagerduty": "routing_key_file", "opsgenie": "token_file"}
"""What each kind pages with; schedules are read with `token_file` by both."""

LEAST_SHIFT = durations.UNITS["h"]


def read_oncall(path: Path) -> OnCall:
    """What the file says; raises `Misconfigured` with every problem found."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        mend = "Name an existing file by the setting RUNBOOKS_ONCALL."
        raise Misconfigured(f"The on-call file {path} cannot be read: {error.strerror}. {mend}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The on-call file {path} is no TOML: {error}.") from None
    problems: list[Problem] = []
    top = Table(path.name, document, problems)
    top.only(("group", "service"))
    services = {table.where.partition(".")[2]: _service(table, path.parent) for table in _tables(top, "service")}
    groups = {table.where.partition(".")[2]: _group(table, services) for table in _tables(top, "group")}
    if problems:
        raise Misconfigured(f"The on-call file {path} cannot be used.", problems=tuple(problems))
    return OnCall(groups, services)


def _tables(top: Table, kind: str) -> list[Table]:
    held = Table(kind, top.fields.get(kind, {}), top.problems)
    tables = [Table(f"{kind}.{name}", fields, top.problems) for name, fields in held.fields.items()]
    for table in tables:
        if not NAME.fullmatch(table.where.partition(".")[2]):
            table.wrong("", f"is no name for a {kind}.", "Use small letters, digits, - and _, a letter first.")
    return tables


def _service(table: Table, folder: Path) -> PagingService:
    kind = table.choice("kind", tuple(URLS))
    name = table.where.partition(".")[2]
    if not kind:
        return PagingService(name, "", "")
    table.only(OPTIONS[kind])
    files = {key: _file(table, key, folder) for key in ("token_file", "routing_key_file")}
    if not any(files.values()):
        table.wrong(PAGES_WITH[kind], "is missing.", "Name a file of mode 0600 that holds it.")
    return PagingService(
        name,
        kind,
        _url(table, "url", URLS[kind]),
        events_url=_url(table, "events_url", EVENTS_URL) if kind == "pagerduty" else "",
        team=table.text("team") if "team" in table.fields else "",
        **files,
    )


def _file(table: Table, key: str, folder: Path) -> Path | None:
    if key not in table.fields:
        return None
    return folder.absolute() / table.text(key, fix="Name a file of mode 0600 that holds it.")


def _url(table: Table, key: str, default: str) -> str:
    url = table.text(key, default).rstrip("/")
    parts = http_address(url)
    if url and (parts is None or parts.query or not keeps_secrets(url)):
        table.wrong(key, "would send a secret in the clear, or leads nowhere.", f"Write it as in {default!r}.")
    return url


def _group(table: Table, services: dict[str, PagingService]) -> Group:
    table.only(("rota", "schedule", "id", "page"))
    if not table.fields.keys() & {"rota", "schedule", "page"}:
        table.wrong("", "says nothing of who is on call.", "Give it a rota, a schedule with its id, or page.")
    schedule = _known(table, "schedule", table.text("schedule"), services) if "schedule" in table.fields else ""
    if schedule and services[schedule].token_file is None:
        fix = f"Name a file with a token that reads schedules by token_file under [service.{schedule}]."
        table.wrong("schedule", f"is of {schedule}, which has no token.", fix)
    if "id" in table.fields and "schedule" not in table.fields:
        table.wrong("id", "is of no schedule.", "Name the service that has it by schedule.")
    pages = tuple(_known(table, "page", name, services) for name in table.texts("page", (), "pagerduty"))
    for name in filter(None, pages):
        wanted = PAGES_WITH.get(services[name].kind)
        if wanted and wanted not in services[name].files:
            table.wrong("page", f"names {name}, which has nothing to page with.", f"Give it a {wanted}.")
    return Group(
        table.where.partition(".")[2],
        rota=_rota(table.inner("rota")) if "rota" in table.fields else None,
        schedule=schedule,
        schedule_id=table.text("id", fix="Write the schedule's id, as in its address.") if schedule else "",
        page=tuple(filter(None, pages)),
    )


def _known(table: Table, key: str, name: str, services: dict[str, PagingService]) -> str:
    if name and name not in services:
        known = ", ".join(sorted(services)) or "none is named"
        table.wrong(key, f"names {name!r}, which is no service.", f"Write [service.{name[:40]}], or one of: {known}.")
        return ""
    return name


def _rota(table: Table) -> Rota | None:
    table.only(("from", "every", "zone", "people"))
    begin = table.fields.get("from")
    if not isinstance(begin, datetime) or begin.tzinfo is not None:
        fix = "Write when its first shift begins there, as in from = 2026-01-05T09:00:00, without quotes and zone."
        table.wrong("from", "is missing or no local time.", fix)
        begin = datetime(2000, 1, 1)  # noqa: DTZ001 -- as a wall shows it; what was read is refused in the end
    zone = table.text("zone", fix="Name a time zone, as in Europe/Berlin.")
    if zone and zone not in available_timezones():
        table.wrong("zone", f"is {zone[:60]!r}, which is no time zone.", "Write one as in Europe/Berlin, or UTC.")
        zone = ""
    people = table.fields.get("people")
    if not isinstance(people, list) or not people or not all(map(is_email, people)):
        table.wrong("people", "must be a list of e-mail addresses.", 'Write it as in ["ana@example.com"].')
        people = [""]
    return Rota(begin, _every(table), ZoneInfo(zone or "UTC"), tuple(person.casefold() for person in people))


def _every(table: Table) -> timedelta:
    try:
        seconds = durations.parse(table.fields.get("every"))
    except InvalidInput as error:
        table.wrong("every", error.message)
        return timedelta(days=1)
    if seconds < LEAST_SHIFT:
        table.wrong("every", "is less than an hour.", "Write how long a shift lasts, as in '7d'.")
    return timedelta(seconds=max(seconds, LEAST_SHIFT))


def is_email(value: object) -> bool:
    """Whether this may be somebody's address."""
    return isinstance(value, str) and value.isprintable() and EMAIL.fullmatch(value) is not None
