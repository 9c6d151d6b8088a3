"""From the file to connections: every problem is named with its mend."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from runbooks_app.connections.connection import Connection, CredentialSource
from runbooks_app.connections.providers import PROVIDERS, PROVIDERS_OF, read_options
from runbooks_app.core import durations
from runbooks_app.core.addresses import http_address, keeps_secrets
from runbooks_app.core.errors import InvalidInput, Misconfigured, Problem
from runbooks_app.core.http_rules import READ_ALL, READING_METHODS, Rule, read_rule, readings, reads_only
from runbooks_app.core.people import ALERT, known_role
from runbooks_app.core.policy import Floor, Risk
from runbooks_app.core.tables import Table

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
DATA_CLASSES = ("internal", "restricted")
KINDS = {
    "postgres": ("host", "port", "database", "diagnose", "remediate"),
    "http": ("url", "ca_file", "diagnose", "remediate"),
}
"""What each kind has beside `kind`, `label`, `data_class`, `diagnosers` and `floor`."""
COMMON = ("kind", "label", "data_class", "diagnosers", "floor")
FLOOR = ("risk", "approvals", "approvers", "recheck", "expires")


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
    connections = {name: _connection(Table(name, fields, problems), path.parent) for name, fields in document.items()}
    if problems:
        raise Misconfigured(f"The connections file {path} cannot be used.", problems=tuple(problems))
    return connections


def _connection(table: Table, folder: Path) -> Connection:
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
        if not known_role(role) and role != ALERT:
            mend = "Write roles such as responder or viewer, and alert where alerts may diagnose."
            table.wrong("diagnosers", f"names an unknown role, {role!r}.", mend)
    if connection.remediates and not connection.floor.approvers:
        table.wrong("floor.approvers", "is missing: nobody could approve.", 'Name groups, as in ["database"].')
    _apart(table, connection)
    return connection


def _postgres(table: Table, folder: Path) -> dict[str, Any]:
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


def _http(table: Table, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"url": _url(table), "diagnose_rules": READ_ALL}
    if "ca_file" in table.fields:
        found["ca_file"] = str(
            folder.absolute() / table.text("ca_file", fix="Name a file of certificates in PEM form.")
        )
    for stage in ("diagnose", "remediate"):
        if stage in table.fields:
            inner = table.inner(stage)
            found[f"{stage}_rules"] = _rules(inner, stage)
            source = found[stage] = _source(inner, kind="http", folder=folder)
            if source and source.provider and PROVIDERS[source.provider].sealed and not keeps_secrets(found["url"]):
                inner.wrong("provider", "would send a token in the clear.", "Write the connection's url with https.")
    return found


def _rules(table: Table, stage: str) -> tuple[Rule, ...]:
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


def _url(table: Table) -> str:
    url = table.text("url", fix="Write the system's address, as in 'http://prometheus:9090'.")
    if not url:
        return ""
    parts = http_address(url)
    if parts is None:
        table.wrong("url", "is no http or https address.", "Write it as in 'http://prometheus:9090'.")
        return url
    if parts.username is not None or parts.password is not None:
        table.wrong("url", "holds a user or password.", "Secrets never stand in this file.")
    if parts.query or parts.fragment:
        table.wrong("url", "must have no query and no fragment.")
    try:
        readings(parts.path or "/")
    except InvalidInput as error:
        table.wrong("url", f"has a path that {error.message}.")
    return url


def _source(source: Table, *, kind: str, folder: Path) -> CredentialSource | None:
    """Where the stage's credentials come from; an HTTP connection may do without."""
    allow = ("allow",) if kind == "http" else ()
    options_of_kind = {option for provider in PROVIDERS_OF[kind] for option in PROVIDERS[provider].options_for(kind)}
    if kind == "http" and "provider" not in source.fields and not options_of_kind & source.fields.keys():
        source.only(("provider", *allow))
        return None
    provider = source.choice("provider", PROVIDERS_OF[kind])
    if not provider:
        return CredentialSource("", {})
    source.only(("provider", *allow, *PROVIDERS[provider].options_for(kind)))
    options = read_options(source, provider, kind)
    return CredentialSource(
        provider,
        {
            option: str(folder.absolute() / value) if value and option.endswith("_file") else value
            for option, value in options.items()
        },
    )


def _apart(table: Table, connection: Connection) -> None:
    """Both stages must not end up with the same credential: diagnosing needs one that cannot write."""
    diagnose, remediate = connection.diagnose, connection.remediate
    if diagnose is None or remediate is None or diagnose.provider != remediate.provider:
        return
    decides = PROVIDERS[remediate.provider].decides if remediate.provider else ()
    if decides and all(diagnose.options[option] == remediate.options[option] for option in decides):
        table.wrong(
            f"remediate.{decides[-1]}",
            f"is the {decides[-1]} that diagnoses.",
            f"Diagnosis needs a {decides[-1]} that cannot write.",
        )


def _floor(table: Table) -> Floor:
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
