"""Access tokens on the API: whose counts, where it counts, and everything that must not let anybody in."""

from __future__ import annotations

import base64
import time

import hostile_provider as provider_module
import pytest
from hostile_provider import CLIENT_ID, OTHER_RSA, RSA, rs256

from runbooks_app.core.errors import Misconfigured
from runbooks_app.settings import read_settings
from runbooks_app.store.database import reading
from runbooks_app.web.app import create_app

pytestmark = pytest.mark.identity

AUDIENCE = "http://127.0.0.1:8080"


@pytest.fixture
def settings(settings, provider):
    return {**settings, "oidc_issuer": provider.url}


@pytest.fixture
def claims(provider):
    """`claims(sub="anna", exp=None)` are those of a good access token, changed; None leaves one out."""

    def make(**changes):
        now = int(time.time())
        good = {
            "iss": provider.url,
            "aud": AUDIENCE,
            "sub": "anna",
            "name": "Anna",
            "groups": ["oncall"],
            "client_id": "some-program",
            "jti": "t-1",
            "iat": now,
            "exp": now + 300,
            **changes,
        }
        return {name: value for name, value in good.items() if value is not None}

    return make


@pytest.fixture
def call(client):
    """`call(token, path)` asks the API with this token; a body makes it a POST."""

    def ask(token, path="/api/v1/me", body=None, **headers):
        sent = {"Authorization": f"Bearer {token}", **headers}
        return client.open(path, method="GET" if body is None else "POST", json=body, headers=sent)

    return ask


@pytest.fixture
def last_entry(service):
    def look(event, subject):
        with reading(service.engine) as tx:
            return tx.execute(
                "SELECT actor::jsonb AS actor, body::jsonb AS body FROM audit_entries WHERE event = :event"
                " AND actor::jsonb->>'subject' = :subject ORDER BY seq DESC LIMIT 1",
                event=event,
                subject=subject,
            ).first()

    return look


def token(claims, typ="at+jwt", **how):
    return rs256(claims, typ=typ, **how)


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "JWT"])
def test_who_an_access_token_stands_for_has_the_roles_of_its_groups(call, claims, provider, typ):
    told = call(token(claims(groups=["oncall", "dba", "unheard-of"]), typ))
    assert told.status_code == 200
    assert told.json["subject"] == provider.url + "#anna"
    assert told.json["roles"] == ["approver:database", "responder"]
    assert "csrf" not in told.json


def test_a_program_needs_neither_cookie_nor_origin_nor_token_of_a_session(call, claims, provider, last_entry):
    subject = f"{provider.url}#starts-runs"
    told = call(token(claims(sub="starts-runs", auth_time=NOW - 20)), "/api/v1/runs", {"runbook": "disk-full"})
    assert told.status_code == 201, told.text
    entry = last_entry("run.requested", subject)
    assert entry.actor["signed_in"] == {
        "surface": "api",
        "auth_time": NOW - 20,
        "client_id": "some-program",
        "jti": "t-1",
    }


def test_the_trail_tells_the_command_line_from_other_programs(call, claims, provider, last_entry):
    call(token(claims(sub="types", client_id="runbooks-cli")), "/api/v1/incidents", {"title": "by hand"})
    assert last_entry("incident.opened", f"{provider.url}#types").actor["signed_in"]["surface"] == "cli"


def test_somebody_unknown_so_far_is_remembered_when_they_do_something_and_not_before(
    call, claims, provider, service, held, last_entry
):
    subject, good = f"{provider.url}#newcomer", token(claims(sub="newcomer"))

    def known():
        with reading(service.engine) as tx:
            return tx.execute("SELECT name, roles FROM people WHERE subject = :s", s=subject).first()

    before = held()
    assert call(good, "/api/v1/runs").status_code == 200
    assert known() is None
    assert held() == before
    assert call(good, "/api/v1/incidents", {"title": "x"}).status_code == 201
    assert tuple(known()) == ("Anna", ["responder"])
    assert last_entry("person.signed_in", subject).body == {"roles": ["responder"]}


def test_a_token_without_groups_gives_no_role_and_takes_none_from_a_session(call, claims, provider, sign_in_as):
    anna = sign_in_as("responder", subject=f"{provider.url}#has-both")
    bare = token(claims(sub="has-both", groups=None, iat=int(time.time()) + 20))
    assert call(bare, "/api/v1/me").json["roles"] == []
    assert call(bare, "/api/v1/incidents", {"title": "x"}).status_code == 403
    assert anna.post("/api/v1/incidents", {"title": "x"}).status_code == 201


