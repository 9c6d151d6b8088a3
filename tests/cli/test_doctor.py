"""`runbooks doctor`: it passes where all is well, and names what is not, with the mend."""

from __future__ import annotations

import os
import subprocess
import sys

import hostile_provider
import pytest

from runbooks_app.main import doctor
from runbooks_app.settings import Settings

pytestmark = pytest.mark.kernels


def run(*arguments, **environment):
    command = [sys.executable, "-m", "runbooks_app.main", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def found(name, **given):
    """What one check says of settings with these values."""
    settings = Settings(**given)
    (finding,) = [finding for finding in doctor.examine(settings) if finding.check == name]
    return finding


def test_settings_that_cannot_be_read_are_the_only_finding():
    answer = run(RUNBOOKS_SANDBOKS="off")
    assert answer.returncode == 1
    assert "RUNBOOKS_SANDBOKS: is no setting. Did you mean RUNBOOKS_SANDBOX?" in answer.stdout
    assert "database" not in answer.stdout


def test_an_installation_with_nothing_in_place_is_told_each_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", {name: c for name, c in doctor.CHECKS.items() if name != "sandbox"})
    nothing = Settings(config_dir=tmp_path, database_url="postgresql://runbooks_app@127.0.0.1:1/runbooks")
    findings = {finding.check: finding for finding in doctor.examine(nothing)}
    for check, mend in {
        "database": "RUNBOOKS_DATABASE_URL",
        "library": "Name the folder that holds the notebooks",
        "connections": "RUNBOOKS_CONNECTIONS",
        "provider": "RUNBOOKS_OIDC_ISSUER",
    }.items():
        assert findings[check].state == "wrong"
        assert mend in findings[check].says
    assert findings["redis"].state == "remark"


@pytest.fixture
def only(monkeypatch):
    """Make one check alone."""
    checks = doctor.CHECKS
    return lambda name: monkeypatch.setattr(doctor, "CHECKS", {name: checks[name]})


def test_a_secret_that_others_may_read_or_that_is_missing_is_told(tmp_path, only):
    only("secrets")
    (tmp_path / "connections.toml").write_text("")
    opened, missing = tmp_path / "open.secret", tmp_path / "missing.secret"
    opened.write_text("x")
    opened.chmod(0o644)
    finding = found("secrets", config_dir=tmp_path, web_key_file=opened, slack_bot_token_file=missing)
    assert finding.state == "wrong"
    assert f"chmod 600 {opened}" in finding.says
    assert f"RUNBOOKS_SLACK_BOT_TOKEN_FILE: {missing} cannot be read" in finding.says
    opened.chmod(0o600)
    assert found("secrets", config_dir=tmp_path, web_key_file=opened).state == "ok"


def test_redis_and_artifacts_that_are_away_are_told(tmp_path, only):
    only("redis")
    assert "RUNBOOKS_REDIS_URL" in found("redis", redis_url="redis://127.0.0.1:1/0").says
    only("artifacts")
    (tmp_path / "file").touch()
    finding = found("artifacts", config_dir=tmp_path, artifacts="file://file/inside")
    assert (finding.state, "RUNBOOKS_ARTIFACTS" in finding.says) == ("wrong", True)


def test_a_sandbox_that_is_off_is_remarked(only):
    only("sandbox")
    finding = found("sandbox", sandbox="off")
    assert (finding.state, "RUNBOOKS_SANDBOX=on" in finding.says) == ("remark", True)


def test_a_system_that_cannot_seal_kernels_is_told_so(only, monkeypatch):
    only("sandbox")
    monkeypatch.setattr("runbooks_app.kernels.sandbox.landlock.version", lambda: 3)
    finding = found("sandbox")
    assert finding.state == "wrong"
    assert "Landlock ABI 3" in finding.says
    assert "Linux 6.12" in finding.says


def test_the_provider_is_asked_for_what_it_publishes_and_is_the_one_that_was_named(only):
    only("provider")
    with hostile_provider.serve() as provider:
        finding = found("provider", oidc_issuer=provider.url)
        assert (finding.state, "answers, with 2 keys; it has no page for signing out" in finding.says) == ("ok", True)
        provider.discovery = lambda told: {**told, "authorization_endpoint": "http://login.example/authorize"}
        assert "RUNBOOKS_OIDC_ORIGIN=http://login.example" in found("provider", oidc_issuer=provider.url).says
        provider.discovery = lambda told: {**told, "issuer": "https://another.example"}
        assert "names another issuer" in found("provider", oidc_issuer=provider.url).says
        provider.failing.add("/.well-known/openid-configuration")
        assert "does not answer" in found("provider", oidc_issuer=provider.url).says
