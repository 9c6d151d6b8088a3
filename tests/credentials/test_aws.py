"""AWS: a session for one stage, whose key signs each request; nothing of it is told to anybody."""

from __future__ import annotations

import json
import logging
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
from credentials.clouds import ACCOUNT, ERROR, aws_server
from credentials.trusting import RUNBOOK, issuing
from kernels.gateway.servers import HOST, raw_server, silent

from runbooks_app import asking
from runbooks_app.connections import CredentialSource
from runbooks_app.core.errors import Conflict, Misconfigured, Refused, Unavailable
from runbooks_app.core.outgoing import Outgoing
from runbooks_app.core.trust import Trusted
from runbooks_app.core.trust import aws as show_aws
from runbooks_app.credentials import provider_for, tokens

pytestmark = pytest.mark.identity

LOGS = SimpleNamespace(name="logs", host="", port=0, database="")
ROLES = {stage: f"arn:aws:iam::{ACCOUNT}:role/runbooks-{stage}" for stage in ("diagnose", "remediate")}
OTHER = "00000000-0000-4000-8000-000000000000"
WHO = b"Action=GetCallerIdentity&Version=2011-06-15"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture(scope="module")
def issuer():
    with issuing() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def one_aws(issuer):
    with aws_server(issuer.url) as aws:
        yield aws


@pytest.fixture
def aws(one_aws, issuer):
    """As it is once what `runbooks identity show aws` prints was pasted."""
    one_aws.paste(show_aws(Trusted(issuer.url, issuer.keys, "production", (RUNBOOK,), account=ACCOUNT)))
    one_aws.sessions, one_aws.seen, one_aws.ahead, one_aws.spell = {}, [], 0.0, lambda: None
    return one_aws


@pytest.fixture
def provider(aws):
    def provider(stage="diagnose", **options):
        given = {"role_arn": ROLES[stage], "region": "eu-central-1", "service": "sts", "audience": "sts.amazonaws.com"}
        return provider_for(CredentialSource("aws", {"sts_url": aws.url} | given | options))

    return provider


def send(minted, url, method="GET", body=b"", *headers, changed=None, body_sent=None):
    """Send a request as the gateway does: what was signed, byte for byte; unless it is another one by then."""
    host = ("Host", url.split("/")[2])
    signed = minted.authorize(Outgoing(method, url, (host, *headers), body))
    names = {name.lower() for name in signed}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    headers = [*kept, *(signed | (changed or {})).items()]
    sent = httpx.Request(method, url, headers=headers, content=body if body_sent is None else body_sent)
    sent.extensions["target"] = b"/" + url.split("/", 3)[3].encode()
    with httpx.HTTPTransport() as transport:
        answered = transport.handle_request(sent)
        answered.read()
        return answered


def who(minted, aws, **changed):
    return send(minted, f"{aws.url}/", "POST", WHO, FORM, **changed)


def test_a_session_is_begun_for_a_stage_and_aws_knows_its_requests(aws, provider, issuer):
    minted = provider().mint(LOGS, issuer.purpose())
    answered = who(minted, aws)
    assert answered.status_code == 200
    assert minted.identity.startswith("diagnose-run-1-")
    assert f"assumed-role/runbooks-diagnose/{minted.identity}<" in answered.text
    assert aws.seen == [("POST", "/", ROLES["diagnose"])]
    (session,) = aws.sessions.values()
    assert session.name == minted.identity
    assert minted.secrets == [session.secret, session.token[-64:]]
    assert minted.signs_body
    assert minted.scope == f"arn:aws:sts::{ACCOUNT}:assumed-role/runbooks-diagnose/{minted.identity}"
    assert timedelta(minutes=14) < minted.expires_at - datetime.now(UTC) <= timedelta(minutes=15)


@pytest.mark.parametrize("stage", ["diagnose", "remediate"])
def test_a_token_of_one_stage_never_gets_the_other_stages_role(aws, provider, issuer, stage):
    (other,) = {"diagnose", "remediate"} - {stage}
    with pytest.raises(Misconfigured, match=r"AccessDenied: Not authorized to perform sts:AssumeRoleWith") as refused:
        provider(other).mint(LOGS, issuer.purpose(stage))
    assert str(refused.value).startswith(f"logs (STS at {aws.url}) gave no session of {ROLES[other]} (403)")
    assert "runbooks identity show aws" in str(refused.value)
    provider(stage).mint(LOGS, issuer.purpose(stage))
    assert [session.role for session in aws.sessions.values()] == [ROLES[stage]]


