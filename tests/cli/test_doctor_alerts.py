"""`runbooks doctor` says what the alerts file wants and cannot have, before an alert finds out."""

from __future__ import annotations

import pytest
from notebooks import cell, write

from runbooks_app.main import doctor
from runbooks_app.settings import Settings

pytestmark = pytest.mark.chat

CONNECTIONS = """
[orders-db]
kind = "postgres"
host = "127.0.0.1"
port = 5432
database = "orders"
diagnosers = ["responder", "alert"]
[orders-db.diagnose]
provider = "postgres-role"
role = "reader"
minter = "minter"
password_file = "reader"
[billing-db]
kind = "postgres"
host = "127.0.0.1"
port = 5432
database = "billing"
[billing-db.diagnose]
provider = "postgres-role"
role = "reader"
minter = "minter"
password_file = "reader"
"""
CATALOGUE = """
[orders]
postgres = "orders-db"
[billing]
postgres = "billing-db"
[mail]
owners = ["team-mail"]
"""
SOURCE = '[source.prod]\nkind = "alertmanager"\ntoken_file = "prod.token"\n'
RULE = '[[rule]]\nname = "slow"\nmatch = { alertname = "*" }\nrunbook = "look"\n[rule.parameters]\n'


@pytest.fixture
def installation(tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    parameters = (
        "from runbook_library.kit import Connection\n"
        'database: Connection["postgres"] = ""  # Where\nlimit: int = 10  # Rows\n'
    )
    write(library, "look", cell("rows", "rows = limit", "diagnostic"), parameters=parameters, connections={})
    opened = cell("rows", 'kit.postgres("billing-db").execute("SELECT 1")', "diagnostic")
    write(library, "billing", opened, parameters="n: int = 1  # N", connections={"billing-db": "postgres"})
    (tmp_path / "connections.toml").write_text(CONNECTIONS)
    (tmp_path / "catalogue.toml").write_text(CATALOGUE)
    (tmp_path / "reader").write_text("a password for tests")
    (tmp_path / "prod.token").write_text("a token for tests alone")
    (tmp_path / "prod.token").chmod(0o600)
    return tmp_path


@pytest.fixture
def examined(installation, monkeypatch):
    """`examined(text)` is what doctor says of an alerts file."""

    def examine(text, name="alerts"):
        monkeypatch.setattr(doctor, "CHECKS", {name: getattr(doctor, name)})
        given = {"config_dir": installation, "library": "library", "catalogue": "catalogue.toml"}
        if text:
            (installation / "alerts.toml").write_text(text)
            given["alerts"] = "alerts.toml"
        (finding,) = doctor.examine(Settings(**given))
        return finding

    return examine


def test_without_an_alerts_file_none_are_taken_and_that_is_fine(examined):
    assert (examined("").state, examined("").says) == ("ok", "none are taken")


def test_a_good_file_is_told_with_its_sources(examined):
    finding = examined(SOURCE + RULE + 'database = "orders-db"\nlimit = "{labels.rows}"')
    assert (finding.state, finding.says) == ("ok", "taken from prod (alertmanager); 1 rules can run what they name")


def test_a_file_that_cannot_be_read_is_told_with_every_problem(examined):
    finding = examined(SOURCE + RULE + 'database = "{x}"\n[budgets]')
    assert finding.state == "wrong"
    assert "braces that are no place" in finding.says
    assert "Did you mean budget?" in finding.says


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('database = "billing-db"', 'database "billing-db" is no connection that can be used here.'),
        ('database = "{service.postgres}"', 'rule \'slow\', service billing: database "billing-db" is no connection'),
        ("limit = 5", "look wants database, which the rule does not give."),
        ('database = "orders-db"\nlimit = "many"', 'limit must be a whole number, not "many".'),
        ('database = "orders-db"\nlimt = 5', "look has no parameter limt. Did you mean limit?"),
        ('database = "orders-db"\nlimt = "{labels.x}"', "look has no parameter limt. Did you mean limit?"),
    ],
)  # fmt: skip
def test_a_rule_that_could_run_nothing_is_told_with_its_mend(examined, written, says):
    finding = examined(SOURCE + RULE + written)
    assert finding.state == "wrong"
    assert says in finding.says


def test_connections_that_have_not_opted_in_are_told_with_what_to_write(examined):
    finding = examined(SOURCE + RULE.replace('"look"', '"billing"') + "n = 1")
    assert "billing opens billing-db, which alerts may not diagnose." in finding.says
    assert 'Write diagnosers = ["responder", "alert"]' in finding.says


def test_a_runbook_that_there_is_not_is_told(examined):
    finding = examined(SOURCE + RULE.replace('"look"', '"loook"'))
    assert finding.state == "wrong"
    assert "rule 'slow': There is no runbook" in finding.says


def test_a_secret_that_is_missing_or_open_is_told(examined, installation):
    (installation / "reader").chmod(0o600)
    assert examined(SOURCE + RULE + 'database = "orders-db"', "secrets").state == "ok"
    (installation / "prod.token").chmod(0o644)
    assert "[source.prod] prod.token" in examined(SOURCE + RULE + 'database = "orders-db"', "secrets").says
    (installation / "prod.token").unlink()
    assert "prod.token cannot be read" in examined(SOURCE + RULE + 'database = "orders-db"').says
