"""`runbooks connections`: whether the systems that runbooks reach answer, and whether a diagnosis only reads there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.errors import InvalidInput, RunbooksError
from runbooks_app.core.wording import did_you_mean

if TYPE_CHECKING:
    from runbooks_app.connections import Connection
    from runbooks_app.core.connection_tests import Outcome
    from runbooks_app.credentials.issuer import Issuer
    from runbooks_app.settings import Settings

app = typer.Typer(help="Connections: the systems that runbooks may reach.", no_args_is_help=True)

BAD = (Standing.WRITES, Standing.AWAY)
SAID = {
    Standing.HOLDS: "[green]✓ only reads   [/]",
    Standing.UNPROVED: "[yellow]△ not proved   [/]",
    Standing.WRITES: "[bold red]▲ can write    [/]",
    Standing.AWAY: "[bold red]✗ away         [/]",
}


@app.callback()
def connections() -> None:
    """Keep `test` a command of its own: a group with one command would become that."""


@app.command(name="test")
def prove(
    name: Annotated[str, typer.Argument(help="One connection; all of them if none is named.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Try to write with the credential of a diagnosis, and say what is not refused. Nothing is changed by it.

    Runs where a worker runs, with its settings: it mints as a worker does, each credential an audit entry. Exit code 1
    if a diagnosis can write somewhere or a system is away; what cannot be proved is told and passes.

    Examples: runbooks connections test · runbooks connections test orders-db --json
    """
    from rich.console import Console  # noqa: PLC0415 -- neither `--help` nor other commands need any of these
    from rich.markup import escape  # noqa: PLC0415

    from runbooks_app.kernels.processes import PR_SET_DUMPABLE, prctl  # noqa: PLC0415
    from runbooks_app.main import assemble  # noqa: PLC0415
    from runbooks_app.settings import read_settings  # noqa: PLC0415
    from runbooks_app.worker.context import worker_name  # noqa: PLC0415
    from runbooks_app.worker.proving import prove_now  # noqa: PLC0415

    settings = read_settings(os.environ)
    assemble.log_to_stderr(settings)
    prctl(PR_SET_DUMPABLE, 0)  # as of a worker: it holds what opens systems
    service = assemble.service(settings, pool_size=1)
    chosen = _chosen(service.connections, name)
    worker = worker_name()
    issuer = _issuer(settings, service, worker)
    console = Console(highlight=False, soft_wrap=True)
    outcomes = {}
    for connection in chosen:
        outcomes[connection.name] = outcome = prove_now(service, worker, connection, issuer)
        if not json_:
            console.print(f"{SAID[outcome.standing]} {escape(connection.name)}: {escape(outcome.says)}")
    good = not any(outcome.standing in BAD for outcome in outcomes.values())
    if json_:
        told = {name: _told(outcome) for name, outcome in outcomes.items()}
        print(json.dumps({"ok": good, "connections": told}, indent=2, ensure_ascii=False))
    elif not outcomes:
        console.print("There is no connection. Name systems in the connections file (RUNBOOKS_CONNECTIONS).")
    raise typer.Exit(0 if good else 1)


def _chosen(known: dict[str, Connection], name: str) -> list[Connection]:
    if name and name not in known:
        there = did_you_mean(name, known) if known else "The connections file names none."
        raise InvalidInput(f"There is no connection {name!r}. {there}")
    return [known[name]] if name else [known[name] for name in sorted(known)]


def _issuer(settings: Settings, service: Any, worker: str) -> Issuer | None:
    """The run identity of this machine's workers. Where it fails, connections that need it say so themselves."""
    from runbooks_app.main.identity import issuer  # noqa: PLC0415
    from runbooks_app.worker.identity import look_after  # noqa: PLC0415

    found = issuer(settings)
    if found is not None:
        try:
            look_after(service, worker, found)
        except RunbooksError as error:
            found.fail(error, at_once=True)
    return found


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "standing": str(outcome.standing),
        "reachable": outcome.reachable,
        "holds": outcome.holds,
        "says": outcome.says,
        "tried": list(outcome.tried),
    }
