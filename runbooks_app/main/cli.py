"""The command line: `runbooks --help`.

Exit codes: 0 all well; 1 what was asked for does not hold (a trail that breaks, a runbook with problems, a
story that failed); 2 the command was not understood or cannot run here, with the mend. Commands that are about a
service somewhere have their own (`runbooks_app.main.client`).

What a command stands on is imported when it runs: nobody waits for a database's library to read a help.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runbooks_app import __version__
from runbooks_app.core.errors import InvalidInput, RunbooksError
from runbooks_app.main import connection_commands, identity_commands
from runbooks_app.main.client import commands as client
from runbooks_app.main.mcp import commands as agents

if TYPE_CHECKING:
    from rich.console import Console

    from runbooks_app.core.audit import Entry
    from runbooks_app.settings import Settings

NAMES = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="runbooks",
    help="Executable runbooks for incident response: read-only diagnosis, approval-gated remediation, an audit trail.",
    epilog="Examples:\n\n  runbooks demo\n\n  runbooks check db-latency\n\n  runbooks new disk-full --owner storage\n\n"
    "  runbooks login --url https://runbooks.example.com",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=NAMES,
)
audit_app = typer.Typer(help="The audit trail: verify it, take it along.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")
app.add_typer(identity_commands.app, name="identity")
app.add_typer(connection_commands.app, name="connections")
client.register(app)
agents.register(app)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Folder with the notebooks; else the settings'.", file_okay=False, exists=True),
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"runbooks {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before the command."""


def main() -> None:
    """Run the command line; errors of the service are told in words, without a traceback."""
    try:
        app()
    except RunbooksError as error:
        # Escaped: a message may name a table of the connections file, in brackets.
        _console(stderr=True).print(f"[bold red]runbooks:[/] {_escaped(str(error))}")
        sys.exit(getattr(error, "exit_code", 2))


def settings() -> Settings:
    """The settings of this process."""
    from runbooks_app.settings import read_settings  # noqa: PLC0415

    return read_settings(os.environ)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def _escaped(text: str) -> str:
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


@app.command()
def web() -> None:
    """Serve pages, API and Slack's requests, until stopped.

    Example: RUNBOOKS_CONFIG=/etc/runbooks/runbooks.toml runbooks web
    """
    chosen = settings()  # what is wrong in them is told at once
    from runbooks_app.main.web import serve  # noqa: PLC0415 -- `runbooks check` need not load a web server

    serve(chosen)


@app.command()
def worker() -> None:
    """Work on runs: execute cells, post to the chat, clear up. Start as many as you like.

    Example: RUNBOOKS_CONFIG=/etc/runbooks/runbooks.toml runbooks worker
    """
    chosen = settings()
    from runbooks_app.main.worker import work  # noqa: PLC0415

    work(chosen)


@app.command()
def migrate(to: Annotated[str, typer.Option(help="Schema version to go to; also back.")] = "head") -> None:
    """Bring the database's schema to this version, as its owner.

    Example: RUNBOOKS_DATABASE_OWNER_URL=postgresql://runbooks_owner@db/runbooks runbooks migrate
    """
    from sqlalchemy import make_url  # noqa: PLC0415

    from runbooks_app.core.errors import Misconfigured  # noqa: PLC0415
    from runbooks_app.store.migrate import migrate as run  # noqa: PLC0415

    chosen = settings()
    if not chosen.database_owner_url:
        raise Misconfigured("RUNBOOKS_DATABASE_OWNER_URL is not set: name the database as its owner sees it.")
    role = make_url(chosen.database_url).username or ""
    before, after = run(chosen.database_owner_url, chosen.secret("database_owner_password_file"), role, to)
    print(f"schema {before} → {after}" if before != after else f"schema {after}: nothing to do")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Its name, as people type it: disk-full.")],
    title: Annotated[str, typer.Option(help="What it looks into, in a few words; else its name.")] = "",
    owner: Annotated[str, typer.Option(help="The team that keeps it; else your account's name.")] = "",
    library: Folder = None,
) -> None:
    """Write a notebook to start from, which passes `runbooks check` and works against any PostgreSQL.

    Example: runbooks new disk-full --title "Disk full" --owner storage
    """
    from runbooks_app.main.new import write  # noqa: PLC0415

    path = write(library or _library(), name, title, owner or _account())
    print(f"{path} is written. It looks for slow statements; replace that by what you look for, then:")
    print(f"    runbooks check {name}" + (f" --library {library}" if library else ""))


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Runbooks; all of the library if none is named.")] = None,
    library: Folder = None,
    json_: Json = False,
) -> None:
    """Read runbooks without running them and tell what is wrong, with file, cell and mend.

    Exit code 1 if one has errors; warnings alone pass.

    Examples: runbooks check · runbooks check db-latency --json
    """
    from runbooks_app.library import Library  # noqa: PLC0415

    library = library or _library()
    found = Library(library, settings().ceilings).reports()
    unknown = [name for name in names or () if name not in found]
    if unknown:
        there = f"there are: {', '.join(found)}" if found else "there is none"
        raise typer.BadParameter(f"no runbook {', '.join(unknown)} in {library}; {there}")
    chosen = {name: report for name, report in found.items() if not names or name in names}
    bad = any(report.errors for report in chosen.values())
    if json_:
        print(json.dumps({"ok": not bad, "runbooks": {n: _report(r) for n, r in chosen.items()}}, indent=2))
    else:
        for name, report in chosen.items():
            for kind, problems in (("error", report.errors), ("warning", report.warnings)):
                for problem in problems:
                    print(f"{library / name}.ipynb: {problem.where}: {kind}: {problem.message} {problem.fix}".rstrip())
        print(f"{len(chosen)} checked, {sum(bool(r.errors) for r in chosen.values())} with errors")
    raise typer.Exit(1 if bad else 0)


