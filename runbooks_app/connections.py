"""The connections file: which systems runbooks may reach, where credentials come from, what binds approval.

    [orders-db]
    kind = "postgres"
    label = "Orders database"
    host = "127.0.0.1"
    port = 5433
    database = "orders"
    [orders-db.diagnose]
    provider = "postgres-role"
    role = "orders_reader"
    minter = "runbooks_minter"
    password_file = "orders-minter.password"    # relative to this file
    [orders-db.floor]
    approvers = ["database"]

    [prometheus]
    kind = "http"
    url = "http://prometheus:9090"
    [prometheus.diagnose]                       # may be left out: then GET and HEAD, without a credential
    allow = ["GET /api/v1/*", "POST /api/v1/query"]
    provider = "static"
    secret_file = "prometheus.token"

Reading stops at no first mistake: every problem is named with its mend. No secret stands in the file, and
none is read here: only workers read password files.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from runbooks_app.core import durations
from runbooks_app.core.errors import InvalidInput, Misconfigured, Problem
from runbooks_app.core.http_rules import READ_ALL, READING_METHODS, Rule, read_rule, readings, reads_only
from runbooks_app.core.people import known_role
from runbooks_app.core.policy import Floor, Risk

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
ROLE = re.compile(r"(?!pg_)[a-z_][a-z0-9_$-]{0,62}")
"""Database roles; the reserved `pg_…` ones would grant far more than one system."""
DATA_CLASSES = ("internal", "restricted")
KINDS = {
    "postgres": ("host", "port", "database", "diagnose", "remediate"),
    "http": ("url", "diagnose", "remediate"),
}
"""What each kind has beside `kind`, `label`, `data_class`, `diagnosers` and `floor`."""
COMMON = ("kind", "label", "data_class", "diagnosers", "floor")
PROVIDERS = {"postgres-role": ("role", "minter", "password_file"), "static": ("secret_file", "header", "scheme")}
"""Providers of credentials, and the options of each; those named `…_file` are paths."""
PROVIDERS_OF = {"postgres": ("postgres-role",), "http": ("static",)}
"""Which serve which kind of connection."""
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
NO_CREDENTIAL = frozenset(("host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"))
"""Headers that frame a request and cannot hold a credential."""
FLOOR = ("risk", "approvals", "approvers", "recheck", "expires")


@dataclass(frozen=True)
class CredentialSource:
    """Where a stage's credentials come from: a provider's name and its options (paths are absolute)."""

    provider: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Connection:
    """A system that runbooks may reach.

    `kind` is `postgres` (with host, port, database) or `http` (with url, and rules of what each stage may send).
    `diagnosers` are the roles that may diagnose it. Where nothing `remediates` it is diagnosed only. Evidence of a
    `restricted` one stays on pages.
    """

    name: str
    kind: str
    label: str
    host: str = ""
    port: int = 0
    database: str = ""
    url: str = ""
    data_class: str = "internal"
    floor: Floor = Floor()  # noqa: RUF009 - frozen itself
    diagnosers: tuple[str, ...] = ("responder",)
    diagnose: CredentialSource | None = None
    remediate: CredentialSource | None = None

    diagnose_rules: tuple[Rule, ...] = ()
    remediate_rules: tuple[Rule, ...] = ()

    @property
    def address(self) -> str:
        """Where it is, for people and for what a decision binds to."""
        return self.url or f"{self.host}:{self.port}/{self.database}"

    @property
    def remediates(self) -> bool:
        """Whether a remediation may change anything here."""
        return self.remediate is not None or bool(self.remediate_rules)

    @property
    def diagnose_role(self) -> str:
        """The database role that diagnoses, or what may be sent by HTTP; empty where there is none."""
        return self._role(self.diagnose, self.diagnose_rules)

    @property
    def remediate_role(self) -> str:
        """The database role that remediates, or what may be sent, shown to approvers; empty where there is none."""
        return self._role(self.remediate, self.remediate_rules)

    @property
    def held_role(self) -> str:
        """What a remediation cell that opens this holds: without rules for it, an HTTP connection is read alone."""
        return self.remediate_role or (self.diagnose_role if self.kind == "http" else "")

    def diagnosed_only(self) -> Self:
        """The same without anything that could change it."""
        return replace(self, remediate=None, remediate_rules=())

    def _role(self, source: CredentialSource | None, rules: tuple[Rule, ...]) -> str:
        if self.kind != "http":
            return source.options.get("role", "") if source else ""
        how = "with a standing credential" if source else "without a credential"
        return f"{', '.join(map(str, rules))}, {how}" if rules else ""


def read_connections(path: Path) -> dict[str, Connection]:
    """All connections by name; raises `Misconfigured` with every problem found."""
    mend = "Name an existing file by the setting RUNBOOKS_CONNECTIONS."
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"The connections file {path} cannot be read: {error.strerror}. {mend}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"The connections file {path} is no TOML: {error}.") from None
    problems: list[Problem] = []
    connections = {name: _connection(_Table(name, fields, problems), path.parent) for name, fields in document.items()}
    if problems:
        raise Misconfigured(f"The connections file {path} cannot be used.", problems=tuple(problems))
    return connections


class _Table:
    """One table of the file while it is read: gives values of the wanted type, and notes what is wrong."""

    def __init__(self, where: str, fields: object, problems: list[Problem]) -> None:
        self.where = where
        self.problems = problems
        self.fields: Mapping[str, Any] = fields if isinstance(fields, Mapping) else {}
        if not isinstance(fields, Mapping):
            self.wrong("", "must be a table.", f"Write [{where}] and its settings below.")

    def wrong(self, key: str, message: str, fix: str = "") -> None:
        self.problems.append(Problem(f"{self.where}.{key}" if key else self.where, message, fix))

    def inner(self, key: str) -> _Table:
        """The table below this key."""
        return _Table(f"{self.where}.{key}", self.fields[key], self.problems)

    def only(self, known: tuple[str, ...]) -> None:
        """Refuse keys that nobody reads: a misspelt limit must not silently be no limit."""
        for key in self.fields:
            if key in known:
                continue
            if key in {"password", "secret", "token"}:
                files = [name for name in known if name.endswith("_file")] or ["password_file"]
                fix = f"Secrets never stand in this file: name a file of mode 0600 by {files[0]}."
            else:
                near = get_close_matches(key, known, 1)
                fix = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
            self.wrong(key, "is not known here.", fix)

    def text(self, key: str, default: str | None = None, *, fix: str = "") -> str:
        """A text that is not empty and holds no control characters; required where there is no default."""
        value = self.fields.get(key, default)
        if value is None:
            self.wrong(key, "is missing.", fix)
        elif not isinstance(value, str) or not value.strip() or not value.isprintable():
            self.wrong(key, "must be a text of one line.", fix)
        else:
            return value
        return ""

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """One of a few words; the first of them stands in for a wrong one, so that reading goes on."""
        value = self.fields.get(key, default)
        if value not in choices:
            self.wrong(
                key,
                "is missing." if value is None else "is not known.",
                f"Write one of: {', '.join(choices)}.",
            )
            return ""
        return str(value)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number within bounds."""
        value = self.fields.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.wrong(key, f"must be a whole number from {least} to {most}.")
            return default
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.fields.get(key, default)
        if not isinstance(value, bool):
            self.wrong(key, "must be true or false, without quotes.")
            return default
        return value

    def texts(self, key: str, default: tuple[str, ...], example: str = "database") -> tuple[str, ...]:
        """A list of texts, none of them empty or twice."""
        if key not in self.fields:
            return default
        value = self.fields[key]
        texts = (
            tuple(item for item in value if isinstance(item, str) and item.strip()) if isinstance(value, list) else ()
        )
        if not texts or len(texts) < len(value) or len(set(texts)) < len(texts):
            self.wrong(key, f'must be a list of different texts, as in ["{example}"].')
            return default
        return texts