def test_roles_that_the_provider_took_away_at_a_later_sign_in_are_lost_in_older_tokens_too(
    call, claims, provider, sign_in_as
):
    older = token(claims(sub="moved", groups=["oncall", "dba"], iat=NOW - 60))
    assert call(older).json["roles"] == ["approver:database", "responder"]
    sign_in_as("approver:database", "auditor", subject=f"{provider.url}#moved")
    assert call(older).json["roles"] == ["approver:database"]
    assert call(older, "/api/v1/runs", {"runbook": "disk-full"}).status_code == 403


def test_an_older_token_does_not_bring_back_what_a_later_sign_in_told(call, claims, provider, service, sign_in_as):
    sign_in_as("responder", subject=f"{provider.url}#kept", name="Anna as of today")
    older = token(claims(sub="kept", groups=["oncall", "dba"], iat=NOW - 60))
    assert call(older, "/api/v1/incidents", {"title": "x"}).status_code == 201
    with reading(service.engine) as tx:
        kept = tx.execute("SELECT name, roles FROM people WHERE subject = :s", s=f"{provider.url}#kept").one()
    assert tuple(kept) == ("Anna as of today", ["responder"])


NOW = int(time.time())
FORGED = {
    "by another issuer": {"iss": "https://evil.example"},
    "by the issuer with a slash more": {"iss": "{issuer}/"},
    "by nobody": {"iss": None},
    "for another service": {"aud": "https://api.example"},
    "for us and another service": {"aud": [AUDIENCE, "https://api.example"]},
    "for us with a slash more": {"aud": AUDIENCE + "/"},
    "for nobody": {"aud": None},
    "for an object": {"aud": {AUDIENCE: True}},
    "for our client, as an id_token is": {"aud": CLIENT_ID},
    "for the command line's client, as an id_token is": {"aud": "runbooks-cli"},
    "with a nonce, as an id_token has": {"nonce": "n"},
    "with the hash of an access token, as an id_token has": {"at_hash": "h"},
    "of the kind ID, as Keycloak marks its id_tokens": {"typ": "ID"},
    "expired": {"iat": NOW - 400, "exp": NOW - 100},
    "without an end": {"exp": None},
    "with a text as its end": {"exp": "9999999999"},
    "with true as its end": {"exp": True},
    "not valid yet": {"nbf": NOW + 3600},
    "valid from a text on": {"nbf": "0"},
    "issued in the future": {"iat": NOW + 3600},
    "not issued": {"iat": None},
    "of nobody": {"sub": None},
    "of an empty subject": {"sub": ""},
    "of a number": {"sub": 1},
    "of a subject with a line end": {"sub": "anna\nadmin"},
    "of a program": {"sub": "batch", "client_id": "batch"},
    "our own run token": {"iss": AUDIENCE, "sub": "runbook:x:env:tests:stage:remediate"},
}