def test_another_audience_runbook_or_environment_gets_nothing(aws, provider, issuer):
    with pytest.raises(Misconfigured, match="InvalidIdentityToken: Incorrect token audience"):
        provider(audience="vault.example.com").mint(LOGS, issuer.purpose())
    for purpose in (issuer.purpose(environment="staging"), issuer.purpose(runbook_id=OTHER)):
        with pytest.raises(Misconfigured, match="AccessDenied"):
            provider().mint(LOGS, purpose)
    assert aws.sessions == {}


def test_a_role_for_any_runbook_is_still_one_stages_and_one_environments(aws, provider, issuer):
    aws.paste(show_aws(Trusted(issuer.url, issuer.keys, "production", account=ACCOUNT)))
    assert provider().mint(LOGS, issuer.purpose(runbook_id=OTHER))
    for purpose in (issuer.purpose("remediate"), issuer.purpose(environment="staging")):
        with pytest.raises(Misconfigured, match="AccessDenied"):
            provider().mint(LOGS, purpose)


def test_session_tags_travel_in_the_token_and_want_to_be_allowed(aws, provider, issuer):
    provider("remediate").mint(LOGS, issuer.purpose("remediate"))
    tags = aws.trust.seen[-1]["https://aws.amazon.com/tags"]
    assert tags["principal_tags"]["run_id"] == ["run-1"]
    assert tags["principal_tags"]["proposal_id"] == ["p-1"]
    assert "run_id" in tags["transitive_tag_keys"]
    aws.trusts[ROLES["diagnose"]]["Statement"][0]["Action"] = "sts:AssumeRoleWithWebIdentity"
    with pytest.raises(Misconfigured, match="AccessDenied"):
        provider().mint(LOGS, issuer.purpose())


@pytest.mark.parametrize(
    "target",
    [
        "/v1/query?query=up%7Bjob%3D%22api%22%7D&time=5",
        "/v1/query?b=2&a=1&b=1&empty=&bare&A=0",
        "/v1/query?query=rate(up[5m])+by+(job)&x=a:b/c,d;e*f'g~h",
        "/v1/query?q=%20space%2Bplus%25percent%26and%3Dequals",
        "/v1/query?q=%E2%82%AC&caf%C3%A9=%c3%a9",
        "/log/groups/%2Faws%2Flambda%2Fone%20two",
        "/a-b_c.d~e/f:g@h",
    ],
)
def test_signatures_hold_for_every_form_of_query_and_path(aws, provider, issuer, target):
    minted = provider(service="aps").mint(LOGS, issuer.purpose())
    assert send(minted, aws.url + target).headers.get("server") is not None
    assert len(aws.seen) == 1, "the signature was refused"


@pytest.mark.parametrize("key", ["plain.txt", "with%20space/%C3%A9%2Bplus", "a//b", "tilde~'(x)!*"])
def test_s3_keys_are_signed_as_they_stand(aws, provider, issuer, key):
    minted = provider(service="s3").mint(LOGS, issuer.purpose())
    bucket = f"{aws.url}/evidence"
    send(minted, bucket, "PUT")
    put = send(minted, f"{bucket}/{key}", "PUT", b"kept", ("X-Amz-Meta-Run", "run   1"))
    assert "Signature" not in put.text
    assert len(aws.seen) == 2, "a signature was refused"


def test_headers_of_a_cell_are_signed_and_its_own_signature_is_replaced(aws, provider, issuer):
    minted = provider().mint(LOGS, issuer.purpose())
    url = f"{aws.url}/"
    own = (
        ("X-Amz-Date", "19990101T000000Z"),
        ("x-amz-security-token", "of-somebody-else"),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=AKIASTRANGER/x"),
        ("Date", "Fri, 01 Jan 1999 00:00:00 GMT"),
        ("X-Amz-Target", "Logs_20140328.DescribeLogGroups"),
        ("X-Amz-Twice", "one"),
        ("X-Amz-Twice", "two"),
        ("User-Agent", "a kernel"),
    )
    assert send(minted, url, "POST", WHO, FORM, *own).status_code == 200
    assert len(aws.seen) == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"body_sent": WHO + b"&x=1"}, "XAmzContentSHA256Mismatch"),
        ({"changed": {"X-Amz-Target": "Other.Action"}}, "AccessDenied"),
        ({"changed": {"Content-Type": "text/plain"}}, "SignatureDoesNotMatch"),
        ({"changed": {"X-Amz-Security-Token": "another"}}, "InvalidClientTokenId"),
        ({"changed": {"X-Amz-Date": "20200101T000000Z"}}, "SignatureDoesNotMatch"),
    ],
)
def test_what_is_changed_after_signing_is_refused(aws, provider, issuer, changed, code):
    """Which shows that a signature is checked at all where others hold."""
    answered = who(provider().mint(LOGS, issuer.purpose()), aws, **changed)
    assert answered.status_code in {400, 403}
    assert f"<Code>{code}</Code>" in answered.text
    assert aws.seen == []


