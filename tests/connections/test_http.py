"""HTTP connections in the file: what each stage may send, and whose credential goes with it."""

from __future__ import annotations

import pytest

from runbooks_app.connections import CredentialSource, read_connections
from runbooks_app.core.errors import Misconfigured

PROMETHEUS = """
[prometheus]
kind = "http"
url = "https://prometheus.example.com/prom/"
[prometheus.diagnose]
allow = ["GET /api/v1/*", "POST /api/v1/query"]
provider = "static"
secret_file = "prometheus.token"
[prometheus.remediate]
allow = ["POST /-/reload", "PUT /api/v1/*/state"]
provider = "static"
secret_file = "/run/secrets/admin"
header = "X-Api-Key"
[prometheus.floor]
approvers = ["metrics"]
"""


def read(tmp_path, text):
    file = tmp_path / "connections.toml"
    file.write_text(text)
    return read_connections(file)["prometheus"]


def problems(tmp_path, text):
    with pytest.raises(Misconfigured) as refused:
        read(tmp_path, text)
    return {problem.where: str(problem) for problem in refused.value.problems}


def test_each_stage_has_rules_and_a_credential_of_its_own(tmp_path):
    found = read(tmp_path, PROMETHEUS)
    assert [str(rule) for rule in found.diagnose_rules] == ["GET /api/v1/*", "POST /api/v1/query"]
    assert [str(rule) for rule in found.remediate_rules] == ["POST /-/reload", "PUT /api/v1/*/state"]
    assert found.diagnose == CredentialSource(
        "static", {"secret_file": str(tmp_path / "prometheus.token"), "header": "Authorization", "scheme": "Bearer"}
    )
    assert found.remediate == CredentialSource(
        "static", {"secret_file": "/run/secrets/admin", "header": "X-Api-Key", "scheme": ""}
    )
    assert found.address == "https://prometheus.example.com/prom/"


def test_what_a_stage_may_do_is_told_as_its_role(tmp_path):
    found = read(tmp_path, PROMETHEUS)
    assert found.diagnose_role == "GET /api/v1/*, POST /api/v1/query, with a standing credential"
    assert found.remediate_role == "POST /-/reload, PUT /api/v1/*/state, with a standing credential"
    assert found.held_role == found.remediate_role
    assert found.remediates


def test_diagnose_only_takes_rules_and_credential_of_remediating_away(tmp_path):
    found = read(tmp_path, PROMETHEUS).diagnosed_only()
    assert (found.remediate, found.remediate_rules, found.remediate_role) == (None, (), "")
    assert not found.remediates
    assert found.diagnose is not None


def test_where_nothing_is_said_it_is_read_as_a_whole_and_changed_not_at_all(tmp_path):
    found = read(tmp_path, '[prometheus]\nkind = "http"\nurl = "http://p:9090"\n')
    assert [str(rule) for rule in found.diagnose_rules] == ["GET /*"]
    assert (found.remediates, found.remediate_role) == (False, "")
    assert found.held_role == found.diagnose_role == "GET /*, without a credential"


def test_rules_need_no_credential_and_a_credential_no_rules(tmp_path):
    head = '[prometheus]\nkind = "http"\nurl = "http://p:9090"\n[prometheus.diagnose]\n'
    bare = read(tmp_path, head + 'allow = ["GET /metrics"]')
    assert bare.diagnose is None
    found = read(tmp_path, head + 'provider = "static"\nsecret_file = "t"')
    assert [str(rule) for rule in found.diagnose_rules] == ["GET /*"]
    assert found.diagnose.options["scheme"] == "Bearer"


@pytest.mark.parametrize(
    ("old", "new", "where", "mend"),
    [
        ('"GET /api/v1/*"', '"GET api"', "prometheus.diagnose.allow", "GET /api/v1/*"),
        ('"GET /api/v1/*"', '"FETCH /api"', "prometheus.diagnose.allow", "GET, HEAD, POST"),
        ('"GET /api/v1/*"', '"GET /a/../b"', "prometheus.diagnose.allow", "plainly"),
        ('"GET /api/v1/*"', '"DELETE /api/v1/series"', "prometheus.diagnose.allow", "remediate table"),
        ('"GET /api/v1/*"', '"POST /api/*"', "prometheus.diagnose.allow", "named to their end"),
        ('"GET /api/v1/*"', "7", "prometheus.diagnose.allow", '["GET /api/v1/*"]'),
        ('allow = ["POST /-/reload", "PUT /api/v1/*/state"]', "", "prometheus.remediate.allow", "POST /-/reload"),
        ('[prometheus.floor]\napprovers = ["metrics"]', "", "prometheus.floor.approvers", "nobody could approve"),
        ('provider = "static"\nsecret_file = "p', 'secret_file = "p', "prometheus.diagnose.provider", "static"),
        ('provider = "static"\nsecret_file = "p', 'provider = "v"\nx = "p', "prometheus.diagnose.provider", "static"),
        ('secret_file = "prometheus.token"', "", "prometheus.diagnose.secret_file", "user:password"),
        ('secret_file = "prometheus.token"', 'token = "abc"', "prometheus.diagnose.token", "by secret_file"),
        ('header = "X-Api-Key"', 'header = "Host"', "prometheus.remediate.header", "X-Api-Key"),
        ('header = "X-Api-Key"', 'header = "A: b"', "prometheus.remediate.header", "X-Api-Key"),
        ('header = "X-Api-Key"', "scheme = 7", "prometheus.remediate.scheme", "Bearer or Basic"),
        ('header = "X-Api-Key"', 'scheme = "a b"', "prometheus.remediate.scheme", "Bearer or Basic"),
        ('header = "X-Api-Key"', 'heder = "X"', "prometheus.remediate.heder", "Did you mean header?"),
        ("com/prom/", "com/a/../b", "prometheus.url", "upwards"),
        ("com/prom/", "com//prom", "prometheus.url", "empty segment"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_mend(tmp_path, old, new, where, mend):
    assert old in PROMETHEUS
    found = problems(tmp_path, PROMETHEUS.replace(old, new))
    assert mend in found[where]


def test_a_database_takes_no_standing_credential(tmp_path):
    text = """
        [prometheus]
        kind = "postgres"
        host = "db"
        database = "d"
        [prometheus.diagnose]
        provider = "static"
        secret_file = "x"
        """
    assert "Write one of: postgres-role" in problems(tmp_path, text)["prometheus.diagnose.provider"]