@pytest.mark.parametrize("forgery", FORGED)
@pytest.mark.parametrize("typ", ["at+jwt", "JWT"])
def test_a_token_with_one_wrong_claim_lets_nobody_in(call, claims, provider, held, forgery, typ):
    changed = {n: v.replace("{issuer}", provider.url) if isinstance(v, str) else v for n, v in FORGED[forgery].items()}
    wrong, before = token(claims(**changed), typ), held()
    for told in (call(wrong), call(wrong, "/api/v1/incidents", {"title": "x"})):
        assert (told.status_code, told.json["error"]["code"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in told.headers["WWW-Authenticate"]
        assert wrong not in told.text + str(told.headers)
    assert held() == before


def deep(_claims):
    head = base64.urlsafe_b64encode(b"[" * 5_000).rstrip(b"=").decode()
    return f"{head}.{head[:5]}.{head[:5]}"


SIGNED = {
    "not at all": provider_module.unsigned,
    "altered afterwards": provider_module.altered,
    "with a MAC under the public key": provider_module.hs256_with_public_key,
    "with a MAC under a secret": provider_module.hs256_with_client_secret,
    "by an algorithm that nobody named": provider_module.rs512,
    "by another's key under our key's name": lambda c: rs256(c, key=OTHER_RSA, typ="at+jwt"),
    "by a key that is not published": lambda c: rs256(c, kid="second", key=OTHER_RSA, typ="at+jwt"),
    "with its own key in its header": lambda c: rs256(
        c, kid=None, key=OTHER_RSA, jwk=OTHER_RSA.as_dict(private=False), typ="at+jwt"
    ),
    "as a logout token": lambda c: rs256(c, typ="logout+jwt"),
    "as a kind that nobody knows": lambda c: rs256(c, typ="dpop+jwt"),
    "with a critical header that nobody knows": provider_module.critical,
    "no token but a word": lambda _: "opaque",
    "no token but dots": lambda _: "..",
    "with a header without bottom": deep,
}


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("how", SIGNED)
def test_a_token_that_is_not_signed_as_it_must_be_lets_nobody_in(call, claims, held, how):
    wrong, before = SIGNED[how](claims()), held()
    told = call(wrong)
    assert (told.status_code, told.json["error"]["code"]) == (401, "invalid_token")
    assert wrong not in told.text
    assert held() == before


def test_the_id_token_of_a_real_sign_in_is_no_access_token(call, client, provider):
    kept = []
    provider.sign = lambda claims: kept.append(rs256(claims)) or kept[-1]
    assert client.get(provider.authorize(client.get("/login").location)).status_code == 303
    client.delete_cookie("runbooks")
    assert call(kept[0]).status_code == 401


def test_a_service_whose_audience_is_a_clients_id_does_not_start(service):
    for name in ("runbooks", "runbooks-cli"):
        with pytest.raises(Misconfigured, match="RUNBOOKS_API_AUDIENCE"):
            read_settings({"RUNBOOKS_API_AUDIENCE": name})


HEADERS = {
    "none": {},
    "two tokens": {"Authorization": "Bearer {token}, Bearer {token}"},
    "two tokens in one": {"Authorization": "Bearer {token} {token}"},
    "nothing behind the word": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": "Token {token}"},
    "the name of a user": {"Authorization": "Basic {token}"},
    "the token alone": {"Authorization": "{token}"},
    "another header": {"X-Access-Token": "{token}"},
    "a cookie": {"Cookie": "access_token={token}"},
}


@pytest.mark.parametrize("headers", HEADERS)
def test_a_token_anywhere_but_in_the_one_header_lets_nobody_in(client, claims, headers):
    good = token(claims())
    told = client.get("/api/v1/me", headers={n: v.replace("{token}", good) for n, v in HEADERS[headers].items()})
    assert told.status_code == 401
    assert told.headers["WWW-Authenticate"].startswith('Bearer realm="runbooks"')
    if headers.startswith(("two", "nothing")):
        assert "holds no single access token" in told.json["error"]["message"]


def test_a_token_in_the_query_or_the_body_is_never_read(client, claims):
    good = token(claims())
    assert client.get(f"/api/v1/me?access_token={good}").status_code == 401
    form = {"access_token": good, "title": "x"}
    assert client.post("/api/v1/incidents", data=form, headers={"Origin": AUDIENCE}).status_code == 401


def test_the_word_bearer_may_be_written_in_any_case(client, claims):
    assert client.get("/api/v1/me", headers={"Authorization": "bEaReR " + token(claims())}).status_code == 200


@pytest.mark.parametrize("size", [8_001, 100_000])
def test_a_huge_token_is_refused_before_it_is_read(call, claims, size):
    huge = token(claims(padding="x" * size))
    assert "longer than 8,000 characters" in call(huge).json["error"]["message"]


def test_a_session_and_a_token_together_are_refused_whosever_they_are(call, claims, client, sign_in_as, held):
    anna = sign_in_as("responder")
    before = held()
    for cookie in (anna.cookie, "no session at all"):
        client.set_cookie("runbooks", cookie)
        told = call(token(claims()), "/api/v1/incidents", {"title": "x"})
        assert (told.status_code, told.json["error"]["code"]) == (400, "invalid_request")
        assert 'error="invalid_request"' in told.headers["WWW-Authenticate"]
    assert held() == before


@pytest.mark.parametrize("path", ["/", "/runbooks/disk-full", "/incidents", "/audit", "/api", "/slack/commands"])
def test_a_token_opens_no_page(client, claims, path):
    good = token(claims(groups=["oncall", "audit"]))
    told = client.get(path, headers={"Authorization": f"Bearer {good}"})
    assert told.status_code in {303, 404, 405}
    assert "WWW-Authenticate" not in told.headers
    if told.status_code == 303:
        assert told.location.startswith("/login?next=")


def test_a_token_does_not_stand_in_for_what_a_page_wants(client, claims, sign_in_as, held):
    """Of a page's request only the session counts: a token beside it neither helps nor harms."""
    good, anna = token(claims()), sign_in_as("viewer")
    client.set_cookie("runbooks", anna.cookie)
    before = held()
    assert client.get("/", headers={"Authorization": f"Bearer {good}"}).status_code == 200
    forged = client.post("/incidents", data={"title": "x"}, headers={"Authorization": f"Bearer {good}"})
    assert forged.status_code == 403
    assert held().tables == before.tables


def test_what_a_role_does_not_allow_is_told_as_such_and_entered(call, claims, provider, last_entry):
    told = call(token(claims(sub="looks-on", groups=["watch"])), "/api/v1/runs", {"runbook": "disk-full"})
    assert (told.status_code, told.json["error"]["code"]) == (403, "refused")
    assert "that takes the role responder" in told.json["error"]["message"]
    assert 'error="insufficient_scope"' in told.headers["WWW-Authenticate"]
    entry = last_entry("access.refused", f"{provider.url}#looks-on")
    assert entry.actor["signed_in"]["jti"] == "t-1"


def test_a_refusal_that_no_other_token_would_change_asks_for_none(call, claims, sign_in_as, diagnosed, provider):
    """RFC 6750: `insufficient_scope` sends a client back to the provider, which would not help somebody who asked."""
    ben = sign_in_as("responder", "approver:database", subject=f"{provider.url}#asks")
    _, proposal_id = diagnosed(ben.person)
    good = token(claims(sub="asks", groups=["oncall", "dba"], iat=int(time.time()) + 10))
    digest = call(good, f"/api/v1/proposals/{proposal_id}").json["digest"]
    told = call(good, f"/api/v1/proposals/{proposal_id}/decisions", {"verdict": "deny", "digest": digest})
    assert told.status_code == 403
    assert "WWW-Authenticate" not in told.headers


def test_whoever_brings_nothing_is_told_where_tokens_come_from(client, provider):
    told = client.get("/api/v1/runs")
    assert told.status_code == 401
    where = "/.well-known/oauth-protected-resource"
    assert told.headers["WWW-Authenticate"] == f'Bearer realm="runbooks", resource_metadata="{AUDIENCE}{where}"'
    metadata = client.get(where)
    assert metadata.json == {
        "resource": AUDIENCE,
        "authorization_servers": [provider.url],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["openid", "profile", "groups", "offline_access"],
        "runbooks_cli_client_id": "runbooks-cli",
        "runbooks_agent_client_id": "runbooks-agent",
    }


@pytest.mark.usefixtures("anew")
def test_a_flood_of_unknown_keys_does_not_hammer_the_provider(call, claims, provider):
    assert call(token(claims())).status_code == 200
    provider.asked.clear()
    for number in range(30):
        assert call(rs256(claims(), kid=f"made-up-{number}", key=OTHER_RSA, typ="at+jwt")).status_code == 401
    assert provider.asked.count("/jwks") <= 1
    assert call(token(claims())).status_code == 200


@pytest.mark.usefixtures("anew")
def test_a_key_that_the_provider_changed_to_is_fetched(call, claims, provider):
    assert call(token(claims())).status_code == 200
    provider.keys = (OTHER_RSA,)
    assert call(rs256(claims(), kid="second", key=OTHER_RSA, typ="at+jwt")).status_code == 200
    assert call(rs256(claims(), kid="first", key=RSA, typ="at+jwt")).status_code == 401


@pytest.mark.usefixtures("anew")
def test_with_the_provider_away_tokens_are_believed_by_the_keys_at_hand_or_not_yet(call, claims, provider):
    provider.failing |= {"/jwks", "/.well-known/openid-configuration"}
    told = call(token(claims()))
    assert (told.status_code, told.json["error"]["code"]) == (503, "no_provider")
    provider.failing.clear()
    assert call(token(claims())).status_code == 200
    provider.failing |= {"/jwks", "/.well-known/openid-configuration"}
    assert call(token(claims())).status_code == 200


def test_without_a_provider_no_token_counts(service, claims):
    from dataclasses import replace

    lone = replace(service, settings=service.settings.model_copy(update={"oidc_issuer": ""}))
    client = create_app(lone, secret_key=b"x" * 32).test_client()
    told = client.get("/api/v1/me", headers={"Authorization": "Bearer " + token(claims())})
    assert told.status_code == 401
    assert client.get("/.well-known/oauth-protected-resource").status_code == 404


def test_tokens_stand_in_no_log_and_no_entry(call, claims, service, caplog):
    good, bad = token(claims(sub="leaves-traces")), token(claims(aud="other"))
    call(good, "/api/v1/incidents", {"title": "x"})
    call(good, "/api/v1/audit")
    call(bad, "/api/v1/incidents", {"title": "x"})
    with reading(service.engine) as tx:
        entries = tx.execute("SELECT string_agg(actor || objects || body, '') FROM audit_entries").scalar_one()
    for secret in (good, bad):
        for part in secret.split("."):
            assert part not in caplog.text
            assert part not in entries
