"""What a run token says, and which key signs it when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from runbooks_app.core.errors import InvalidInput
from runbooks_app.core.run_identity import (
    AFTER,
    AHEAD,
    EARLIER,
    STAGES,
    TAGS,
    TOKEN_SECONDS,
    Key,
    Purpose,
    Turn,
    claims,
    discovery,
    subject,
    thumbprint,
    turn,
)

pytestmark = pytest.mark.identity

RUNBOOK = "7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b57"
DIAGNOSE = Purpose(
    "run-1",
    "diagnose",
    600,
    runbook_id=RUNBOOK,
    runbook_digest="d1",
    params_digest="d2",
    environment="production",
    requesters=("https://idp#ana",),
)
REMEDIATE = replace(
    DIAGNOSE, stage="remediate", proposal_id="prop-1", proposal_digest="d3", approvers=("https://idp#ben",)
)
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def told(purpose, **given):
    return claims(purpose, **{"issuer": "https://i", "audience": "https://a", "now": 1000.9, "jti": "j", **given})


def test_a_diagnosis_says_who_asked_for_what_and_nothing_of_an_approval():
    said = told(DIAGNOSE)
    assert said == {
        "iss": "https://i",
        "aud": "https://a",
        "sub": f"runbook:{RUNBOOK}:env:production:stage:diagnose",
        "iat": 1000,
        "nbf": 1000 - EARLIER,
        "exp": 1000 + TOKEN_SECONDS,
        "jti": "j",
        "stage": "diagnose",
        "environment": "production",
        "runbook_id": RUNBOOK,
        "run_id": "run-1",
        "runbook_digest": "d1",
        "params_digest": "d2",
        "requested_by": ["https://idp#ana"],
        TAGS: {
            "principal_tags": {
                "runbook_id": [RUNBOOK],
                "run_id": ["run-1"],
                "environment": ["production"],
                "stage": ["diagnose"],
            },
            "transitive_tag_keys": ["runbook_id", "run_id", "environment", "stage"],
        },
    }
    # The proposal of a re-check stays out of it: nothing of it has been decided for this stage.
    assert told(replace(DIAGNOSE, proposal_id="prop-1", approvers=("x",), proposal_digest="d")) == said


def test_a_remediation_says_who_approved_which_proposal():
    said = told(REMEDIATE)
    assert said["sub"] == f"runbook:{RUNBOOK}:env:production:stage:remediate"
    assert (said["proposal_id"], said["proposal_digest"]) == ("prop-1", "d3")
    assert said["approved_by"] == ["https://idp#ben"]
    assert said[TAGS]["principal_tags"]["proposal_id"] == ["prop-1"]


def test_every_claim_stands_in_the_discovery_document():
    document = discovery("https://i", "https://i/keys")
    assert set(document["claims_supported"]) == set(told(REMEDIATE))
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert (document["issuer"], document["jwks_uri"]) == ("https://i", "https://i/keys")


@pytest.mark.parametrize(
    "lacking",
    [
        {"run_id": ""},
        {"runbook_id": ""},
        {"runbook_digest": ""},
        {"params_digest": ""},
        {"environment": ""},
        {"stage": "verify"},
        {"proposal_id": None},
        {"proposal_digest": ""},
        {"approvers": ()},
    ],
    ids=str,
)
def test_a_token_that_lacks_a_part_is_not_made(lacking):
    with pytest.raises(InvalidInput):
        told(replace(REMEDIATE, **lacking))


def test_a_token_for_nobody_in_particular_is_not_made():
    with pytest.raises(InvalidInput, match="audience"):
        told(DIAGNOSE, audience="")


@pytest.mark.parametrize(
    ("runbook_id", "environment", "stage"),
    [
        (f"{RUNBOOK}:env:production:stage:remediate", "test", "diagnose"),
        (RUNBOOK.upper(), "production", "diagnose"),
        (RUNBOOK + "\n", "production", "diagnose"),
        (RUNBOOK.replace("-", ""), "production", "diagnose"),
        ("*", "production", "diagnose"),
        (RUNBOOK, "production:stage:remediate", "diagnose"),
        (RUNBOOK, "*", "diagnose"),
        (RUNBOOK, "production", "remediate "),
        (RUNBOOK, "production", "*"),
    ],
)
def test_no_part_of_a_subject_passes_for_another(runbook_id, environment, stage):
    with pytest.raises(InvalidInput, match="no run identity"):
        subject(runbook_id, environment, stage)


@given(st.uuids(), st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True), st.sampled_from(STAGES))
def test_a_subject_leads_back_to_its_parts_and_fits_into_127_bytes(runbook_id, environment, stage):
    named = subject(str(runbook_id), environment, stage)
    assert named.split(":") == ["runbook", str(runbook_id), "env", environment, "stage", stage]
    assert len(named) <= 127  # what GCP takes as google.subject


def test_a_keys_name_is_its_thumbprint():
    key = RSAKey.generate_key(2048)
    assert thumbprint({**key.as_dict(private=False), "kid": "another", "use": "sig"}) == key.thumbprint()


@pytest.mark.parametrize(
    "jwk", [None, [], "RSA", {}, {"kty": "EC", "n": "x", "e": "y"}, {"kty": "RSA", "n": 1, "e": "AQAB"}]
)
def test_what_is_no_rsa_key_has_no_name(jwk):
    with pytest.raises(InvalidInput, match="no RSA key"):
        thumbprint(jwk)


def key(name, day):
    return Key(name, START + day * DAY)


def at(day, *keys, usable=None):
    return turn(keys, START + day * DAY, 30, usable)


def test_the_first_key_signs_at_once():
    assert at(0) == Turn(None, (), make=True)
    assert at(0, key("a", 0)) == Turn(key("a", 0), (), make=False)


def test_a_key_follows_the_last_after_its_days_and_signs_a_day_later():
    a, b = key("a", 0), key("b", 30)
    assert not at(29.99, a).make
    assert at(30, a) == Turn(a, (), make=True)
    assert at(30, a, b) == Turn(a, (), make=False)
    assert at(30.99, b, a).signs == a
    assert at(31, a, b) == Turn(b, (), make=False)


def test_a_key_that_has_signed_stays_until_its_tokens_have_lapsed_and_a_day():
    a, b = key("a", 0), key("b", 30)
    end = 31 + AFTER / DAY
    assert at(end - 0.0001, a, b).withdraw == ()
    assert at(end, a, b) == Turn(b, (a,), make=False)


def test_a_worker_that_slept_for_months_still_publishes_a_key_before_it_signs():
    a = key("a", 0)
    assert at(400, a) == Turn(a, (), make=True)
    assert at(400.5, a, key("b", 400)).signs == a


def test_no_key_signs_that_is_not_where_the_operators_publish_them():
    a, b = key("a", 0), key("b", 30)
    assert at(0, a, usable=set()) == Turn(None, (), make=False)
    assert at(5, a, usable={"a"}).signs == a
    # The next one was not put there in time: the last goes on, no third is made, and none is withdrawn.
    assert at(90, a, b, usable={"a"}) == Turn(a, (), make=False)
    assert at(90, a, b, usable={"a", "b"}) == Turn(b, (a,), make=True)


def test_of_two_first_keys_every_worker_takes_the_same():
    a, b = key("a", 0), key("b", 0)
    assert at(0, a, b).signs == at(0, b, a).signs == a
    assert at(2, a, b).signs == at(2, b, a).signs == b


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=400))
def test_whatever_the_times_at_which_a_worker_looks_no_token_outlives_its_key(steps):
    """A folder through months: each key is published for a day before it signs, and after its last token's end."""
    keys: dict[str, Key] = {}
    signed: dict[str, list[datetime]] = {}
    withdrawn: dict[str, datetime] = {}
    now = START
    for step in steps:
        now += step * DAY
        found = turn(keys.values(), now, 10)
        for gone in found.withdraw:
            withdrawn[gone.kid] = now
            del keys[gone.kid]
        if found.make:
            keys[str(len(keys) + len(withdrawn))] = Key(str(len(keys) + len(withdrawn)), now)
            found = turn(keys.values(), now, 10)
        assert found.signs is not None
        assert found.signs.kid in keys
        signed.setdefault(found.signs.kid, []).append(now)
        assert found.signs.kid == "0" or now - found.signs.published_at >= AHEAD
    for kid, end in withdrawn.items():
        assert kid not in signed or signed[kid][-1] + timedelta(seconds=TOKEN_SECONDS) <= end
    assert len(keys) <= 2 + 1