def _library() -> Path:
    """The library of the settings, as one would write it from here."""
    chosen = settings()
    folder = chosen.path(chosen.library)
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}: name the library by --library, or by RUNBOOKS_LIBRARY")
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


@app.command(name="settings")
def settings_(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the table in docs/operating.md.")] = False,
) -> None:
    """List every setting with its default and meaning.

    Examples: runbooks settings · runbooks settings | grep -A1 OIDC
    """
    from runbooks_app.settings import PREFIX, Settings  # noqa: PLC0415

    if markdown:
        print("| setting | default | meaning |")
        print("|---|---|---|")
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory is not None or field.default is None else str(field.default)
        if markdown:
            print(f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |")
        else:
            print(f"{PREFIX}{name.upper()}  (default: {default or 'none'})")
            print(f"    {field.description}")


@audit_app.command()
def verify(
    file: Annotated[
        Path | None,
        typer.Option(
            help="A trail that `runbooks audit export` wrote: needs no database.", exists=True, dir_okay=False
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """Verify the whole chain, and say where it breaks. Exit code 1 if it does.

    Examples: runbooks audit verify · runbooks audit verify --file trail.jsonl
    """
    from runbooks_app.core import audit  # noqa: PLC0415

    if file is not None:
        verdict = audit.verify(_entries(file))
    else:
        from runbooks_app.store import audit as stored  # noqa: PLC0415
        from runbooks_app.store.database import connect, reading  # noqa: PLC0415

        chosen = settings()
        engine = connect(chosen.database_url, chosen.secret("database_password_file"), pool_size=1)
        with reading(engine) as tx:
            verdict = audit.verify(stored.entries(tx), stored.head(tx))
    if json_:
        print(
            json.dumps(
                {
                    "ok": verdict.ok,
                    "entries": verdict.entries,
                    "head": verdict.head,
                    "broken_at": verdict.broken_at,
                    "reason": verdict.reason,
                }
            )
        )
    elif verdict.ok:
        print(f"The trail holds: {verdict.entries} entries, the last hash is {verdict.head}")
    else:
        print(
            f"THE TRAIL IS BROKEN at entry {verdict.broken_at}. {verdict.reason} "
            f"The {verdict.entries} entries before it hold."
        )
    raise typer.Exit(0 if verdict.ok else 1)


@audit_app.command()
def export(file: Annotated[Path, typer.Argument(help="Where to write it; must not exist yet.")]) -> None:
    """Write the whole trail as JSON lines, for verifying it elsewhere.

    Example: runbooks audit export trail.jsonl
    """
    from runbooks_app.store import audit as stored  # noqa: PLC0415
    from runbooks_app.store.database import connect, reading  # noqa: PLC0415

    if file.exists():
        raise typer.BadParameter(f"{file} exists already; name another file")
    chosen = settings()
    engine = connect(chosen.database_url, chosen.secret("database_password_file"), pool_size=1)
    count = 0
    with reading(engine) as tx, file.open("x", encoding="utf-8") as out:
        for entry in stored.entries(tx):
            out.write(json.dumps(entry.as_json(), ensure_ascii=False) + "\n")
            count += 1
    print(f"{count} entries written to {file}")


@app.command()
def doctor(json_: Json = False) -> None:
    """Say what is wrong with this installation, and how it is mended. Exit code 1 if something is.

    Example: RUNBOOKS_CONFIG=/etc/runbooks/runbooks.toml runbooks doctor
    """
    from runbooks_app.core.errors import Misconfigured  # noqa: PLC0415
    from runbooks_app.main.doctor import Finding, examine  # noqa: PLC0415

    console = _console()
    findings = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not json_:
            colour = {"ok": "green", "remark": "yellow", "wrong": "bold red"}[finding.state]
            console.print(f"[{colour}]{finding.state:7}[/] {finding.check:12} {_escaped(finding.says)}")

    try:
        chosen = settings()
    except Misconfigured as error:
        tell(Finding("settings", "wrong", str(error)))
    else:
        tell(Finding("settings", "ok", "readable"))
        for finding in examine(chosen):
            tell(finding)
    wrong = any(finding.state == "wrong" for finding in findings)
    if json_:
        print(json.dumps({"ok": not wrong, "checks": [asdict(finding) for finding in findings]}, indent=2))
    raise typer.Exit(1 if wrong else 0)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Play the whole story without a browser, then stop.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the state of earlier starts.")] = False,
    state: Annotated[Path | None, typer.Option(help="Folder for the demo's state.")] = None,
    json_: Json = False,
) -> None:
    """Start everything on this machine: databases, a shop with a lock pile-up, sign-in, chat, web and worker.

    Examples: runbooks demo · runbooks demo --fresh · runbooks demo --once --json
    """
    from runbooks_app.main.demo.launch import run  # noqa: PLC0415

    raise typer.Exit(run(once=once, fresh=fresh, state=state, as_json=json_))


def _report(report: Any) -> dict[str, Any]:
    return {
        kind: [{"where": p.where, "message": p.message, "fix": p.fix} for p in problems]
        for kind, problems in (("errors", report.errors), ("warnings", report.warnings))
    }


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        raise InvalidInput("This account has no name. Say who keeps the runbook: --owner TEAM") from None


def _entries(file: Path) -> Iterator[Entry]:
    """The entries of an exported trail; raises `InvalidInput` at a line that is none."""
    from runbooks_app.core.audit import Entry  # noqa: PLC0415

    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Entry.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError):
                raise InvalidInput(f"Line {number} of {file} is no audit entry.") from None
