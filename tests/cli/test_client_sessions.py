"""Signing in from a terminal, and the file that keeps it."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from dataclasses import replace

import pytest
from far_service import REFRESH, TOKEN, error

from runbooks_app.main import cli
from runbooks_app.main.client import signing_in, talking
from runbooks_app.main.client.failures import Failure, Refusal

pytestmark = pytest.mark.identity


def test_signing_in_shows_address_and_code_and_keeps_the_tokens_for_ones_own_eyes(far, runbooks, folder):
    code, told, _ = runbooks("login", "--url", far.url + "/")
    assert code == 0
    assert told.startswith(f"Open   {far.url}/enter\nEnter  ABCD-EFGH\n")
    assert f"Signed in at {far.url} as Ana (responder)." in told
    (file,) = folder.glob("*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert TOKEN not in told
    assert REFRESH not in told
    (begun,), (asked,) = far.requests("POST /device"), far.requests("POST /token")
    assert begun.form == {"client_id": "runbooks-cli", "scope": "openid offline_access", "resource": far.url}
    assert asked.form["device_code"] == "device-code"
    assert asked.form["resource"] == far.url
    assert far.requests("GET /api/v1/me")[0].token == TOKEN


def test_no_token_is_shown_by_what_holds_it(far, ana):
    session = ana.load(far.url)
    for shown in (repr(session), repr(talking.Answer(200, TOKEN.encode()))):
        assert TOKEN not in shown
        assert REFRESH not in shown


def poll(far, *answers, expires_in=600, interval=5):
    """Ask for tokens with these answers, by a clock of one's own: seconds waited before each question."""
    far.answers["POST /device"][0] |= {"expires_in": expires_in, "interval": interval}
    far.answers["POST /token"] = list(answers)
    provider = signing_in.provider_of(far.url)
    waits = []
    session = signing_in.finish(
        provider, signing_in.begin(provider), sleep=waits.append, clock=lambda: float(sum(waits))
    )
    return session, waits


PENDING, SLOW = (400, {"error": "authorization_pending"}), (400, {"error": "slow_down"})


def test_the_provider_is_asked_as_often_as_it_says(far):
    session, waits = poll(far, PENDING, SLOW, PENDING, SLOW, far.tokens())
    assert session.access_token == TOKEN
    assert waits == [5, 5, 10, 10, 15]


@pytest.mark.parametrize("interval", [None, "5", 0, -3, True])
def test_without_a_sound_interval_it_is_asked_every_five_seconds(far, interval):
    assert poll(far, PENDING, far.tokens(), interval=interval)[1] == [5, 5]


def test_a_provider_that_is_away_for_a_moment_is_asked_more_rarely(far):
    assert poll(far, (0, None), (0, None), (503, b"<html>"), far.tokens())[1] == [5, 10, 20, 20]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((400, {"error": "access_denied"}), "refused in the browser"),
        ((400, {"error": "expired_token"}), "The code has expired"),
        ((400, {"error": "invalid_client", "error_description": "no\x1bsuch"}), "invalid_client — no\ufffdsuch"),
        ((200, {"token_type": "Bearer"}), "gives no token"),
        ((200, b"<html>"), "gives no token"),
    ],
)
def test_why_nobody_was_signed_in_is_told(far, answer, told):
    with pytest.raises(Refusal, match=told):
        poll(far, PENDING, answer)


def test_a_code_that_nobody_enters_expires_here_too(far):
    with pytest.raises(Refusal, match="expired before you signed in"):
        poll(far, PENDING, expires_in=12)
    assert len(far.requests("POST /token")) == 2


def test_a_provider_without_device_flow_is_told_as_that(far, runbooks):
    del far.answers["GET /.well-known/openid-configuration"][0]["device_authorization_endpoint"]
    code, _, complained = runbooks("login", "--url", far.url)
    assert (code, "offers no device flow" in complained) == (2, True)


def test_a_stranger_gets_no_token_that_opens_another_service(far, runbooks):
    """RFC 9728, section 3.3: what a service says it is must be where it was asked."""
    far.answers["GET /.well-known/oauth-protected-resource"][0]["resource"] = "https://runbooks.example.com"
    code, _, complained = runbooks("login", "--url", far.url)
    assert (code, "https://runbooks.example.com" in complained) == (2, True)
    assert not far.requests("POST /device")


