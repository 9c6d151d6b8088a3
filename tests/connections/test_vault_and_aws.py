"""What the connections file may say of Vault and of AWS."""

from __future__ import annotations

import pytest
from connections.test_reading import problems, read

pytestmark = pytest.mark.identity

VAULT = """
[orders-db]
kind = "postgres"
host = "db.example.com"
database = "orders"
[orders-db.diagnose]
provider = "vault"
address = "https://vault.example.com:8200"
login_role = "runbooks-diagnose"
path = "database/creds/orders-reader"
[orders-db.remediate]
provider = "vault"
address = "https://vault.example.com:8200"
login_role = "runbooks-remediate"
path = "database/creds/orders-operator"
namespace = "teams/orders"
[orders-db.floor]
approvers = ["database"]
"""
AWS = """
[logs]
kind = "http"
url = "https://logs.eu-central-1.amazonaws.com"
[logs.diagnose]
provider = "aws"
role_arn = "arn:aws:iam::111122223333:role/runbooks-diagnose"
region = "eu-central-1"
service = "logs"
session_policy_file = "reads.json"
[logs.remediate]
provider = "aws"
role_arn = "arn:aws:iam::111122223333:role/runbooks-remediate"
region = "eu-central-1"
service = "logs"
allow = ["POST /"]
[logs.floor]
approvers = ["cloud"]
"""


def test_a_database_whose_logins_vault_makes(tmp_path):
    orders = read(tmp_path, VAULT)["orders-db"]
    assert orders.diagnose.options == {
        "address": "https://vault.example.com:8200",
        "login_role": "runbooks-diagnose",
        "path": "database/creds/orders-reader",
        "audience": "vault",
        "mount": "jwt",
        "namespace": "",
        "ca_file": "",
    }
    assert orders.diagnose_role == "database/creds/orders-reader of Vault as runbooks-diagnose"
    assert orders.remediate_role == "database/creds/orders-operator of Vault as runbooks-remediate"


def test_a_secret_of_vault_for_an_http_system(tmp_path):
    text = """
[metrics]
kind = "http"
url = "https://metrics.example.com"
[metrics.diagnose]
provider = "vault"
address = "http://127.0.0.1:8200"
login_role = "reads"
path = "secret/data/metrics"
field = "token"
header = "X-Api-Key"
ca_file = "vault.pem"
"""
    options = read(tmp_path, text)["metrics"].diagnose.options
    assert (options["field"], options["header"], options["scheme"]) == ("token", "X-Api-Key", "")
    assert options["ca_file"] == str(tmp_path / "vault.pem")
    assert set(problems(tmp_path, text.replace('field = "token"\n', ""))) == {"metrics.diagnose.field"}


def test_a_session_of_aws(tmp_path):
    logs = read(tmp_path, AWS)["logs"]
    assert logs.diagnose.options["sts_url"] == "https://sts.eu-central-1.amazonaws.com"
    assert logs.diagnose.options["session_policy_file"] == str(tmp_path / "reads.json")
    assert logs.diagnose.options["audience"] == "sts.amazonaws.com"
    held = "a session of arn:aws:iam::111122223333:role/runbooks-remediate for logs in eu-central-1"
    assert logs.remediate_role == f"POST /, with {held}"
    assert logs.diagnose_role.endswith("role/runbooks-diagnose for logs in eu-central-1, narrowed by reads.json")
    china = read(tmp_path, AWS.replace("eu-central-1", "cn-north-1"))["logs"]
    assert china.diagnose.options["sts_url"] == "https://sts.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("https://vault.example.com:8200", "http://vault.example.com:8200", "orders-db.diagnose.address"),
        ("database/creds/orders-reader", "database/../sys/raw", "orders-db.diagnose.path"),
        ("database/creds/orders-reader", "/database/creds/x", "orders-db.diagnose.path"),
        ('namespace = "teams/orders"', 'field = "token"', "orders-db.remediate.field"),
        ('"runbooks-remediate"', '"runbooks-diagnose"', "orders-db.remediate.login_role"),
        ('login_role = "runbooks-diagnose"\n', "", "orders-db.diagnose.login_role"),
    ],
)
def test_what_is_wrong_with_vault_is_named(tmp_path, old, new, where):
    assert old in VAULT
    assert where in problems(tmp_path, VAULT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("role/runbooks-diagnose", "user/ana", "logs.diagnose.role_arn"),
        ("role/runbooks-remediate", "role/runbooks-diagnose", "logs.remediate.role_arn"),
        ('region = "eu-central-1"', 'region = "Frankfurt"', "logs.diagnose.region"),
        ('session_policy_file = "reads.json"', 'sts_url = "http://sts.example.com"', "logs.diagnose.sts_url"),
        ('service = "logs"\n', "", "logs.diagnose.service"),
        ("https://logs.eu", "http://logs.eu", "logs.diagnose.provider"),
    ],
)
def test_what_is_wrong_with_aws_is_named(tmp_path, old, new, where):
    assert old in AWS
    assert where in problems(tmp_path, AWS.replace(old, new))