@pytest.mark.parametrize("query", ["X-Amz-Signature=abc&X-Amz-Credential=AKIA", "awsaccesskeyid=AKIA&Signature=x"])
def test_a_url_that_brings_a_strangers_signature_is_refused(aws, provider, issuer, query):
    minted = provider().mint(LOGS, issuer.purpose())
    with pytest.raises(Refused, match="signature of its own"):
        send(minted, f"{aws.url}/bucket/key?{query}", "GET")


def test_a_session_policy_narrows_the_role_and_is_read_for_each_stage_anew(aws, provider, issuer, tmp_path):
    file = tmp_path / "reads.json"
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:Get*", "Resource": "*"}]}
    file.write_text(json.dumps(policy, indent=8))
    provided = provider(session_policy_file=str(file))
    provided.mint(LOGS, issuer.purpose())
    (session,) = aws.sessions.values()
    assert session.policy == json.dumps(policy, separators=(",", ":"))
    for text, words in (("{", "it is no JSON"), (json.dumps("x" * 2100), "2102 characters, and AWS takes 2048")):
        file.write_text(text)
        with pytest.raises(Misconfigured, match=rf"^logs: the session policy \S+reads.json .*{words}"):
            provided.mint(LOGS, issuer.purpose())
    file.unlink()
    with pytest.raises(Misconfigured, match=r"reads.json cannot be used: No such file"):
        provided.mint(LOGS, issuer.purpose())


def test_nobody_takes_a_session_back_and_that_is_told(provider, issuer):
    provided = provider()
    minted = provided.mint(LOGS, issuer.purpose())
    assert provided.revoke(LOGS, minted.identity) is False
    assert provided.sweep(LOGS, frozenset()) == []
    assert "takes no session back: it ends by itself 15 min after it began" in minted.note


def later(monkeypatch, **passed):
    """Let the worker's clock go on."""
    seconds = timedelta(**passed).total_seconds()
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + seconds))


def test_a_session_that_ends_soon_is_replaced_and_that_is_told(aws, provider, issuer, monkeypatch):
    renewed = []
    purpose = replace(issuer.purpose(), renewed=lambda identity, lasts: renewed.append((identity, lasts)))
    minted = provider().mint(LOGS, purpose)
    later(monkeypatch, minutes=14, seconds=20)
    who(minted, aws)
    assert renewed == []
    later(monkeypatch, minutes=14, seconds=40)
    assert who(minted, aws).status_code == 200
    assert renewed == [(minted.identity, 900)]
    assert [session.name for session in aws.sessions.values()] == [minted.identity] * 2
    assert minted.secrets == [
        part for session in aws.sessions.values() for part in (session.secret, session.token[-64:])
    ]
    assert len(issuer.given) == len(set(issuer.given)), "each session wants a run token of its own"


def test_a_session_that_cannot_be_entered_is_not_used(aws, provider, issuer, monkeypatch):
    def ended(_identity, _lasts):
        raise Conflict("The credential has ended; it is not renewed.")

    minted = provider().mint(LOGS, replace(issuer.purpose(), renewed=ended))
    later(monkeypatch, minutes=14, seconds=40)
    for _ in range(2):
        assert next(iter(aws.sessions)) in minted.authorize(Outgoing("GET", f"{aws.url}/"))["Authorization"]
    later(monkeypatch, minutes=15, seconds=1)
    with pytest.raises(Conflict):
        minted.authorize(Outgoing("GET", f"{aws.url}/"))


def test_a_session_goes_on_to_its_end_while_sts_is_away_and_no_longer(aws, provider, issuer, monkeypatch):
    minted = provider().mint(LOGS, issuer.purpose())
    aws.spell = lambda: (503, ERROR.format(code="ServiceUnavailable", message="busy").encode())
    later(monkeypatch, minutes=14, seconds=40)
    assert who(minted, aws).status_code == 200
    later(monkeypatch, minutes=15, seconds=1)
    with pytest.raises(Unavailable, match=r"^logs \(STS at .*\(503\): ServiceUnavailable: busy\. Try again\."):
        who(minted, aws)
    aws.spell = lambda: None
    assert who(minted, aws).status_code == 200