def test_an_audience_that_is_no_address_is_not_sent_as_one(far, runbooks):
    far.answers["GET /.well-known/oauth-protected-resource"][0]["resource"] = "runbooks-api"
    assert runbooks("login", "--url", far.url)[0] == 0
    assert "resource" not in far.requests("POST /device")[0].form


@pytest.mark.parametrize(
    "url",
    ["runbooks.example.com", "http://runbooks.example.com", "https://runbooks.example.com/x", "ftp://x", "file:///etc",
     "https://", "https://ana:pw@runbooks.example.com", "http://[::1", "http://127.0.0.1.example.com"],
)  # fmt: skip
def test_no_token_goes_over_an_open_network_or_to_what_is_no_service(runbooks, url):
    assert runbooks("login", "--url", url)[0] == 2


@pytest.mark.parametrize("place", ["token_endpoint", "device_authorization_endpoint", "revocation_endpoint"])
def test_no_token_goes_to_a_providers_place_that_is_not_encrypted(far, runbooks, place):
    far.answers["GET /.well-known/openid-configuration"][0][place] = "http://login.example.com/x"
    code, _, complained = runbooks("login", "--url", far.url)
    assert (code, "is not encrypted" in complained) == (2, True)


def test_a_token_that_the_service_does_not_take_is_revoked_and_not_kept(far, runbooks, folder):
    far.answers["GET /api/v1/me"] = [(401, error("invalid_token", "The access token cannot be believed (expired)."))]
    code, _, complained = runbooks("login", "--url", far.url)
    assert (code, "cannot be believed (expired)" in complained) == (1, True)
    assert not list(folder.glob("*.json"))
    assert {asked.form["token"] for asked in far.requests("POST /revoke")} == {TOKEN, REFRESH}


def test_somebody_without_a_role_is_told_what_that_means(far, runbooks):
    far.answers["GET /api/v1/me"] = [{"name": "Vera", "roles": []}]
    assert "Without a role you can do nothing there" in runbooks("login", "--url", far.url)[1]


def test_the_service_of_the_latest_sign_in_is_meant_unless_another_is_named(far, ana, runbooks, monkeypatch):
    far.answers["GET /api/v1/runs"] = [{"runs": [], "next": None}]
    older = replace(ana.load(far.url), url="https://other.example.com", signed_in_at=1)
    ana.save(older)
    assert runbooks("list", "runs")[0] == 0
    monkeypatch.setenv("RUNBOOKS_URL", "https://elsewhere.example.com")
    code, _, complained = runbooks("list", "runs")
    assert (code, "runbooks login --url https://elsewhere.example.com" in complained) == (3, True)
    assert runbooks("list", "runs", "--url", far.url)[0] == 0


def test_the_variable_that_names_a_service_is_no_unknown_setting(runbooks, monkeypatch):
    monkeypatch.setenv("RUNBOOKS_URL", "https://runbooks.example.com")
    cli.settings()


OPEN = {
    "a file that others can read": lambda file: file.chmod(0o644),
    "a file that its group can write": lambda file: file.chmod(0o620),
    "a folder that others can look into": lambda file: file.parent.chmod(0o755),
    "a link": lambda file: (file.rename(file.with_name("moved")), file.symlink_to(file.with_name("moved"))),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file, 0o600)),
    "half a file": lambda file: file.write_text(file.read_text()[:40]),
    "another file": lambda file: file.write_text('{"a": 1}'),
    "a file with a time that is none": lambda file: file.write_text(
        json.dumps(json.loads(file.read_text()) | {"expires_at": "soon"})
    ),
}


@pytest.mark.parametrize("how", OPEN)
def test_tokens_are_not_taken_from(far, ana, folder, runbooks, how):
    (file,) = folder.glob("*.json")
    OPEN[how](file)
    code, told, complained = runbooks("list", "--url", far.url)
    assert code == 2
    assert str(folder) in complained
    assert not far.asked
    assert TOKEN not in told + complained


def test_nothing_is_kept_in_a_folder_that_others_can_look_into(far, runbooks, folder):
    folder.mkdir(mode=0o755)
    code, _, complained = runbooks("login", "--url", far.url)
    assert (code, f"chmod 700 {folder}" in complained) == (2, True)
    assert not list(folder.glob("*.json"))


def test_a_session_is_replaced_as_a_whole_or_not_at_all(far, ana, folder, monkeypatch):
    before = ana.load(far.url)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match="No space left"):
        ana.save(replace(before, access_token="other"))
    assert ana.load(far.url) == before
    assert {path.suffix for path in folder.iterdir()} == {".json", ".lock"}