def _connection(table: _Table, folder: Path) -> Connection:
    name = table.where
    if not NAME.fullmatch(name):
        table.wrong("", "is no name for a connection.", "Use small letters, digits and hyphens, a letter first.")
    kind = table.choice("kind", tuple(KINDS))
    if not kind:
        return Connection(name, "", "")
    table.only(COMMON + KINDS[kind])
    connection = Connection(
        name=name,
        kind=kind,
        label=table.text("label", name),
        data_class=table.choice("data_class", DATA_CLASSES, "internal"),
        floor=_floor(table),
        diagnosers=table.texts("diagnosers", ("responder",)),
        **(_postgres(table, folder) if kind == "postgres" else _http(table, folder)),
    )
    for role in connection.diagnosers:
        if not known_role(role):
            table.wrong("diagnosers", f"names an unknown role, {role!r}.", "Write roles such as responder or viewer.")
    if connection.remediates and not connection.floor.approvers:
        table.wrong("floor.approvers", "is missing: nobody could approve.", 'Name groups, as in ["database"].')
    if kind == "postgres" and connection.remediate and connection.diagnose_role == connection.remediate_role:
        table.wrong("remediate.role", "is the role that diagnoses.", "Diagnosis needs a role that cannot write.")
    return connection


def _postgres(table: _Table, folder: Path) -> dict[str, Any]:
    diagnose = "diagnose" in table.fields
    if not diagnose:
        table.wrong("diagnose", "is missing.", f"Write [{table.where}.diagnose] with a provider and its options.")
    return {
        "host": table.text("host", fix="Name the database's host."),
        "port": table.number("port", 5432, 1, 65535),
        "database": table.text("database", fix="Name the database."),
        "diagnose": _source(table.inner("diagnose"), kind="postgres", folder=folder) if diagnose else None,
        "remediate": _source(table.inner("remediate"), kind="postgres", folder=folder)
        if "remediate" in table.fields
        else None,
    }


