"""The sign-in of agents on somebody's machine: kept apart from the person's own."""

from __future__ import annotations

import stat
import time
from dataclasses import replace

import pytest
from far_service import REFRESH, TOKEN

from runbooks_app.main.client import talking
from runbooks_app.main.client.api import Api
from runbooks_app.main.client.failures import NeedsBrowser
from runbooks_app.main.client.keeping import Sessions

pytestmark = pytest.mark.pages


@pytest.fixture
def agents(folder):
    """Where the sign-ins of agents are kept."""
    return Sessions(folder.with_name("runbooks-agents"), agent=True)


def is_agents(far):
    far.answers["GET /api/v1/me"] = [{"name": "Ana through runbooks-agent (agent)", "roles": [], "agent": "x"}]


def test_an_agents_sign_in_is_got_by_its_own_client_and_kept_in_its_own_folder(far, ana, agents, runbooks, folder):
    is_agents(far)
    code, told, _ = runbooks("login", "--agent")
    assert (code, f"Signed in at {far.url} as Ana through runbooks-agent (agent)" in told) == (0, True)
    assert far.requests("POST /device")[0].form["client_id"] == "runbooks-agent"
    assert agents.load(far.url).client_id == "runbooks-agent"
    assert ana.load(far.url).client_id == "runbooks-cli"
    assert stat.S_IMODE(agents.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(next(agents.folder.glob("*.json")).stat().st_mode) == 0o600


def test_a_sign_in_that_the_service_takes_for_a_persons_is_revoked_and_not_kept(far, agents, runbooks):
    code, _, complained = runbooks("login", "--agent", "--url", far.url)
    assert (code, "takes this sign-in for yours" in complained) == (1, True)
    assert agents.load(far.url) is None
    assert {asked.form["token"] for asked in far.requests("POST /revoke")} == {TOKEN, REFRESH}


def test_signing_the_agent_out_leaves_the_person_signed_in(far, ana, agents, runbooks):
    is_agents(far)
    runbooks("login", "--agent")
    assert runbooks("logout", "--agent")[0] == 0
    assert agents.load(far.url) is None
    assert ana.load(far.url)


def test_an_agent_whose_sign_in_has_ended_is_told_the_command_for_agents(far, agents):
    with pytest.raises(NeedsBrowser, match=f"runbooks login --agent --url {far.url}"):
        Api(far.url, agents).get("me")


def test_a_sign_in_that_the_provider_has_ended_names_the_command_for_agents(far, ana, agents):
    agents.save(replace(ana.load(far.url), expires_at=time.time() + 5))
    far.answers["POST /token"] = [(400, {"error": "invalid_grant"})]
    with pytest.raises(NeedsBrowser, match=f"runbooks login --agent --url {far.url}"):
        Api(far.url, agents).get("me")


def test_what_an_agent_calls_itself_goes_along_in_plain_letters(far):
    talking.ask("GET", f"{far.url}/api/v1/me", token=TOKEN, agent="caf\u00e9 \u2603\n" + "x" * 200)
    assert far.requests("GET /api/v1/me")[0].agent == "caf? ? " + "x" * 93


@pytest.mark.parametrize("place", ["0.0.0.0:8765", "example.com:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x"])
def test_agents_tokens_are_not_taken_over_an_open_network(runbooks, place):
    code, told, complained = runbooks("mcp", "--url", "http://127.0.0.1:9", "--http", place)
    assert (code, told, "is no place on this machine" in complained) == (2, "", True)