def expired(far, ana, **changes):
    ana.save(replace(ana.load(far.url), expires_at=time.time() + 20, **changes))


def test_a_token_is_renewed_before_it_ends_and_the_new_refresh_token_is_kept(far, ana, runbooks):
    far.answers |= {
        "POST /token": [far.tokens(access_token="second", refresh_token="next")],
        "GET /api/v1/runs": [{"runs": [], "next": None}],
    }
    expired(far, ana)
    assert runbooks("list", "runs")[0] == 0
    (asked,) = far.requests("POST /token")
    assert asked.form == {
        "grant_type": "refresh_token",
        "refresh_token": REFRESH,
        "client_id": "runbooks-cli",
        "resource": far.url,
    }
    assert far.requests("GET /api/v1/runs")[0].token == "second"
    assert (ana.load(far.url).access_token, ana.load(far.url).refresh_token) == ("second", "next")


def test_a_refresh_token_that_is_not_changed_stays(far, ana, runbooks):
    far.answers |= {
        "POST /token": [far.tokens(access_token="second", refresh_token=None)],
        "GET /api/v1/runs": [{"runs": [], "next": None}],
    }
    expired(far, ana)
    assert runbooks("list", "runs")[0] == 0
    assert ana.load(far.url).refresh_token == REFRESH


def test_of_two_that_renew_at_once_only_the_first_asks(far, ana):
    expired(far, ana)
    far.answers["POST /token"] = [far.tokens(access_token="second", refresh_token="next"), (400, {"error": "again"})]
    worn, got = ana.load(far.url), []
    with ana.locked(far.url):
        both = [threading.Thread(target=lambda: got.append(signing_in.renewed(ana, worn))) for _ in range(2)]
        for one in both:
            one.start()
    for one in both:
        one.join(10)
    assert [session.access_token for session in got] == ["second", "second"]
    assert len(far.requests("POST /token")) == 1


def test_a_session_that_has_ended_is_forgotten_and_one_whose_provider_is_away_is_not(far, ana, runbooks):
    expired(far, ana)
    far.answers["POST /token"] = [(503, b"away")]
    assert runbooks("list")[0] == 2
    assert ana.load(far.url)
    far.answers["POST /token"] = [(400, {"error": "invalid_grant"})]
    code, _, complained = runbooks("list")
    assert (code, "has ended" in complained) == (3, True)
    assert ana.load(far.url) is None


def test_without_a_refresh_token_the_sign_in_ends_with_its_token(far, ana, runbooks):
    ana.save(replace(ana.load(far.url), expires_at=1, refresh_token=""))
    assert runbooks("list")[0] == 3
    assert not far.asked


def test_a_token_that_the_service_no_longer_takes_is_renewed_once(far, ana, runbooks):
    refused = (401, error("invalid_token", "The access token cannot be believed (expired)."))
    far.answers |= {
        "POST /token": [far.tokens(access_token="second")],
        "POST /api/v1/incidents/12/notes": [refused, {"id": 1}],
    }
    assert runbooks("note", 12, "x")[0] == 0
    assert [asked.token for asked in far.requests("POST /api/v1/incidents/12/notes")] == [TOKEN, "second"]
    far.answers["POST /api/v1/incidents/12/notes"] = [refused]
    code, _, complained = runbooks("note", 12, "x")
    assert (code, "runbooks login" in complained) == (3, True)


def test_a_redirect_is_not_followed_so_no_token_goes_elsewhere(far, ana, runbooks):
    far.answers["GET /api/v1/runs"] = [(302, {})]
    assert runbooks("list", "runs")[0] == 2
    assert [asked.what for asked in far.asked] == ["GET /api/v1/runs"]


def test_signing_out_revokes_and_forgets(far, ana, runbooks):
    assert runbooks("logout") == (0, f"Signed out of {far.url}.\n", "")
    assert [asked.form["token_type_hint"] for asked in far.requests("POST /revoke")] == [
        "refresh_token",
        "access_token",
    ]
    assert ana.load(far.url) is None
    assert runbooks("logout")[0] == 3


@pytest.mark.parametrize("answer", [(503, b""), (0, None)])
def test_signing_out_forgets_also_where_the_provider_is_away_and_says_what_that_means(far, ana, runbooks, answer):
    far.answers["POST /revoke"] = [answer]
    code, told, _ = runbooks("logout")
    assert (code, "did not confirm" in told) == (0, True)
    assert ana.load(far.url) is None