def _http(table: _Table, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"url": _url(table), "diagnose_rules": READ_ALL}
    for stage in ("diagnose", "remediate"):
        if stage in table.fields:
            inner = table.inner(stage)
            found[f"{stage}_rules"] = _rules(inner, stage)
            found[stage] = _source(inner, kind="http", folder=folder)
    return found


def _rules(table: _Table, stage: str) -> tuple[Rule, ...]:
    """What this stage may send: when diagnosing, GET of everything where nothing is said; else, what is listed."""
    if "allow" not in table.fields:
        if stage == "remediate":
            table.wrong("allow", "is missing.", 'List what a remediation may send, as in ["POST /-/reload"].')
        return READ_ALL
    rules = []
    for text in table.texts("allow", (), "GET /api/v1/*"):
        try:
            rule = read_rule(text)
        except InvalidInput as error:
            table.wrong("allow", f"holds {text!r}: it {error.message}")
            continue
        if stage == "diagnose" and not reads_only(rule):
            table.wrong(
                "allow",
                f"holds {str(rule)!r}: diagnosing only reads, by {', '.join(READING_METHODS)}, and POST to endpoints "
                "that are named to their end.",
                'Write it as in "POST /api/v1/query", or move it to the remediate table.',
            )
        rules.append(rule)
    return tuple(rules)


def _url(table: _Table) -> str:
    url = table.text("url", fix="Write the system's address, as in 'http://prometheus:9090'.")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    else:
        if parts.username is not None or parts.password is not None:
            table.wrong("url", "holds a user or password.", "Secrets never stand in this file.")
        if parts.query or parts.fragment:
            table.wrong("url", "must have no query and no fragment.")
        try:
            readings(parts.path or "/")
        except InvalidInput as error:
            table.wrong("url", f"has a path that {error.message}.")
    if not fine:
        table.wrong("url", "is no http or https address.", "Write it as in 'http://prometheus:9090'.")
    return url


def _source(source: _Table, *, kind: str, folder: Path) -> CredentialSource | None:
    """Where the stage's credentials come from; an HTTP connection may do without."""
    allow = ("allow",) if kind == "http" else ()
    options_of_kind = {option for provider in PROVIDERS_OF[kind] for option in PROVIDERS[provider]}
    if kind == "http" and "provider" not in source.fields and not options_of_kind & source.fields.keys():
        source.only(("provider", *allow))
        return None
    provider = source.choice("provider", PROVIDERS_OF[kind])
    if not provider:
        return CredentialSource("", {})
    source.only(("provider", *allow, *PROVIDERS[provider]))
    read = _static if provider == "static" else _role
    options = read(source)
    return CredentialSource(
        provider,
        {
            option: str(folder.absolute() / value) if value and option.endswith("_file") else value
            for option, value in options.items()
        },
    )


def _role(source: _Table) -> dict[str, str]:
    options = {option: source.text(option) for option in PROVIDERS["postgres-role"]}
    for option in ("role", "minter"):
        if options[option] and not ROLE.fullmatch(options[option]):
            source.wrong(option, "is no name of a role.", "Small letters, digits and _; not one of PostgreSQL's pg_…")
    return options


def _static(source: _Table) -> dict[str, str]:
    header = source.text("header", "Authorization")
    if header and (not HEADER.fullmatch(header) or header.lower() in NO_CREDENTIAL):
        source.wrong("header", "is no header that holds a credential.", "Write it as in Authorization or X-Api-Key.")
    scheme = source.fields.get("scheme", "Bearer" if header.lower() == "authorization" else "")
    if not isinstance(scheme, str) or (scheme and not HEADER.fullmatch(scheme)):
        source.wrong("scheme", "is no scheme.", 'Write Bearer or Basic, or "" for the secret alone.')
        scheme = ""
    return {
        "secret_file": source.text("secret_file", fix="Name the file that holds the token (Basic: user:password)."),
        "header": header,
        "scheme": scheme,
    }


def _floor(table: _Table) -> Floor:
    if "floor" not in table.fields:
        return Floor()
    floor = table.inner("floor")
    floor.only(FLOOR)
    expires = None
    if "expires" in floor.fields:
        try:
            expires = durations.parse(floor.fields["expires"])
        except InvalidInput as error:
            floor.wrong("expires", error.message)
    return Floor(
        risk=Risk(floor.choice("risk", tuple(Risk), Risk.LOW) or Risk.HIGH),
        approvals=floor.number("approvals", 1, 1, 20),
        approvers=floor.texts("approvers", ()),
        recheck=floor.flag("recheck", default=True),
        expires=expires,
    )
