"""`runbooks identity`, and what `runbooks doctor` says of the run identity."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import replace

import notebooks
import pytest
from installation import DIAGNOSE, installed
from joserfc.jwk import RSAKey
from printed_policies import files
from service_database import APP_PASSWORD
from typer.testing import CliRunner

from runbooks_app.actions import identity
from runbooks_app.actions.context import worker_actor
from runbooks_app.connections import read_connections
from runbooks_app.core.errors import RunbooksError
from runbooks_app.core.run_identity import discovery, thumbprint
from runbooks_app.main.cli import app
from runbooks_app.main.identity import examine

pytestmark = pytest.mark.identity


@pytest.fixture
def here(installation, monkeypatch, tmp_path):
    """The installation, named by the settings of a command line."""
    password = tmp_path / "app.password"
    password.touch(mode=0o600)
    password.write_text(APP_PASSWORD)
    (tmp_path / "connections.toml").write_text("")
    database = installation.database
    given = {
        "CONFIG_DIR": tmp_path,
        "PUBLIC_URL": installation.url,
        "LIBRARY": "library",
        "IDENTITY_KEYS": "keys",
        "DATABASE_URL": database.server.url("runbooks_app", database.name),
        "DATABASE_PASSWORD_FILE": password,
    }
    for name, value in given.items():
        monkeypatch.setenv(f"RUNBOOKS_{name}", str(value))
    settings = installation.service.settings.model_copy(
        update={"database_url": given["DATABASE_URL"], "database_password_file": password}
    )
    object.__setattr__(installation, "service", replace(installation.service, settings=settings))
    return installation


def run(*arguments):
    return CliRunner().invoke(app, ["identity", *arguments])


def printed(*arguments):
    answer = run(*arguments)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture
def runbooks(here):
    """Ids of two runbooks by name."""
    for name in ("disk-full", "db-latency"):
        notebooks.write(here.folder / "library", name, notebooks.cell("look", "1", "diagnostic"))
    return {name: found.id for name, found in here.service.library.runbooks().items()}


def trusted(*arguments):
    """The subjects that a printed policy of AWS trusts for diagnosing."""
    (statement,) = files(printed("show", "aws", *arguments))["runbooks-diagnose.trust.json"]["Statement"]
    (names,) = [value for name, value in statement["Condition"]["StringEquals"].items() if name.endswith(":sub")]
    return {name.split(":")[1] for name in names}


def test_policies_trust_exactly_the_runbooks_of_the_library_or_those_that_are_named(runbooks):
    assert trusted() == set(runbooks.values())
    assert trusted("--runbook", "disk-full") == {runbooks["disk-full"]}
    assert trusted("--runbook", "disk-full", "--runbook", "db-latency") == set(runbooks.values())


def test_a_policy_for_any_runbook_has_to_be_asked_for(runbooks):
    roles = files(printed("show", "vault", "--any", "--audience", "https://vault.example.com"))
    assert "sub" not in roles["runbooks-diagnose.role.json"]["bound_claims"]
    assert roles["runbooks-diagnose.role.json"]["bound_audiences"] == ["https://vault.example.com"]
    assert run("show", "aws", "--any", "--runbook", "disk-full").exit_code == 2
    assert run("show", "azure").exit_code == 2


def test_what_is_to_be_trusted_is_told_in_words(here, runbooks):
    told = printed("show")
    assert f"Issuer      {here.url}" in told
    for runbook in runbooks.values():
        assert f"runbook:{runbook}:env:production:stage:remediate" in told


def test_an_empty_library_is_told(here):
    with pytest.raises(RunbooksError, match="--any"):
        CliRunner().invoke(app, ["identity", "show", "aws"], catch_exceptions=False)


def test_the_printed_keys_are_the_served_ones_and_verify_a_token(here):
    with pytest.raises(RunbooksError, match="start a worker"):
        CliRunner().invoke(app, ["identity", "jwks"], catch_exceptions=False)
    here.turn()
    assert [key["kid"] for key in json.loads(printed("jwks"))["keys"]] == here.kids()
    assert json.loads(printed("discovery")) == discovery(here.url, f"{here.url}/.well-known/jwks.json")


def test_a_key_is_withdrawn_from_the_command_line_and_another_takes_its_place(here):
    token = here.turn().token("a", DIAGNOSE)
    assert here.verified(token)
    (gone,) = here.kids()
    assert f"{gone} is withdrawn" in printed("withdraw", gone, "--reason", "the machine was lost")
    here.turn()
    (other,) = here.kids()
    assert other != gone
    assert here.files() == {other}


@pytest.mark.pages
@pytest.mark.parametrize("begin", ["-", "--", "-h"])
def test_a_key_is_withdrawn_also_where_its_name_looks_like_an_option(here, begin):
    here.turn()
    lost = named(begin)
    kid = thumbprint(lost)
    identity.publish(here.service, "w2", [lost])
    assert f"{kid} is withdrawn" in printed("withdraw", kid, "--reason", "the machine was lost")
    assert kid not in here.kids()
    refused = run("withdraw", kid, "--reason", "AKIA" + 16 * "A")
    assert "cannot be kept" in str(refused.exception)
    told = run("withdraw", kid, "--reason", "again")
    assert f"No key {kid} is published" in str(told.exception)
    assert "Withdraw a key at once" in printed("withdraw", "--help")


def named(begin):
    """A public key whose kid begins so; which one does is up to chance, so its exponent is tried out."""
    jwk = RSAKey.generate_key(2048).as_dict(private=False)
    for exponent in range(65_537, 2**24, 2):
        jwk["e"] = urlsafe_b64encode(exponent.to_bytes(3)).decode()
        if thumbprint(jwk).startswith(begin):
            return jwk
    raise AssertionError(begin)


def test_doctor_finds_a_run_identity_in_order(here):
    here.turn()
    assert examine(here.service.settings, {}) == f"1 keys are served at {here.url}/.well-known/jwks.json"


def wrong(here, **changes):
    with pytest.raises(RunbooksError) as told:
        examine(here.service.settings.model_copy(update=changes), {})
    return str(told.value)


def test_doctor_tells_what_keeps_others_from_verifying(here, database, tmp_path):
    assert "No key is published yet" in wrong(here)
    here.turn()
    assert "could not be reached" in wrong(here, identity_issuer="http://127.0.0.1:1")
    assert "answers 404" in wrong(here, identity_issuer=f"{here.url}/elsewhere")
    assert "names issuer" in wrong(here, identity_issuer=here.url.replace("127.0.0.1", "localhost"))
    assert "names issuer" in wrong(here, identity_jwks_uri=f"{here.url}/keys")
    (here.folder / "keys").chmod(0o755)
    assert "chmod 700" in wrong(here)


def test_doctor_finds_keys_of_somebody_else_and_keys_that_are_missing(here, monkeypatch):
    here.turn()
    (mine,) = here.kids()
    settings = here.service.settings
    (other,) = identity.publish(here.service, "w2", [RSAKey.generate_key(2048).as_dict(private=False)]).published
    told = {"keys": [], "settings": settings}
    from runbooks_app.main import identity as examined

    monkeypatch.setattr(examined, "_published", lambda _: frozenset(told["keys"]))
    told["keys"] = [mine]
    assert f"serves keys that are not ours: {other.kid}" in wrong(here)
    told["keys"] = [mine, other.kid, "third"]
    assert "lacks third" in wrong(here)
    identity.withdraw(here.service, worker_actor("w2"), other.kid, identity.DONE)


def test_doctor_tells_of_clocks_that_differ(here, monkeypatch):
    from runbooks_app import asking
    from runbooks_app.main import identity as examined

    here.turn()
    now = examined.time.time
    monkeypatch.setattr(examined.time, "time", lambda: now() + 100)
    assert "database's clock differs" in wrong(here)
    monkeypatch.undo()
    monkeypatch.setattr(asking, "_ahead", lambda _: -45.0)
    assert "differs from this machine's by 45 s" in wrong(here)


def test_doctor_names_connections_that_want_what_there_is_not(database, tmp_path):
    (tmp_path / "connections.toml").write_text(
        '[billing]\nkind = "http"\nurl = "https://billing.example.com"\n'
        '[billing.diagnose]\nallow = ["GET /*"]\nprovider = "kubernetes"\naudience = "billing"\n'
    )
    with installed(database, tmp_path, identity_keys=None) as found:
        assert examine(found.service.settings, {}) == "off: no connection wants run tokens"
        connections = read_connections(tmp_path / "connections.toml")
        with pytest.raises(RunbooksError, match=r"billing want run tokens.*RUNBOOKS_IDENTITY_KEYS"):
            examine(found.service.settings, connections)
