"""`runbooks doctor`: what is wrong with this installation, and how it is mended. It changes nothing there is.

One check is one function. It gives what it found, raises an error of the service where something is wrong, or
`Remark` where all works and somebody should know nevertheless.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runbooks_app.actions.connections import seen
from runbooks_app.connections import Connection, read_connections
from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.errors import DatabaseAway, Misconfigured, Problem, RunbooksError, Unavailable
from runbooks_app.library import Library
from runbooks_app.live.streams import client
from runbooks_app.main import assemble, doctor_alerts, doctor_elsewhere, doctor_oncall, doctor_slack, identity
from runbooks_app.main.worker import start_engine
from runbooks_app.oidc import OpenIDProvider
from runbooks_app.settings import PREFIX, Settings
from runbooks_app.store.artifacts import Artifacts
from runbooks_app.store.database import connect, reading
from runbooks_app.store.schema import require_current
from runbooks_app.web.client import sign_in_origin
from runbooks_app.web.context import origin_of

SECONDS = 5.0
"""How long another system may take to answer."""


TEST_IT = "Test it, where a worker runs, by `runbooks connections test`."


class Remark(Exception):
    """It works; this should be known."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    check: str
    state: Literal["ok", "remark", "wrong"]
    says: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Each check in turn, told as soon as it is done."""
    for name, check in CHECKS.items():
        try:
            yield Finding(name, "ok", check(settings))
        except Remark as remark:
            yield Finding(name, "remark", str(remark))
        except RunbooksError as error:
            yield Finding(name, "wrong", str(error))


def database(settings: Settings) -> str:
    """The service's own database answers, and has this version's schema."""
    engine = connect(settings.database_url, settings.secret("database_password_file"), pool_size=1)
    try:
        with reading(engine) as tx:
            require_current(tx)
    except DatabaseAway as error:
        raise Unavailable(f"It is away, or lets nobody in. Start it, or mend {PREFIX}DATABASE_URL.") from error
    finally:
        engine.dispose()
    return "reachable, with the schema of this version"


def redis(settings: Settings) -> str:
    """Redis answers, where there is one."""
    if not settings.redis_url:
        raise Remark("none is configured: live pages ask the database again and again, and limits count per process")
    try:
        client(settings.redis_url, settings.secret("redis_password_file"), SECONDS).ping()
    except Exception as error:
        raise Unavailable(f"Redis does not answer ({error}). Start it, or mend {PREFIX}REDIS_URL.") from error
    return "reachable"


def library(settings: Settings) -> str:
    """No runbook is broken."""
    folder = settings.path(settings.library)
    reports = Library(folder, settings.ceilings).reports()
    broken = tuple(Problem(name, str(report.errors[0])) for name, report in reports.items() if report.errors)
    if broken:
        raise Misconfigured(f"Runbooks in {folder} are broken; `runbooks check` tells all.", problems=broken)
    if not reports:
        raise Misconfigured(f"There is no runbook in {folder}. Name another folder by {PREFIX}LIBRARY.")
    return f"{', '.join(reports)}: no errors"


def connections(settings: Settings) -> str:
    """The connections file can be used."""
    return ", ".join(_connections(settings)) or "none is named: runbooks reach nothing"


def proofs(settings: Settings) -> str:
    """By their latest tests connections answer, and a diagnosis only reads there. It is not tested anew."""
    known = _connections(settings)
    engine = connect(settings.database_url, settings.secret("database_password_file"), pool_size=1)
    try:
        with reading(engine) as tx:
            require_current(tx)
            found = seen(tx, known)
    finally:
        engine.dispose()

    def told(*standings: Standing) -> tuple[Problem, ...]:
        return tuple(
            Problem(name, one.tested.outcome.says if one.tested else f"has not been tested. {TEST_IT}")
            for name, one in found.items()
            if one.standing in standings
        )

    if wrong := told(Standing.WRITES, Standing.AWAY):
        raise Misconfigured(f"Diagnoses can write, or connections are away. {TEST_IT}", problems=wrong)
    if open_ := told(Standing.UNPROVED, Standing.UNTESTED):
        raise Remark("\n".join(["not all is proved:", *(f"  - {problem}" for problem in open_)]))
    return f"proved to only read: {', '.join(found) or 'there is none'}"


def secrets(settings: Settings) -> str:
    """Every file with a secret is there, and for nobody else to read."""
    files = {f"{PREFIX}{name.upper()}": settings.path(path) for name, path in settings if _is_secret(name, path)}
    for name, connection in _connections(settings).items():
        for stage, source in (("diagnose", connection.diagnose), ("remediate", connection.remediate)):
            for option, value in source.options.items() if source else ():
                if option.endswith("_file"):
                    files[f"[{name}.{stage}] {option}"] = Path(value)
    for sender in assemble.alerting(settings).sources.values():
        files |= {f"[source.{sender.name}] {path.name}": path for path in sender.files}
    for name, service in assemble.oncall(settings).services.items():
        files |= {f"[service.{name}] {option}": path for option, path in service.files.items()}
    problems = tuple(problem for where, path in files.items() if (problem := _secret(where, path)))
    if problems:
        raise Misconfigured("Files with secrets are missing or open to others.", problems=problems)
    return f"{len(files)} files, closed to others"


def provider(settings: Settings) -> str:
    """The OpenID provider that people sign in with answers, is the one that was named, and publishes its keys."""
    if not settings.oidc_issuer:
        raise Misconfigured(f"Nobody can sign in: {PREFIX}OIDC_ISSUER names no provider.")
    found = OpenIDProvider(settings.oidc_issuer, patience=SECONDS)
    page = found.metadata()["authorization_endpoint"]
    if origin_of(page) != sign_in_origin(settings):
        raise Misconfigured(
            f"The sign-in page is at {origin_of(page)}, where forms of ours may not lead."
            f" Set {PREFIX}OIDC_ORIGIN={origin_of(page)}."
        )
    keys = len(found.keys().keys)
    lacks = "" if "end_session_endpoint" in found.metadata() else "; it has no page for signing out there as well"
    return f"{found.issuer} answers, with {keys} keys{lacks}"


def run_identity(settings: Settings) -> str:
    """Whoever is to trust run tokens finds the keys."""
    return identity.examine(settings, _connections(settings))


def slack(settings: Settings) -> str:
    """Slack takes what is told there, and its requests come in."""
    says, remarks = doctor_slack.examine(settings, SECONDS)
    if remarks:
        raise Remark("; ".join([says, *remarks]))
    return says


def alerts(settings: Settings) -> str:
    """The alerts file and the catalogue can be used, and each rule can run what it names."""
    library = Library(settings.path(settings.library), settings.ceilings)
    return doctor_alerts.examine(assemble.alerting(settings), library, _connections(settings))


def oncall(settings: Settings) -> str:
    """Who is on call can be read, and can be woken."""
    says, remarks = doctor_oncall.examine(settings, _connections(settings))
    if remarks:
        raise Remark("; ".join([says, *remarks]))
    return says


def other_chats(settings: Settings) -> str:
    """The addresses of other chats and mail can be read, and those places take what they are told."""
    return doctor_elsewhere.examine(settings)


def artifacts(settings: Settings) -> str:
    """Large outputs can be stored: one of a few bytes is."""
    try:
        address = Artifacts(settings.artifacts, settings.path(settings.config_dir)).put(b"runbooks doctor\n")
    except Exception as error:
        raise Unavailable(f"{settings.artifacts} takes nothing ({error}). Mend {PREFIX}ARTIFACTS.") from error
    return f"{settings.artifacts} takes what it is given ({address[:12]}…)"


def sandbox(settings: Settings) -> str:
    """Kernels are sealed here: the same proof that a worker asks for at its start."""
    if settings.sandbox == "off":
        raise Remark(f"switched off: cells may do whatever a worker may do. {PREFIX}SANDBOX=on for production")
    engine = start_engine(settings)
    try:
        return f"{engine.probes} probes passed; kernels run {engine.as_whom}"
    finally:
        engine.close()


CHECKS: Mapping[str, Callable[[Settings], str]] = {
    check.__name__: check
    for check in (
        database,
        redis,
        library,
        connections,
        proofs,
        secrets,
        provider,
        run_identity,
        slack,
        alerts,
        oncall,
        other_chats,
        artifacts,
        sandbox,
    )
}


def _connections(settings: Settings) -> dict[str, Connection]:
    return read_connections(settings.path(settings.connections))


def _is_secret(name: str, path: object) -> bool:
    return name.endswith("_file") and path is not None


def _secret(where: str, path: Path) -> Problem | None:
    """What is wrong with a file that holds a secret."""
    try:
        found = path.stat()
    except OSError as error:
        return Problem(where, f"{path} cannot be read ({error.strerror}).", "Put the secret there.")
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.R_OK):
        return Problem(where, f"{path} cannot be read by this user.", "Change its owner.")
    if found.st_mode & 0o077:
        return Problem(where, f"{path} is open to others.", f"chmod 600 {path}")
    return None
