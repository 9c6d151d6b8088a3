"""`python -m runbooks_app.main.demo.slack`: the stand-in as a process of its own.

Token and signing secret come from files, since arguments and environment show in process lists.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import Any

from runbooks_app.main.demo.slack.app import SlackConfig, create_slack, serve


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m runbooks_app.main.demo.slack", description="A local stand-in for Slack."
    )
    parser.add_argument("--service-url", required=True, help="base URL of the runbook service")
    parser.add_argument("--token-file", required=True, type=Path, help="file with the bot token to accept")
    parser.add_argument("--signing-secret-file", required=True, type=Path, help="file with the signing secret")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--state", type=Path, help="JSON file that keeps messages between starts")
    parser.add_argument("--person", action="append", metavar="ID=NAME", default=[], help="a person (repeatable)")
    parser.add_argument("--channel", action="append", metavar="ID=NAME", default=[], help="a channel (repeatable)")
    parser.add_argument("--team", default="T0DEMO", help="id of the workspace")
    told = parser.parse_args(arguments)
    people, channels = (dict(pair.split("=", 1) for pair in pairs) for pairs in (told.person, told.channel))
    given: dict[str, Any] = {key: value for key, value in (("people", people), ("channels", channels)) if value}
    config = SlackConfig(
        token=told.token_file.read_text(encoding="utf-8").strip(),
        signing_secret=told.signing_secret_file.read_text(encoding="utf-8").strip(),
        service_url=told.service_url, team_id=told.team, state=told.state, **given,
    )  # fmt: skip
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with serve(create_slack(config), port=told.port) as url:
        print(url, flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
