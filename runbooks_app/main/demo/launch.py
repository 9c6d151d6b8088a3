"""`runbooks demo`: hold the stage until Ctrl-C, or play the story once."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from runbooks_app.main.demo import alarm
from runbooks_app.main.demo.stage import Stage, forget


def run(*, once: bool, fresh: bool, state: Path | None, as_json: bool) -> int:
    """Run the demo until Ctrl-C, or play the story once; the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(stderr=True, highlight=False)
    if once:
        return _once(console, state, as_json=as_json)
    folder = state or _home() / "demo"
    if fresh:
        forget(folder)
    try:
        with Stage(folder, lambda step: console.print(f"[dim]… {step}[/]"), usual_ports=True) as stage:
            _hold(stage, console)
    except KeyboardInterrupt:
        pass
    console.print("Everything is stopped; the next start finds its state again.")
    return 0


def _once(console: Console, state: Path | None, *, as_json: bool) -> int:
    from runbooks_app.main.demo.plot import play  # noqa: PLC0415 -- only when it is played

    folder = Path(tempfile.mkdtemp(prefix="runbooks-demo-")) if state is None else state
    forget(folder)
    quiet = (lambda _: None) if as_json else (lambda step: console.print(f"[dim]… {step}[/]"))
    try:
        told = play(folder, quiet, (lambda _: None) if as_json else print)
    finally:
        if state is None:
            forget(folder)
    if as_json:
        print(json.dumps(told, indent=2))
    return 0 if told["ok"] else 1


def _hold(stage: Stage, console: Console) -> None:
    fault = stage.shop.inject("migration")
    stage.shop.traffic()
    console.print(
        f"""
[bold]The shop is in trouble: a migration holds a lock, sessions pile up.[/]

  Channel    {stage.slack_url}     type [bold]/runbook db-latency database=orders-db[/]
  Service    {stage.url}     sign in as [bold]ana[/] (on call), [bold]ben[/] (approver),
                                       [bold]vera[/] (viewer) or [bold]otto[/] (auditor)

  Ana asks, Ben approves: nobody approves what they asked for.
  To break the shop again: [bold]m[/] + Enter (migration), [bold]r[/] + Enter (a row lock). Ctrl-C stops everything.
  To let an alert bring the diagnosis into #{alarm.CHANNEL} by itself: [bold]a[/] + Enter.
""",
        soft_wrap=True,  # a command that is broken in two cannot be copied
    )
    watch = sys.stdin.isatty()
    while True:
        if not watch:
            signal.pause()
        ready, _, _ = select.select([sys.stdin], [], [], 1.0)
        if not ready:
            continue
        typed = sys.stdin.readline().strip()
        if typed == "a":
            alarm.ring(stage)
            console.print(f"The alert was sent; look into #{alarm.CHANNEL}.")
            continue
        kind = {"m": "migration", "r": "idle-row-lock"}.get(typed)
        if kind is None:
            console.print("m, r or a, then Enter.")
            continue
        fault.stop()
        fault = stage.shop.inject(kind)
        console.print(f"The shop is broken again: {kind}.")


def _home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "runbooks"
