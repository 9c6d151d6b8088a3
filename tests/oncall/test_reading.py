"""The on-call file: what it says, and each problem with its mend."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from runbooks_app.core.errors import Misconfigured
from runbooks_app.oncall import NOBODY, read_oncall

pytestmark = pytest.mark.chat

WHOLE = """
[group.database]
rota = { from = 2026-01-05T09:00:00, every = "7d", zone = "Europe/Berlin", people = ["Ana@example.com", "b@b.example"] }
schedule = "pd"
id = "PS1"
page = ["pd", "og"]

[group.sre]
page = ["og"]

[service.pd]
kind = "pagerduty"
token_file = "secrets/pd.token"
routing_key_file = "secrets/pd.key"

[service.og]
kind = "opsgenie"
url = "https://api.eu.opsgenie.com"
token_file = "/run/og.token"
team = "DBAs"
"""


@pytest.fixture
def read(tmp_path):
    def reading(text: str):
        path = tmp_path / "oncall.toml"
        path.write_text(text)
        return read_oncall(path)

    return reading


def test_groups_services_and_rotas_are_read(read, tmp_path):
    found = read(WHOLE)
    database, pd, og = found.groups["database"], found.services["pd"], found.services["og"]
    assert (database.schedule, database.schedule_id, database.page) == ("pd", "PS1", ("pd", "og"))
    assert database.rota.who(datetime(2026, 1, 6, tzinfo=UTC)) == "ana@example.com"
    assert (pd.url, pd.events_url) == ("https://api.pagerduty.com", "https://events.pagerduty.com")
    assert pd.routing_key_file == tmp_path / "secrets/pd.key"
    assert (og.url, og.team, str(og.token_file)) == ("https://api.eu.opsgenie.com", "DBAs", "/run/og.token")
    assert [one.name for one in found.pages(("database", "sre", "nobody"))] == ["pd", "og"]


def test_an_empty_file_names_nobody(read):
    assert read("") == NOBODY


ROTA = 'from = 2026-01-05T09:00:00, every = "7d", zone = "UTC", people = ["a@b.example"]'
PD = '[service.pd]\nkind = "pagerduty"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[groups.database]", "groups: is not known here. Did you mean group?"),
        ("group = 3", "group: must be a table."),
        ("[group.Database]\npage = []", "group.Database: is no name for a group."),
        ("[group.database]", "group.database: says nothing of who is on call."),
        ("[group.database]\nrotta = {}", "group.database.rotta: is not known here. Did you mean rota?"),
        ("[group.database]\nrota = 'ana'", "group.database.rota: must be a table."),
        ('[group.database]\npage = ["pd"]', "group.database.page: names 'pd', which is no service."),
        (f'[group.database]\npage = ["pd"]\n{PD}token_file = "t"', "names pd, which has nothing to page with."),
        (f'[group.database]\nschedule = "pd"\nid = "P"\n{PD}routing_key_file = "k"', "pd, which has no token."),
        (f'[group.database]\nschedule = "pd"\n{PD}token_file = "t"', "group.database.id: is missing."),
        ('[group.database]\nid = "P"\npage = ["pd"]', "group.database.id: is of no schedule."),
        (
            f"[group.d]\nrota = {{ {ROTA.replace('2026-01-05T09:00:00', repr('monday'))} }}",
            "group.d.rota.from: is missing or no local time.",
        ),
        (
            f"[group.d]\nrota = {{ {ROTA.replace('T09:00:00', 'T09:00:00+01:00')} }}",
            "group.d.rota.from: is missing or no local",
        ),
        (
            f"[group.d]\nrota = {{ {ROTA.replace('2026-01-05T09:00:00', '2026-01-05')} }}",
            "group.d.rota.from: is missing or no local",
        ),
        (f"[group.d]\nrota = {{ {ROTA.replace('UTC', 'Europe/Atlantis')} }}", "which is no time zone."),
        (f"[group.d]\nrota = {{ {ROTA.replace('UTC', '../../etc/passwd')} }}", "which is no time zone."),
        (f"[group.d]\nrota = {{ {ROTA.replace('7d', 'weekly')} }}", "group.d.rota.every: 'weekly' is no duration."),
        (f"[group.d]\nrota = {{ {ROTA.replace('7d', '5m')} }}", "group.d.rota.every: is less than an hour."),
        (
            f"[group.d]\nrota = {{ {ROTA.replace('a@b.example', 'ana')} }}",
            "group.d.rota.people: must be a list of e-mail",
        ),
        ("[service.pd]", "service.pd.kind: is missing. Write one of: pagerduty, opsgenie."),
        (PD, "service.pd.routing_key_file: is missing."),
        (f'{PD}token = "s3cret-s3cret"', "service.pd.token: is not known here. Secrets never stand in this file"),
        (f'{PD}routing_key = "s3cret-s3cret"', "service.pd.routing_key: is not known here. Secrets never stand"),
        (f'{PD}token_file = "t"\nurl = "http://pd.example"', "service.pd.url: would send a secret in the clear"),
        (f'{PD}token_file = "t"\nurl = "https://u:p@pd.example"', "service.pd.url: would send a secret in the clear"),
        (f'{PD}token_file = "t"\nevents_url = "ftp://pd.example"', "service.pd.events_url: would send a secret"),
        (f'{PD}token_file = "t"\nteam = "x"', "service.pd.team: is not known here."),
    ],
)
def test_each_problem_is_told_with_its_mend(read, text, problem):
    with pytest.raises(Misconfigured) as told:
        read(text)
    assert problem in str(told.value)
    assert "s3cret" not in str(told.value)


def test_all_problems_are_told_at_once(read):
    with pytest.raises(Misconfigured) as told:
        read('[group.a]\n[group.b]\npage = ["x"]\n[service.y]\nkind = "pigeon"\n')
    assert len(told.value.problems) == 3


def test_a_file_that_is_none_is_told_by_its_name(tmp_path):
    with pytest.raises(Misconfigured, match=r"oncall\.toml cannot be read.*RUNBOOKS_ONCALL"):
        read_oncall(tmp_path / "oncall.toml")
    (tmp_path / "oncall.toml").write_text("[group")
    with pytest.raises(Misconfigured, match="is no TOML"):
        read_oncall(tmp_path / "oncall.toml")
