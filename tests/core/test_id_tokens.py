"""Which tokens of the sign-in provider are believed, judged by values alone."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from runbooks_app.core.id_tokens import (
    CLIENT_CLAIMS,
    LEEWAY,
    LOGOUT_AGE,
    LOGOUT_EVENT,
    Untrusted,
    UntrustedLogout,
    believed,
    believed_access,
    believed_logout,
    believed_once,
    roles_of,
    signed_claims,
)

pytestmark = pytest.mark.identity

ISSUER, CLIENT, NONCE = "https://idp.example", "runbooks", "of-this-proposal"
NOW = 1_700_000_000
KEY = RSAKey.generate_key(2048, parameters={"kid": "first", "use": "sig"})
NEXT = RSAKey.generate_key(2048, parameters={"kid": "next", "use": "sig"})


class Published:
    """Keys as the provider publishes them: some now, and others to whom finds these stale."""

    def __init__(self, *keys, later=()):
        self.sets = [KeySet([*keys]), KeySet([*later])] if later else [KeySet([*keys])]

    def keys(self, stale=None):
        return self.sets[-1] if stale is self.sets[0] else self.sets[0]


def token(claims, key=KEY, **header):
    return jwt.encode({"alg": "RS256", "kid": key.kid, **header}, claims, key)


def id_token(**changes):
    claims = {
        "iss": ISSUER, "aud": CLIENT, "sub": "ben", "nonce": NONCE,
        "iat": NOW - 60, "exp": NOW + 240, "auth_time": NOW - 65, **changes,
    }  # fmt: skip
    return token({name: value for name, value in claims.items() if value is not None})


def look(found, published=None, now=NOW):
    return believed(found, published or Published(KEY), issuer=ISSUER, client_id=CLIENT, nonce=NONCE, now=now)


def look_once(found, now=NOW, fresh_within=10):
    return believed_once(
        found, Published(KEY), issuer=ISSUER, client_id=CLIENT, nonce=NONCE, fresh_within=fresh_within, now=now
    )


@pytest.mark.parametrize("offset", [0, 240 + LEEWAY, -60 - LEEWAY])
def test_an_id_token_is_good_while_it_lives_give_or_take_the_clocks(offset):
    assert look(id_token(), now=NOW + offset)["sub"] == "ben"


@pytest.mark.parametrize("offset", [240 + LEEWAY + 1, -60 - LEEWAY - 1])
def test_beyond_what_clocks_differ_by_it_is_not(offset):
    with pytest.raises(Untrusted):
        look(id_token(), now=NOW + offset)


def test_a_token_by_a_key_that_came_since_is_found_by_looking_again():
    found = token({"iss": ISSUER}, NEXT)
    assert signed_claims(found, Published(KEY, later=(KEY, NEXT)), kinds=("JWT",)) == {"iss": ISSUER}
    with pytest.raises(Untrusted, match="not signed"):
        signed_claims(found, Published(KEY), kinds=("JWT",))


def test_a_token_of_another_kind_is_not_taken():
    with pytest.raises(Untrusted, match="another kind"):
        signed_claims(token({}, typ="at+jwt"), Published(KEY), kinds=("JWT",))
    assert signed_claims(token({}, typ="application/logout+jwt"), Published(KEY), kinds=("LOGOUT+JWT",)) == {}


def test_an_id_token_that_was_kept_is_judged_by_the_moment_of_its_issue():
    assert look_once(id_token(), now=NOW + 86_400)["sub"] == "ben"


NOT_KEPT = {
    "issued in the future": {"iat": NOW + LEEWAY + 1, "exp": NOW + 300, "auth_time": NOW + LEEWAY},
    "no expiry": {"exp": None},
    "expired before it was issued": {"exp": NOW - 61},
    "no time of issue": {"iat": None},
    "no time of sign-in": {"auth_time": None},
    "true as time of sign-in": {"auth_time": True},
    "a sign-in long before": {"auth_time": NOW - 60 - 10 - LEEWAY - 1},
    "a sign-in after its issue": {"auth_time": NOW - 60 + LEEWAY + 1},
    "for another proposal": {"nonce": "of-another-proposal"},
    "for none": {"nonce": None},
    "by another issuer": {"iss": "https://evil.example"},
    "for another client": {"aud": "other"},
    "for another party": {"azp": "other"},
    "of nobody": {"sub": ""},
}


@pytest.mark.parametrize("what", NOT_KEPT)
def test_what_was_not_good_when_it_was_issued_is_not_good_later(what):
    with pytest.raises(Untrusted):
        look_once(id_token(**NOT_KEPT[what]))


def test_an_empty_nonce_is_none():
    with pytest.raises(Untrusted, match="nonce"):
        believed(id_token(nonce=""), Published(KEY), issuer=ISSUER, client_id=CLIENT, nonce="", now=NOW)


def logout(**changes):
    claims = {"iss": ISSUER, "aud": CLIENT, "iat": NOW, "jti": "1", "sid": "s", "events": {LOGOUT_EVENT: {}}}
    told = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return token(told, typ="logout+jwt")


def look_logout(found, now=NOW):
    return believed_logout(found, Published(KEY), issuer=ISSUER, client_id=CLIENT, now=now)


def test_a_logout_token_is_good_for_five_minutes_also_without_an_expiry():
    assert look_logout(logout(), now=NOW + LOGOUT_AGE + LEEWAY)["sid"] == "s"
    with pytest.raises(UntrustedLogout, match="old"):
        look_logout(logout(), now=NOW + LOGOUT_AGE + LEEWAY + 1)
    with pytest.raises(UntrustedLogout, match="expired"):
        look_logout(logout(exp=NOW - LEEWAY - 1))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"events": None}, "no logout"),
        ({"events": {LOGOUT_EVENT: 1}}, "no logout"),
        ({"nonce": NONCE}, "an id_token"),
        ({"sid": None}, "names nobody"),
        ({"sid": ""}, "names nobody"),
        ({"sub": "ben", "sid": 5}, "names nobody"),
        ({"jti": None}, "no name of its own"),
        ({"iss": "https://evil.example"}, "issuer"),
    ],
)
def test_a_token_that_is_no_good_logout_token_says_what_is_wrong(changes, what):
    with pytest.raises(UntrustedLogout, match=what):
        look_logout(logout(**changes))


def test_a_logout_token_by_another_key_is_none():
    with pytest.raises(UntrustedLogout, match="not signed"):
        look_logout(token({"iss": ISSUER}, NEXT))


MAPPING = {"dba": ["approver:database", "responder"], "sre": ["responder"]}


@pytest.mark.parametrize(
    ("claims", "path", "roles"),
    [
        ({"groups": ["dba", "unknown"]}, "groups", {"approver:database", "responder"}),
        ({"realm_access": {"roles": ["sre"]}}, "realm_access.roles", {"responder"}),
        ({"https://example.com/groups": ["sre"]}, "https://example.com/groups", {"responder"}),
        ({"groups": ["sre", 1, None, ["dba"]]}, "groups", {"responder"}),
        ({"groups": "sre"}, "groups", set()),
        ({"groups": {"sre": True}}, "groups", set()),
        ({"realm_access": ["roles"]}, "realm_access.roles", set()),
        ({"realm_access": {"roles": {"sre": 1}}}, "realm_access.roles", set()),
        ({}, "realm_access.roles", set()),
        ({"groups": ["sre"]}, "roles", set()),
    ],
)
def test_roles_come_from_the_claim_that_the_settings_name(claims, path, roles):
    assert roles_of(claims, path, MAPPING) == roles


# ---- access tokens


def access_token(kind="at+jwt", **changes):
    claims = {"iss": ISSUER, "aud": "https://runbooks/api", "sub": "ben", "client_id": "runbooks-cli", **changes}
    times = {"iat": NOW - 60, "exp": NOW + 240}
    return token({k: v for k, v in {**times, **claims}.items() if v is not None}, typ=kind)


def look_access(found, **how):
    return believed_access(found, Published(KEY), issuer=ISSUER, audience="https://runbooks/api", now=NOW, **how)


@pytest.mark.parametrize(
    "good",
    [{}, {"kind": "JWT"}, {"aud": ["https://runbooks/api"]}, {"nbf": NOW + LEEWAY}, {"exp": NOW - LEEWAY}],
)
def test_an_access_token_for_this_service_stands_for_a_person(good):
    assert look_access(access_token(**good))["sub"] == "ben"


@pytest.mark.pages
@pytest.mark.parametrize("claim", CLIENT_CLAIMS)
@pytest.mark.parametrize("beside", [{"client_id": None}, {"client_id": "another"}, {"azp": ["batch"], "cid": 7}])
def test_of_one_client_alone_a_token_needs_no_person_behind_it(claim, beside):
    alone = access_token(**{**beside, "sub": "batch", claim: "batch"})
    assert look_access(alone, agents="batch")["sub"] == "batch"
    with pytest.raises(Untrusted, match="for a program"):
        look_access(alone, agents="runbooks-agent")


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"iss": "https://other.example"}, "another issuer"),
        ({"aud": CLIENT}, "not for https://runbooks/api alone"),
        ({"aud": ["https://runbooks/api", "https://other/api"]}, "not for https://runbooks/api alone"),
        ({"nonce": NONCE}, "an id_token"),
        ({"typ": "ID"}, "an id_token"),
        ({"iat": NOW + LEEWAY + 1}, "in the future"),
        ({"iat": None}, "in the future"),
        ({"nbf": NOW + LEEWAY + 1}, "not valid yet"),
        ({"nbf": "soon"}, "not valid yet"),
        ({"exp": NOW - LEEWAY - 1}, "expired"),
        ({"exp": None}, "expired"),
        ({"sub": ""}, "subject"),
        ({"sub": "runbooks-cli"}, "for a program"),
    ],
)
def test_an_access_token_that_is_none_for_here_says_what_is_wrong(changes, what):
    with pytest.raises(Untrusted, match=what):
        look_access(access_token(**changes))
