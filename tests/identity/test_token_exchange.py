"""Token exchange with an independent, certified authorization server: each stage gets its own scope, and no other."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest
from credentials.trusting import RUNBOOK, issuing, subject
from joserfc import jwt
from joserfc.jwk import KeySet

from runbooks_app.connections import read_connections
from runbooks_app.core.errors import Misconfigured
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.credentials import provider_for

pytestmark = pytest.mark.identity

METRICS = SimpleNamespace(name="metrics", host="", port=0, database="", url="http://metrics")
SECRET = "exchange:secret+4c/=9d"
SCOPES = {"diagnose": "metrics:read", "remediate": "metrics:write"}
TEXT = """
[metrics]
kind = "http"
url = "https://metrics"
[metrics.diagnose]
provider = "token-exchange"
issuer = "{issuer}"
audience = "metrics"
scope = "{scope}"
client_id = "metrics gateway"
client_secret_file = "client.secret"
"""


@pytest.fixture
def issuer(node):
    """Whose run tokens the server exchanges, for a client that proves itself."""
    node.client(
        "metrics gateway",
        client_secret=SECRET,
        redirect_uris=[],
        response_types=[],
        grant_types=["urn:ietf:params:oauth:grant-type:token-exchange"],
    )
    with issuing() as issuer:
        rules = [{"sub": subject(stage), "audience": "metrics", "scope": SCOPES[stage]} for stage in SCOPES]
        node.exchange(issuer.url, f"{issuer.url}/.well-known/jwks.json", rules)
        yield issuer


@pytest.fixture
def provider(node, tmp_path):
    def provider(scope, secret=SECRET):
        (tmp_path / "client.secret").write_text(secret)
        file = tmp_path / "connections.toml"
        file.write_text(TEXT.format(issuer=node.issuer, scope=scope))
        return provider_for(read_connections(file)["metrics"].diagnose)

    return provider


def claims_of(minted, node):
    token = minted.authorize(Outgoing("GET", "http://metrics/"))["Authorization"].removeprefix("Bearer ")
    keys = KeySet.import_key_set(httpx.get(f"{node.issuer}/jwks", trust_env=False).json())
    return jwt.decode(token, keys, algorithms=["RS256"]).claims


@pytest.mark.parametrize("stage", SCOPES)
def test_each_stage_gets_its_own_scope_for_its_own_subject(node, issuer, provider, stage):
    minted = provider(SCOPES[stage]).mint(METRICS, issuer.purpose(stage))
    claims = claims_of(minted, node)
    assert (claims["scope"], claims["sub"], claims["aud"]) == (SCOPES[stage], subject(stage), "metrics")
    assert node.exchanged()[-1]["runbook_id"] == RUNBOOK
    assert node.exchanged()[-1].get("approved_by") == (["https://idp#ben"] if stage == "remediate" else None)


def test_a_diagnosis_that_asks_for_the_remediations_scope_is_refused_there(node, issuer, provider):
    before = len(node.exchanged())
    for scope in ("metrics:write", "metrics:read metrics:write"):
        with pytest.raises(Misconfigured, match=r"metrics .*invalid_target.*Check audience"):
            provider(scope).mint(METRICS, issuer.purpose("diagnose"))
    assert len(node.exchanged()) == before


def test_a_client_with_another_secret_and_a_run_token_for_somebody_else_get_nothing(node, issuer, provider):
    with pytest.raises(Misconfigured, match=r"invalid_client.*client_secret_file"):
        provider("metrics:read", secret="another").mint(METRICS, issuer.purpose())
    with issuing() as stranger, pytest.raises(Misconfigured, match=r"invalid_grant.*identity show"):
        provider("metrics:read").mint(METRICS, stranger.purpose())
