"""What `runbooks doctor` asks of Slack: tokens, scopes, the way in, and the clock. It posts nothing.

What Slack shows to no token, it cannot see: whether the app sends events and has the shortcut. Both come with
the manifests of `deploy/`, which is said with each finding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from runbooks_app.chat.client import Slack, Workspace
from runbooks_app.chat.scopes import APP_TOKEN_SCOPE, SCOPES
from runbooks_app.core.errors import Misconfigured, Problem, RunbooksError
from runbooks_app.settings import PREFIX, Settings

FURTHEST_APART = 60
"""Seconds between Slack's clock and ours; beyond five minutes its requests are refused as too old."""

UNSEEN = "Events and the shortcut are seen by no token: they come with {manifest}."


def examine(settings: Settings, patience: float) -> tuple[str, tuple[str, ...]]:
    """What was found, and what should be known although all works; `patience` is in seconds.

    Raises `Misconfigured` with everything that is wrong, `Away` where Slack cannot be reached.
    """
    token = settings.secret("slack_bot_token_file")
    app_token = settings.secret("slack_app_token_file")
    if not token and not app_token and not settings.secret("slack_signing_secret_file"):
        return "not used", (f"no Slack app is configured. Make one from {manifest(settings)} to work from chat",)
    problems = list(_named(settings))
    found: Workspace | None = None
    if token:
        try:
            found = Slack(token, base_url=settings.slack_api_url, timeout=int(patience)).check()
        except RunbooksError as error:
            problems.append(Problem(f"{PREFIX}SLACK_BOT_TOKEN_FILE", error.message))
        else:
            problems += _wrong(settings, found)
    if app_token:
        try:
            Slack(app_token, base_url=settings.slack_api_url, timeout=int(patience)).socket_address()
        except RunbooksError as error:
            fix = f"It wants an app-level token with {APP_TOKEN_SCOPE}, and Socket Mode switched on for the app."
            problems.append(Problem(f"{PREFIX}SLACK_APP_TOKEN_FILE", error.message, fix))
    if problems or found is None:
        raise Misconfigured("Slack cannot be worked from as it is.", problems=tuple(problems))
    way = "fetches requests by Socket Mode" if app_token else f"Slack sends requests to {settings.public_url}"
    says = f"{found.team} ({found.team_id}), with all {len(SCOPES)} scopes; {way}. {UNSEEN}"
    return says.format(manifest=manifest(settings)), tuple(_remarks(settings, found))


def manifest(settings: Settings) -> str:
    """The manifest that makes the app for these settings."""
    return f"deploy/slack-manifest{'-socket' if settings.slack_app_token_file else ''}.yaml"


def _named(settings: Settings) -> Iterator[Problem]:
    """What the settings lack or contradict."""
    if settings.slack_bot_token_file is None:
        yield Problem(f"{PREFIX}SLACK_BOT_TOKEN_FILE", "names no file, so nothing is posted.")
    if not settings.slack_team:
        yield Problem(f"{PREFIX}SLACK_TEAM", "names no workspace, so all its requests are refused.")
    if settings.slack_app_token_file is not None:
        return
    if settings.slack_signing_secret_file is None:
        fix = f"Name the signing secret's file, or by {PREFIX}SLACK_APP_TOKEN_FILE that of Socket Mode's token."
        yield Problem(f"{PREFIX}SLACK_SIGNING_SECRET_FILE", "names no file, so Slack's requests are refused.", fix)
    if settings.slack_api_url.startswith("https:") and not settings.public_url.startswith("https:"):
        fix = f"Serve it by https, or use Socket Mode ({PREFIX}SLACK_APP_TOKEN_FILE)."
        yield Problem(f"{PREFIX}PUBLIC_URL", f"is {settings.public_url}, and Slack sends requests by https alone.", fix)


def _wrong(settings: Settings, found: Workspace) -> Iterator[Problem]:
    """What of the bot token's workspace, scopes and time does not hold."""
    if settings.slack_team and found.team_id != settings.slack_team:
        where, what = f"{PREFIX}SLACK_TEAM", f"is {settings.slack_team}, and the bot token is of {found.team_id}."
        yield Problem(where, what, f"Set it to {found.team_id}, or install the app in the other workspace.")
    if lacking := [f"{scope} ({SCOPES[scope]})" for scope in SCOPES if scope not in found.scopes]:
        fix = f"Add them from {manifest(settings)}, and install the app again."
        yield Problem("scopes", f"the bot token lacks {', '.join(lacking)}.", fix)
    if found.at is not None and (apart := abs(found.at - time.time())) > FURTHEST_APART:
        yield Problem("clock", f"this machine's and Slack's differ by {apart:.0f} s.", "Set this one by NTP.")


def _remarks(settings: Settings, found: Workspace) -> Iterator[str]:
    if more := sorted(found.scopes - SCOPES.keys()):
        yield f"the bot token may more than it needs: {', '.join(more)}. Take them away, and install the app again"
    if not settings.slack_channel:
        yield f"{PREFIX}SLACK_CHANNEL is not set: runs that start in no channel are told nowhere"
