"""The policies that are printed: they can be read by programs, and trust exactly what they are to trust."""

from __future__ import annotations

import json
import subprocess
from fnmatch import fnmatchcase

import pytest
from printed_policies import commands, files

from runbooks_app.core.run_identity import STAGES, subject
from runbooks_app.core.trust import AWS_LARGEST, TARGETS, Trusted

pytestmark = pytest.mark.identity

ONE = "7b2f1c9e-5d0a-4e63-9a41-2f6c8e0d3b57"
TWO = "0c5e9d5e-13a5-4c38-8f0e-8d6a1a0f2b11"
ISSUER = "https://runbooks.example.com"
ALL = Trusted(ISSUER, f"{ISSUER}/.well-known/jwks.json", "production", (ONE, TWO))
ANY = Trusted(ISSUER, f"{ISSUER}/.well-known/jwks.json", "production")
BY_HAND = Trusted("https://id.example.com/runbooks", "https://id.example.com/runbooks/keys", "production", (ONE,))


def subjects(stage, environment="production"):
    return [subject(runbook, environment, stage) for runbook in (ONE, TWO)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("of", [ALL, ANY, BY_HAND], ids=["exact", "any", "by hand"])
def test_a_shell_takes_it_and_writes_the_files_that_it_holds(target, of, tmp_path):
    printed = TARGETS[target](of)
    tools = {words[0] for words in commands(printed)}
    tools = "".join(f"{tool}() {{ :; }}\n" for tool in tools)  # nothing is asked for real
    subprocess.run(["sh", "-eu"], input=tools + printed, text=True, check=True, cwd=tmp_path)
    told = files(printed)
    assert {path.name for path in tmp_path.iterdir()} == set(told)
    for name in told:
        if name.endswith(".json"):
            assert json.loads((tmp_path / name).read_text()) == told[name]


@pytest.mark.parametrize("stage", STAGES)
def test_a_role_of_aws_is_for_the_subjects_of_its_stage_alone(stage):
    (statement,) = files(TARGETS["aws"](ALL))[f"runbooks-{stage}.trust.json"]["Statement"]
    assert statement["Principal"] == {"Federated": "arn:aws:iam::111122223333:oidc-provider/runbooks.example.com"}
    assert statement["Action"] == ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]
    assert statement["Condition"] == {
        "StringEquals": {
            "runbooks.example.com:aud": "sts.amazonaws.com",
            "runbooks.example.com:sub": subjects(stage),
        }
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_role_of_aws_for_any_runbook_is_for_no_other_stage_or_environment(stage):
    (statement,) = files(TARGETS["aws"](ANY))[f"runbooks-{stage}.trust.json"]["Statement"]
    pattern = statement["Condition"]["StringLike"]["runbooks.example.com:sub"]
    (other,) = set(STAGES) - {stage}
    assert all(fnmatchcase(name, pattern) for name in subjects(stage))
    assert not any(fnmatchcase(name, pattern) for name in subjects(other))
    assert not any(fnmatchcase(name, pattern) for name in subjects(stage, "test"))


def test_aws_is_told_the_path_of_an_issuer_and_the_account_that_was_named():
    printed = TARGETS["aws"](Trusted("https://id.example.com/a", "https://k", "production", (ONE,), "aud", "123"))
    (statement,) = files(printed)["runbooks-diagnose.trust.json"]["Statement"]
    assert statement["Principal"]["Federated"] == "arn:aws:iam::123:oidc-provider/id.example.com/a"
    assert statement["Condition"]["StringEquals"]["id.example.com/a:aud"] == "aud"
    assert "Replace" not in printed


def test_a_policy_that_aws_would_find_too_long_says_so():
    many = tuple(f"{number:08d}-5d0a-4e63-9a41-2f6c8e0d3b57" for number in range(30))
    printed = TARGETS["aws"](Trusted(ISSUER, ALL.jwks_uri, "production", many))
    assert f"more than IAM's usual {AWS_LARGEST}. Name fewer" in printed
    assert "IAM's usual" not in TARGETS["aws"](ALL)


def test_google_cloud_maps_the_stage_and_pins_the_subjects():
    printed = TARGETS["gcp"](ALL)
    (create,) = [words for words in commands(printed) if "create-oidc" in words]
    flags = dict(zip(create[6::2], create[7::2], strict=True))
    condition = flags["--attribute-condition"]
    assert condition.startswith('assertion.environment == "production" && assertion.sub in ')
    assert json.loads(condition.partition(" in ")[2]) == [*subjects("diagnose"), *subjects("remediate")]
    assert "attribute.stage=assertion.stage" in flags["--attribute-mapping"]
    members = [words[-1] for words in commands(printed) if "add-iam-policy-binding" in words]
    assert [member.rpartition("/attribute.stage/")[2] for member in members] == list(STAGES)
    (any_runbook,) = [words for words in commands(TARGETS["gcp"](ANY)) if "create-oidc" in words]
    assert any_runbook[-1] == 'assertion.environment == "production"'


@pytest.mark.parametrize("stage", STAGES)
def test_a_role_of_vault_binds_audience_stage_and_subjects(stage):
    role = files(TARGETS["vault"](ALL))[f"runbooks-{stage}.role.json"]
    assert role["bound_audiences"] == ["vault"]
    assert role["bound_claims_type"] == "string"
    assert role["bound_claims"] == {"environment": "production", "stage": stage, "sub": subjects(stage)}
    assert role["token_policies"] == [f"runbooks-{stage}"]
    assert role["token_type"] == "service"
    any_runbook = files(TARGETS["vault"](ANY))[f"runbooks-{stage}.role.json"]
    assert any_runbook["bound_claims"] == {"environment": "production", "stage": stage}


def test_vault_finds_keys_where_they_are_published():
    assert files(TARGETS["vault"](ALL))["runbooks.config.json"]["oidc_discovery_url"] == ISSUER
    config = files(TARGETS["vault"](BY_HAND))["runbooks.config.json"]
    assert config["jwks_url"] == BY_HAND.jwks_uri
    assert config["bound_issuer"] == BY_HAND.issuer


def test_kubernetes_gives_each_stage_a_group_with_rights_of_its_own():
    told = files(TARGETS["kubernetes"](ALL))
    (authentication,) = told["authentication.yaml"]
    (jwt,) = authentication["jwt"]
    assert jwt["issuer"] == {"url": ISSUER, "audiences": ["kubernetes"]}
    environment, runbooks = jwt["claimValidationRules"]
    assert environment == {"claim": "environment", "requiredValue": "production"}
    listed = runbooks["expression"].removeprefix("claims.sub in ")
    assert json.loads(listed) == [*subjects("diagnose"), *subjects("remediate")]
    assert jwt["claimMappings"]["groups"] == {"claim": "stage", "prefix": "runbooks:"}
    bound = {
        document["subjects"][0]["name"]: document["roleRef"]["name"]
        for document in told["runbooks-rbac.yaml"]
        if document["kind"] == "ClusterRoleBinding"
    }
    assert bound == {"runbooks:diagnose": "view", "runbooks:remediate": "runbooks-remediate"}
    ((any_runbook,),) = [a["jwt"] for a in files(TARGETS["kubernetes"](ANY))["authentication.yaml"]]
    assert any_runbook["claimValidationRules"] == [environment]


def test_others_are_told_what_to_hold_a_token_against():
    told = files(TARGETS["token-exchange"](ALL))["runbooks.trust.json"]
    assert (told["issuer"], told["jwks_uri"], told["algorithms"]) == (ISSUER, ALL.jwks_uri, ["RS256"])
    assert told["stages"]["remediate"]["subjects"] == subjects("remediate")
    assert files(TARGETS["token-exchange"](ANY))["runbooks.trust.json"]["stages"]["diagnose"]["subjects"] == "any"


def test_what_is_odd_in_an_issuer_stays_a_word_of_the_shell():
    odd = Trusted("https://i.example/$(id)';x", "https://i.example/k", "production", (ONE,), audience="a b;c")
    for target in TARGETS:
        for words in commands(TARGETS[target](odd)):
            assert "id" not in words
            assert "x" not in words