# ---- what STS should not do


@pytest.mark.parametrize(
    "body",
    [b"", b"<a", b"{}", b"<a/>", b"<a><AccessKeyId>x</AccessKeyId></a>", b"<?xml version='1.0' encoding='x'?>"],
)
def test_an_answer_without_a_session_is_refused(aws, provider, issuer, body):
    aws.spell = lambda: (200, body)
    with pytest.raises(Unavailable, match=r"^logs \(STS at .*answered without a session"):
        provider().mint(LOGS, issuer.purpose())


def test_an_answer_that_grows_without_end_is_refused(aws, provider, issuer):
    entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10 if n else 'x' * 50}'>" for n in range(9))
    aws.spell = lambda: (200, f"<!DOCTYPE a [{entities}]><a><AccessKeyId>&e8;</AccessKeyId></a>".encode())
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="answered without a session"):
        provider().mint(LOGS, issuer.purpose())
    assert time.monotonic() - begun < 5


def test_sts_that_is_away_slow_endless_or_elsewhere_is_told_by_name(aws, provider, issuer, monkeypatch):
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Unavailable, match=rf"^logs \(STS at http://{HOST}:{port}\) could not be reached"):
        provider(sts_url=f"http://{HOST}:{port}").mint(LOGS, issuer.purpose())
    for status, error, words in ((200, Unavailable, "more than 256 KiB"), (307, Misconfigured, r"redirect \(307\)")):
        aws.spell = lambda status=status: (status, b" " * 300_000)
        with pytest.raises(error, match=words):
            provider().mint(LOGS, issuer.purpose())
    monkeypatch.setattr(asking, "PATIENCE", 0.3)
    with raw_server(silent) as system, pytest.raises(Unavailable, match=r"did not answer within 0\.3 s"):
        provider(sts_url=f"http://{HOST}:{system.port}").mint(LOGS, issuer.purpose())


@pytest.mark.parametrize(
    ("code", "status", "error", "mend"),
    [
        ("IDPCommunicationError", 400, Misconfigured, "Let AWS read this service's"),
        ("PackedPolicyTooLarge", 400, Misconfigured, "Shorten the file named by session_policy_file"),
        ("SomethingNew", 400, Misconfigured, "Check role_arn, region and sts_url"),
        ("Throttling", 400, Unavailable, "Try again"),
        ("InternalFailure", 500, Unavailable, "Try again"),
    ],
)
def test_each_refusal_is_told_in_its_own_words_and_with_its_mend(aws, provider, issuer, code, status, error, mend):
    aws.spell = lambda: (status, ERROR.format(code=code, message=f"why {issuer.given[-1]}").encode())
    with pytest.raises(error, match=rf"\({status}\): {code}: why \*\*\*\. {mend}"):
        provider().mint(LOGS, issuer.purpose())


def test_a_clock_that_is_wrong_is_told_before_any_signature_is_refused(aws, provider, issuer, monkeypatch):
    aws.ahead = 1200.0
    monkeypatch.setattr(asking, "time", SimpleNamespace(time=lambda: time.time() - 1200))
    with pytest.raises(Misconfigured, match=r"ExpiredTokenException.*clock is 1(199|200|201) s behind.*by NTP"):
        provider().mint(LOGS, issuer.purpose())
    aws.ahead = 0.0
    with pytest.raises(Misconfigured, match=r"would believe no signature of this worker\. This worker's clock is 1"):
        provider().mint(LOGS, issuer.purpose())


def test_nothing_of_it_stands_in_a_log_or_a_repr(aws, provider, issuer, caplog):
    caplog.set_level(logging.DEBUG)
    provided = provider()
    minted = provided.mint(LOGS, issuer.purpose())
    assert who(minted, aws).status_code == 200
    (session,) = aws.sessions.values()
    shown = caplog.text + repr(provided) + repr(minted) + repr(minted.authorize)
    for secret in (session.secret, session.token, issuer.given[-1]):
        assert secret not in shown


def test_without_a_run_identity_it_says_which_setting_gives_one(provider, issuer):
    with pytest.raises(Misconfigured, match="RUNBOOKS_IDENTITY_KEYS"):
        provider().mint(LOGS, replace(issuer.purpose(), identity=None))
