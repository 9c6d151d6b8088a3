"""`runbooks doctor` on Slack, against a server that answers as Slack does."""

from __future__ import annotations

import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import pytest

from runbooks_app.chat.scopes import SCOPES
from runbooks_app.main import doctor
from runbooks_app.settings import Settings

pytestmark = pytest.mark.chat

TOKEN = "xoxb-a-token-that-no-log-may-hold"


@pytest.fixture
def found(stand_in, tmp_path, monkeypatch):
    """What the check says of an installation in order, changed by `given`; a secret is given by its content."""
    monkeypatch.setattr(doctor, "CHECKS", {"slack": doctor.slack})

    def examine(**given):
        in_order = {
            "slack_bot_token_file": TOKEN, "slack_signing_secret_file": "the signing secret", "slack_team": "T0DEMO",
            "slack_channel": "C0INCIDENTS", "slack_api_url": f"{stand_in.url}api/",
        }  # fmt: skip
        told = {name: value for name, value in (in_order | given).items() if value is not None}
        for name in [name for name in told if name.endswith("_file")]:
            (tmp_path / name).write_text(told[name])
            told[name] = tmp_path / name
        (finding,) = doctor.examine(Settings(config_dir=tmp_path, **told))
        return finding

    return examine


def test_an_app_in_order_is_told_with_what_no_token_can_see(found):
    finding = found()
    assert finding.state == "ok"
    assert f"Demo (T0DEMO), with all {len(SCOPES)} scopes; Slack sends requests to" in finding.says
    assert "Events and the shortcut are seen by no token: they come with deploy/slack-manifest.yaml" in finding.says


def test_without_a_slack_app_it_is_remarked_how_to_make_one(found):
    finding = found(slack_bot_token_file=None, slack_signing_secret_file=None)
    assert (finding.state, "deploy/slack-manifest.yaml" in finding.says) == ("remark", True)


def test_a_token_that_slack_does_not_know_is_told_and_never_shown(found):
    finding = found(slack_bot_token_file="xoxb-of-another-app")
    assert finding.state == "wrong"
    assert "RUNBOOKS_SLACK_BOT_TOKEN_FILE: Slack refused to check the token: invalid_auth." in finding.says
    assert "xoxb-of-another-app" not in finding.says


def test_each_scope_that_is_lacking_is_named_with_what_it_is_for_and_one_too_many_is_remarked(found, stand_in):
    stand_in.app.config["SCOPES"] = [scope for scope in SCOPES if scope != "pins:read"]
    finding = found()
    assert finding.state == "wrong"
    assert f"the bot token lacks pins:read ({SCOPES['pins:read']}). Add them from deploy/slack-manifest" in finding.says
    stand_in.app.config["SCOPES"] = [*SCOPES, "admin"]
    finding = found()
    assert (finding.state, "may more than it needs: admin" in finding.says) == ("remark", True)


def test_a_clock_that_is_wrong_is_told_before_slack_is_refused_for_it(found, monkeypatch):
    ahead = formatdate(time.time() + 90, usegmt=True)
    monkeypatch.setattr(BaseHTTPRequestHandler, "date_time_string", lambda *_: ahead)
    finding = found()
    assert (finding.state, "clock: this machine's and Slack's differ by" in finding.says) == ("wrong", True)


def test_the_token_of_another_workspace_is_told(found):
    finding = found(slack_team="T0OTHER")
    assert (finding.state, "is T0OTHER, and the bot token is of T0DEMO" in finding.says) == ("wrong", True)


def test_all_that_the_settings_lack_is_told_at_once(found):
    finding = found(slack_bot_token_file=None, slack_team=None)
    assert finding.state == "wrong"
    assert "RUNBOOKS_SLACK_BOT_TOKEN_FILE: names no file" in finding.says
    assert "RUNBOOKS_SLACK_TEAM: names no workspace" in finding.says
    finding = found(slack_signing_secret_file=None)
    assert "RUNBOOKS_SLACK_APP_TOKEN_FILE" in finding.says


def test_slack_that_does_not_answer_is_told_as_that(found):
    finding = found(slack_api_url="http://127.0.0.1:1/api/")
    assert (finding.state, "Slack cannot be reached" in finding.says) == ("wrong", True)


def test_the_token_of_socket_mode_is_tried_by_opening_a_connection(found):
    finding = found(slack_app_token_file="xoxb-a-bot-token-in-its-place")
    assert finding.state == "wrong"
    assert "RUNBOOKS_SLACK_APP_TOKEN_FILE: Slack refused to open a connection" in finding.says
    assert "connections:write" in finding.says
    assert "xoxb-a-bot-token" not in finding.says


def test_a_channel_that_is_not_named_is_remarked(found):
    finding = found(slack_channel=None)
    assert (finding.state, "RUNBOOKS_SLACK_CHANNEL" in finding.says) == ("remark", True)
