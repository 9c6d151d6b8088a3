"""Reading the connections file: what is good is read whole, what is wrong is named, all of it at once."""

from __future__ import annotations

import pytest

from runbooks_app.connections import CredentialSource, read_connections
from runbooks_app.core.errors import Misconfigured
from runbooks_app.core.policy import Floor, Risk

GOOD = """
[orders-db]
kind = "postgres"
label = "Orders database"
host = "127.0.0.1"
port = 5433
database = "orders"
data_class = "restricted"
diagnosers = ["responder", "author"]
[orders-db.diagnose]
provider = "postgres-role"
role = "orders_reader"
minter = "runbooks_minter"
password_file = "orders-minter.password"
[orders-db.remediate]
provider = "postgres-role"
role = "orders_operator"
minter = "runbooks_minter"
password_file = "/run/secrets/minter"
[orders-db.floor]
risk = "medium"
approvals = 2
approvers = ["database"]
recheck = false
expires = "30m"

[prometheus]
kind = "http"
url = "http://127.0.0.1:9090"
"""


def read(tmp_path, text):
    file = tmp_path / "connections.toml"
    file.write_text(text)
    return read_connections(file)


def problems(tmp_path, text):
    with pytest.raises(Misconfigured) as refused:
        read(tmp_path, text)
    assert "connections.toml" in refused.value.message
    return {problem.where: str(problem) for problem in refused.value.problems}


def test_a_good_file_is_read_whole(tmp_path):
    found = read(tmp_path, GOOD)
    orders = found["orders-db"]
    assert (orders.kind, orders.host, orders.port, orders.database) == (
        "postgres",
        "127.0.0.1",
        5433,
        "orders",
    )
    assert orders.floor == Floor(Risk.MEDIUM, 2, ("database",), recheck=False, expires=1800)
    assert orders.diagnosers == ("responder", "author")
    assert orders.data_class == "restricted"
    assert orders.diagnose == CredentialSource(
        "postgres-role",
        {
            "role": "orders_reader",
            "minter": "runbooks_minter",
            "password_file": str(tmp_path / "orders-minter.password"),
        },
    )
    assert orders.remediate.options["password_file"] == "/run/secrets/minter"
    assert (orders.diagnose_role, orders.remediate_role) == ("orders_reader", "orders_operator")


def test_what_is_left_out_has_a_careful_default(tmp_path):
    prometheus = read(tmp_path, GOOD)["prometheus"]
    assert prometheus.label == "prometheus"
    assert prometheus.diagnosers == ("responder",)
    assert prometheus.floor == Floor()
    assert prometheus.floor.recheck
    assert (prometheus.diagnose, prometheus.remediate, prometheus.remediate_role) == (None, None, "")


def test_all_problems_are_named_at_once_with_their_mends(tmp_path):
    found = problems(
        tmp_path,
        """
        [Orders]
        kind = "postgres"
        lable = "Orders"
        host = ""
        port = "5432"
        data_class = "secret"
        diagnosers = ["responders"]
        [Orders.remediate]
        provider = "postgres-role"
        role = "pg_write_all_data"
        minter = "runbooks_minter"
        password = "hunter2hunter2"
        [Orders.floor]
        risk = "none"
        approvals = true
        approvers = "database"
        recheck = "no"
        expires = "soon"
        [other]
        kind = "mysql"
        [third]
        kind = "postgres"
        host = "db"
        database = "d"
        diagnose = "reader"
        [web]
        kind = "http"
        url = "ftp://x"
        host = "x"
        [secret]
        kind = "http"
        url = "http://user:word@x/?a=b"
        """,
    )
    assert set(found) == {
        "Orders",
        "Orders.lable",
        "Orders.host",
        "Orders.port",
        "Orders.database",
        "Orders.data_class",
        "Orders.diagnosers",
        "Orders.diagnose",
        "Orders.remediate.role",
        "Orders.remediate.password",
        "Orders.remediate.password_file",
        "Orders.floor.risk",
        "Orders.floor.approvals",
        "Orders.floor.approvers",
        "Orders.floor.recheck",
        "Orders.floor.expires",
        "other.kind",
        "third.diagnose",
        "third.diagnose.provider",
        "web.url",
        "web.host",
        "secret.url",
    }
    assert "Did you mean label?" in found["Orders.lable"]
    assert "postgres, http" in found["other.kind"]
    assert "never stand in this file" in found["Orders.remediate.password"]
    assert not any("hunter2" in problem for problem in found.values())


def test_a_remediation_that_nobody_could_approve_is_refused(tmp_path):
    found = problems(tmp_path, GOOD.replace('approvers = ["database"]\n', ""))
    assert "nobody could approve" in found["orders-db.floor.approvers"]


def test_the_role_that_diagnoses_cannot_be_the_one_that_remediates(tmp_path):
    found = problems(tmp_path, GOOD.replace("orders_operator", "orders_reader"))
    assert list(found) == ["orders-db.remediate.role"]


@pytest.mark.parametrize("text", ["[orders-db", "a = 1979-13-01", "\ud800".encode("utf-8", "surrogatepass"), b"\xff"])
def test_what_is_no_toml_is_told_as_such(tmp_path, text):
    file = tmp_path / "connections.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(Misconfigured, match="no TOML"):
        read_connections(file)


def test_what_stands_outside_a_table_is_named(tmp_path):
    assert "must be a table" in problems(tmp_path, "port = 1\n")["port"]


def test_a_missing_file_names_the_setting(tmp_path):
    with pytest.raises(Misconfigured, match="RUNBOOKS_CONNECTIONS"):
        read_connections(tmp_path / "none.toml")


def test_every_provider_that_a_file_may_name_exists(tmp_path):
    from runbooks_app.connections import PROVIDERS
    from runbooks_app.credentials import provider_for

    for name, row in PROVIDERS.items():
        assert provider_for(CredentialSource(name, dict.fromkeys(row.options, "x")))
