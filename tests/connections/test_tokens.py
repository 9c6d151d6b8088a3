"""Connections whose credential is a token for each stage: what the file may say of them."""

from __future__ import annotations

import pytest

from runbooks_app.connections import read_connections
from runbooks_app.core.errors import Misconfigured

TEXT = """
[metrics]
kind = "http"
url = "https://metrics.example.com"
ca_file = "company.pem"
[metrics.diagnose]
provider = "token-exchange"
issuer = "https://auth.example.com"
scope = "metrics:read"
[metrics.remediate]
allow = ["POST /-/reload"]
provider = "token-exchange"
issuer = "https://auth.example.com"
scope = "metrics:read metrics:write"
audience = "metrics"
client_id = "runbooks"
client_secret_file = "client.secret"
[metrics.floor]
approvers = ["metrics"]
[cluster]
kind = "http"
url = "https://cluster.example.com:6443"
[cluster.diagnose]
provider = "kubernetes"
[cluster.remediate]
allow = ["DELETE /api/v1/namespaces/*/pods/*"]
provider = "kubernetes"
[cluster.floor]
approvers = ["platform"]
"""


def read(tmp_path, text=TEXT):
    file = tmp_path / "connections.toml"
    file.write_text(text)
    return read_connections(file)


def test_each_stage_has_a_scope_of_its_own_that_approvers_see(tmp_path):
    metrics = read(tmp_path)["metrics"]
    assert metrics.diagnose_role == "GET /*, with a token of scope metrics:read"
    assert metrics.remediate_role == "POST /-/reload, with a token of scope metrics:read metrics:write for metrics"
    assert metrics.diagnose.options["subject_audience"] == "https://auth.example.com"
    assert metrics.remediate.options["client_secret_file"] == str(tmp_path / "client.secret")
    assert metrics.ca_file == str(tmp_path / "company.pem")


def test_a_cluster_is_told_the_stage_by_the_token_itself(tmp_path):
    cluster = read(tmp_path)["cluster"]
    assert cluster.diagnose_role == "GET /*, with the run's own token for kubernetes"
    assert cluster.diagnose.options == cluster.remediate.options == {"audience": "kubernetes"}


@pytest.mark.parametrize(
    ("old", "new", "where", "mend"),
    [
        ('scope = "metrics:read"\n', "", "metrics.diagnose.scope", "the least that it needs"),
        ('scope = "metrics:read"\n', 'scope = ""\n', "metrics.diagnose.scope", "the least that it needs"),
        ('issuer = "https://auth.example.com"\nscope = "metrics:read"\n', 'scope = "r"\n',
         "metrics.diagnose.token_url", "where no issuer is named"),
        ("https://auth.example.com", "http://auth.example.com", "metrics.diagnose.issuer", "By https"),
        ("https://auth.example.com", "https://me@auth.example.com", "metrics.diagnose.issuer", "By https"),
        ("https://auth.example.com", "auth.example.com", "metrics.diagnose.issuer", "By https"),
        ('client_id = "runbooks"\n', "", "metrics.remediate.client_id", "name at the server"),
        ('client_secret_file = "client.secret"', 'secret = "x"', "metrics.remediate.secret", "by client_secret_file"),
        ('scope = "metrics:read metrics:write"\naudience = "metrics"', 'scope = "metrics:read"',
         "metrics.remediate.scope", "Diagnosis needs a scope that cannot write"),
        ("ca_file", "ca_fil", "metrics.ca_fil", "Did you mean ca_file?"),
        ('ca_file = "company.pem"', "ca_file = 7", "metrics.ca_file", "PEM"),
        ('provider = "kubernetes"\n[cluster.rem', 'provider = "kubernetes"\naudiance = "x"\n[cluster.rem',
         "cluster.diagnose.audiance", "Did you mean audience?"),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_mend(tmp_path, old, new, where, mend):
    assert old in TEXT
    with pytest.raises(Misconfigured) as refused:
        read(tmp_path, TEXT.replace(old, new))
    assert mend in {problem.where: str(problem) for problem in refused.value.problems}[where]


def test_within_a_machine_no_tls_is_needed(tmp_path):
    for host in ("127.0.0.1:9000", "localhost", "[::1]:9000"):
        assert read(tmp_path, TEXT.replace("https://auth.example.com", f"http://{host}"))
