"""`runbooks doctor` on those who are woken."""

from __future__ import annotations

import pytest
from oncall.paging import GENIE_KEY, REST_TOKEN, ROUTING_KEY, paging
from service_database import APP_PASSWORD

from runbooks_app.core.people import Person
from runbooks_app.main import doctor
from runbooks_app.settings import Settings
from runbooks_app.store import people
from runbooks_app.store.database import transaction

pytestmark = pytest.mark.chat

CONNECTION = """
[orders-db]
kind = "postgres"
host = "db"
database = "orders"
diagnose = { provider = "postgres-role", role = "r", minter = "m", password_file = "p" }
floor = { approvers = ["database"] }
"""
ROTA = """
[group.database]
rota = { from = 2026-01-05T09:00:00, every = "7d", zone = "UTC", people = ["ben@x.example"] }
"""


@pytest.fixture
def found(tmp_path, database, monkeypatch):
    """What one check says of an installation whose on-call file says this."""
    (tmp_path / "connections.toml").write_text(CONNECTION)
    (tmp_path / "password").write_text(APP_PASSWORD)
    with transaction(database.engine) as tx:
        people.remember(tx, Person("i#ben", "Ben", "Ben@x.example", frozenset({"approver:database"})))
        tx.execute("INSERT INTO chat_people (team, chat_user, subject) VALUES ('T1', 'U1', 'i#ben')")

    def examine(text: str | None, check: str = "oncall", **given):
        monkeypatch.setattr(doctor, "CHECKS", {check: getattr(doctor, check)})
        (tmp_path / "oncall.toml").write_text(text or "")
        settings = {
            "database_url": database.app_url,
            "database_password_file": "password",
            "slack_bot_token_file": "bot.token",
            "slack_team": "T1",
            "oncall": "oncall.toml" if text is not None else None,
            **given,
        }
        (finding,) = doctor.examine(Settings(config_dir=tmp_path, **settings))
        return finding

    return examine


def test_where_all_is_well_it_says_for_whom_somebody_is_on_call(found):
    finding = found(ROTA)
    assert (finding.state, finding.says) == ("ok", "1 person is named for database; pages are not tried")


def test_without_a_file_all_are_told_at_once(found):
    assert (found(None).state, "all who may decide are told at once" in found(None).says) == ("ok", True)
    without = found(None, slack_bot_token_file=None)
    assert (without.state, "without Slack nobody gets a direct message" in without.says) == ("remark", True)


def test_whoever_cannot_be_woken_is_remarked(found):
    finding = found(ROTA.replace("ben@", "cat@"))
    assert finding.state == "remark"
    assert "no approver has signed in and linked a chat account by cat@x.example" in finding.says


def test_groups_that_fit_no_connection_and_those_without_anybody_are_remarked(found):
    finding = found(ROTA.replace("database", "databse"))
    assert finding.state == "remark"
    assert "[group.databse] wakes nobody: no connection is approved by databse" in finding.says
    assert "database approves, and there is no [group.database]" in finding.says


@pytest.mark.parametrize("kind", ["pagerduty", "opsgenie"])
def test_schedules_are_asked_and_nobody_is_paged(found, kind, tmp_path):
    with paging(kind) as pages:
        file = f'[group.database]\nschedule = "pd"\nid = "S1"\npage = ["pd"]\n{pages.toml(tmp_path)}'
        pages.on_call["S1"] = ["ben@x.example"]
        assert found(file).state == "ok"
        assert not pages.open
        (tmp_path / "pd.token").write_text("another")
        finding = found(file)
    assert finding.state == "wrong"
    assert "[group.database] schedule" in finding.says
    assert "another" not in finding.says


def test_a_file_that_cannot_be_used_is_told_with_each_mend(found):
    finding = found("[groups.database]")
    assert (finding.state, "Did you mean group?" in finding.says) == ("wrong", True)


def test_secrets_of_paging_services_that_are_open_to_others_are_told(found, tmp_path):
    with paging("pagerduty") as pages:
        file = pages.toml(tmp_path)
        (tmp_path / "bot.token").write_text("x")
        for path in tmp_path.iterdir():
            if path.is_file():
                path.chmod(0o600)
        (tmp_path / "pd.key").chmod(0o644)
        (tmp_path / "p").touch(0o600)
        finding = found(file, check="secrets")
    assert finding.state == "wrong"
    assert "[service.pd] routing_key_file" in finding.says
    assert "token_file: " not in finding.says.replace("routing_key_file", "")
    assert not any(secret in finding.says for secret in (REST_TOKEN, ROUTING_KEY, GENIE_KEY))
