"""The manifests make the app with exactly what the code names, whichever way Slack's requests come in."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runbooks_app.chat.scopes import EVENTS, SCOPES, SHORTCUT

pytestmark = pytest.mark.chat

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = ("slack-manifest.yaml", "slack-manifest-socket.yaml")


def read(name):
    return yaml.safe_load((DEPLOY / name).read_text())


def urls(value):
    """Every address in a manifest."""
    if isinstance(value, dict):
        return [url for part in value.values() for url in urls(part)]
    if isinstance(value, list):
        return [url for part in value for url in urls(part)]
    return [value] if isinstance(value, str) and value.startswith("http") else []


def without_urls(value):
    if isinstance(value, dict):
        return {key: without_urls(part) for key, part in value.items() if key not in {"url", "request_url"}}
    return [without_urls(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", NAMES)
def test_scopes_events_and_shortcut_are_those_of_the_code_and_no_more(name):
    manifest = read(name)
    assert manifest["oauth_config"] == {"scopes": {"bot": list(SCOPES)}}
    assert manifest["settings"]["event_subscriptions"]["bot_events"] == list(EVENTS)
    assert [(s["type"], s["callback_id"]) for s in manifest["features"]["shortcuts"]] == [("message", SHORTCUT)]
    assert [c["command"] for c in manifest["features"]["slash_commands"]] == ["/runbook"]


@pytest.mark.parametrize("name", NAMES)
def test_each_scope_says_what_it_is_for_in_the_codes_words(name):
    lines = (DEPLOY / name).read_text().splitlines()
    told = dict(
        line.strip().removeprefix("- ").split("#", 1) for line in lines if line.startswith("      - ") and "#" in line
    )
    assert {scope.strip(): why.strip() for scope, why in told.items()} == dict(SCOPES)


def test_the_two_differ_in_addresses_and_in_the_way_alone():
    over_http, over_socket = (read(name) for name in NAMES)
    assert over_http["settings"].pop("socket_mode_enabled") is False
    assert over_socket["settings"].pop("socket_mode_enabled") is True
    assert urls(over_socket) == []
    assert without_urls(over_http) == over_socket
