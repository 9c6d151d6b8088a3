"""Who may use what: every route of the URL map, every method, every role, by session and by access token.

A route that stands in neither table fails here: write down who may use it before anybody can.
"""

from __future__ import annotations

import re
import time

import hostile_provider as provider_module
import pytest
from hostile_provider import rs256

from runbooks_app.core.people import PLAIN_ROLES
from runbooks_app.web import guards

pytestmark = pytest.mark.identity

# yes: let in     act: let in, and refused by the action, which knows whose the object is
# no: refused     401: asked to sign in     login: sent to sign in
ANSWERS = """
                                                      nobody none   viewer respon approv author audit  admin  glass
GET  /                                                login  no     yes    yes    yes    yes    yes    yes    yes
GET  /waiting                                         login  no     yes    yes    yes    yes    yes    yes    yes
GET  /now/events                                      login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runbooks/<name>                                 login  no     yes    yes    yes    yes    yes    yes    yes
POST /runbooks/<name>                                 401    no     no     yes    no     no     no     no     no
GET  /runs/<run>                                      login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/events                               login  no     yes    yes    yes    yes    yes    yes    yes
POST /runs/<run>/again                                401    no     no     yes    no     no     no     no     no
GET  /runs/<run>/ask                                  login  no     no     yes    no     no     no     no     no
POST /runs/<run>/ask                                  401    no     no     yes    no     no     no     no     no
POST /runs/<run>/conclusion                           401    no     no     yes    no     no     no     no     no
POST /runs/<run>/cancel                               401    yes    yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/cells/<attempt>/<cell>/whole         login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/cells/<attempt>/<cell>/full          login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/cells/<attempt>/<cell>/<n>/full      login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/cells/<attempt>/<cell>/<n>/image     login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/cells/<attempt>/<cell>/<n>/document  login  no     yes    yes    yes    yes    yes    yes    yes
GET  /runs/<run>/propose/<gate>                       login  no     no     yes    no     no     no     no     no
POST /runs/<run>/propose/<gate>                       401    no     no     yes    no     no     no     no     no
GET  /proposals/<proposal>                            login  no     yes    yes    yes    yes    yes    yes    yes
GET  /proposals/<proposal>/events                     login  no     yes    yes    yes    yes    yes    yes    yes
POST /proposals/<proposal>/decision                   401    no     no     no     yes    no     no     no     no
POST /proposals/<proposal>/break-glass                401    no     no     no     no     no     no     no     yes
POST /proposals/<proposal>/sponsor                    401    no     no     yes    yes    no     no     no     no
POST /proposals/<proposal>/withdraw                   401    yes    yes    yes    yes    yes    yes    yes    yes
GET  /break-glass                                     login  no     yes    yes    yes    yes    yes    yes    yes
POST /break-glass/<proposal>/review                   401    no     no     no     yes    no     yes    yes    no
GET  /incidents                                       login  no     yes    yes    yes    yes    yes    yes    yes
POST /incidents                                       401    no     no     yes    yes    no     no     no     no
GET  /incidents/<incident>                            login  no     yes    yes    yes    yes    yes    yes    yes
GET  /incidents/<incident>/events                     login  no     yes    yes    yes    yes    yes    yes    yes
GET  /incidents/<incident>/decide                     login  no     yes    yes    yes    yes    yes    yes    yes
POST /incidents/<incident>/decide                     401    no     no     no     yes    no     no     no     no
GET  /incidents/<incident>/ask                        login  no     no     yes    no     no     no     no     no
POST /incidents/<incident>/ask                        401    no     no     yes    no     no     no     no     no
POST /incidents/<incident>/asks/draft                 401    no     no     yes    yes    yes    yes    yes    no
POST /incidents/<incident>/close                      401    no     no     yes    yes    no     no     no     no
POST /incidents/<incident>/notes                      401    no     no     yes    yes    no     no     no     no
GET  /incidents/<incident>/notes/<note>               login  no     yes    yes    yes    yes    yes    yes    yes
POST /incidents/<incident>/notes/<note>               401    no     no     yes    yes    no     no     no     no
GET  /incidents/<incident>/postmortem                 login  no     yes    yes    yes    yes    yes    yes    yes
POST /incidents/<incident>/postmortem/<name>          401    no     no     yes    yes    no     no     no     no
POST /incidents/<incident>/runs                       401    no     no     yes    yes    no     no     no     no
POST /incidents/<incident>/postmortem                 401    no     no     yes    yes    yes    yes    yes    no
GET  /connections                                     login  no     yes    yes    yes    yes    yes    yes    yes
GET  /styleguide                                      login  no     yes    yes    yes    yes    yes    yes    yes
GET  /health                                          login  no     yes    yes    yes    yes    yes    yes    yes
GET  /audit                                           login  no     no     no     no     no     yes    yes    no
POST /audit/export                                    401    no     no     no     no     no     yes    yes    no
GET  /audit/<seq>                                     login  no     no     no     no     no     yes    yes    no
GET  /link/<code>                                     login  yes    yes    yes    yes    yes    yes    yes    yes
POST /link/<code>                                     401    act    act    act    act    act    act    act    act
POST /logout                                          401    yes    yes    yes    yes    yes    yes    yes    yes

GET  /api                                             login  yes    yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/openapi.json                             401    yes    yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/connections                              401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/me                                       401    yes    yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/runbooks                                 401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/runbooks/<name>                          401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/runs                                     401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/runs                                     401    no     no     yes    no     no     no     no     no
GET  /api/v1/runs/<run>                               401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/runs/<run>/events                        401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/runs/<run>/cells/<attempt>/<cell>        401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/runs/<run>/cells/<attempt>/<cell>/whole  401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/runs/<run>/cancel                        401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/runs/<run>/proposals                     401    no     no     yes    no     no     no     no     no
POST /api/v1/runs/<run>/asks                          401    no     no     yes    no     no     no     no     no
POST /api/v1/runs/<run>/conclusion                    401    no     no     yes    no     no     no     no     no
GET  /api/v1/proposals                                401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/proposals/<proposal>                     401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/proposals/<proposal>/decisions           401    no     no     no     yes    no     no     no     no
POST /api/v1/proposals/<proposal>/sponsor             401    no     no     yes    yes    no     no     no     no
POST /api/v1/proposals/<proposal>/withdraw            401    no     yes    yes    yes    yes    yes    yes    yes
GET  /api/v1/incidents                                401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/incidents                                401    no     no     yes    yes    no     no     no     no
GET  /api/v1/incidents/<incident>                     401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/incidents/<incident>/close               401    no     no     yes    yes    no     no     no     no
GET  /api/v1/incidents/<incident>/asks                401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/incidents/<incident>/asks                401    no     no     yes    no     no     no     no     no
GET  /api/v1/incidents/<incident>/notes               401    no     yes    yes    yes    yes    yes    yes    yes
POST /api/v1/incidents/<incident>/notes               401    no     no     yes    yes    no     no     no     no
PUT  /api/v1/incidents/<incident>/notes/<note>        401    no     no     yes    yes    no     no     no     no
GET  /api/v1/incidents/<incident>/postmortem          401    no     yes    yes    yes    yes    yes    yes    yes
PUT  /api/v1/incidents/<incident>/postmortem/<name>   401    no     no     yes    yes    no     no     no     no
POST /api/v1/incidents/<incident>/runs                401    no     no     yes    yes    no     no     no     no
POST /api/v1/incidents/<incident>/exports             401    no     no     yes    yes    yes    yes    yes    no
GET  /api/v1/audit                                    401    no     no     no     no     no     yes    yes    no
GET  /api/v1/audit/<seq>                              401    no     no     no     no     no     yes    yes    no
GET  /api/v1/audit/head                               401    no     no     no     no     no     yes    yes    no
GET  /api/v1/audit/verification                       401    no     no     no     no     no     yes    yes    no
"""

WITHOUT_SESSION = {
    "GET /healthz": 200,
    "GET /readyz": 200,
    "GET /static/<filename>": 404,
    "GET /.well-known/oauth-protected-resource": 200,
    "GET /.well-known/openid-configuration": 404,  # no run identity is set up here
    "GET /.well-known/jwks.json": 404,
    "GET /login": 303,
    "GET /login/callback": 403,  # wants the state of a sign-in that this browser began
    "GET /signed-out": 200,
    "POST /login/back-channel": 400,  # wants a token that the provider signed
    "POST /slack/commands": 403,  # wants Slack's signature
    "POST /slack/interactivity": 403,
    "POST /slack/events": 403,
    "POST /alerts/<source>": 403,  # wants the secret of who sends alerts
}
"""What everybody is answered who brings no more than an address, whoever they are signed in as."""

ROLES = {
    "none": (),
    "viewer": ("viewer",),
    "responder": ("responder",),
    "approver": ("approver:database",),
    "author": ("author",),
    "auditor": ("auditor",),
    "admin": ("admin",),
    "break-glass": ("break-glass",),
}
PERSONS = ("nobody", *ROLES)
EFFECT = {"POST", "PUT"}
THOROUGH = {"nobody", "none", "viewer"}
"""Whose HEAD and OPTIONS are tried too: for the others it is the same handler and the same declaration."""


def rows() -> dict[str, tuple[str, ...]]:
    """Expected answers by method and rule."""
    lines = [line.split() for line in ANSWERS.splitlines()[2:] if line]
    return {f"{method} {rule}": tuple(answers) for method, rule, *answers in lines}


def plain(rule) -> str:
    """A rule as the tables write it: without converters, ids by their object's name."""
    return re.sub(r"<(?:\w+:)?(\w+?)(?:_id)?>", r"<\1>", rule.rule)


def routes(app) -> dict[str, tuple[str, list[str]]]:
    """By the method and rule that the tables write: an address, and the methods that go with it."""
    found = {}
    for rule in app.url_map.iter_rules():
        address = re.sub(r"<int:[^>]+>", "999999999", rule.rule)
        address = re.sub(r"<[^>]+>", "aaaaaaaaaaaaaaaa", address)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            # OPTIONS of an address goes to one of its handlers; it is the GET's where there is one.
            beside = {"GET": ["GET", "HEAD", "OPTIONS"]}.get(method, [method])
            found[f"{method} {plain(rule)}"] = (address, beside)
    return found


def read(told) -> str:
    """An answer in the tables' words."""
    if told.status_code == 303 and told.location.startswith("/login?next="):
        return "login"
    if told.status_code == 401:
        return "401"
    if told.status_code == 403:
        return "no" if "that takes the role" in told.text or told.request.method == "HEAD" else "act"
    return "yes"


@pytest.fixture(scope="module")
def served():
    with provider_module.serve() as running:
        yield running


@pytest.fixture
def settings(settings, served):
    groups = {person: list(roles) for person, roles in ROLES.items()}
    groups["everything"] = [role for roles in ROLES.values() for role in roles]
    return {**settings, "oidc_issuer": served.url, "roles": groups}


@pytest.fixture
def token(served):
    """`token("viewer")` is an access token of somebody in the group of that name."""

    def issue(group):
        now = int(time.time())
        claims = {"iss": served.url, "aud": "http://127.0.0.1:8080", "sub": f"token-{group}", "groups": [group]}
        return rs256({**claims, "client_id": "some-program", "iat": now, "exp": now + 300}, typ="at+jwt")

    return issue


def test_every_route_stands_in_one_of_the_tables_and_in_one_alone(app):
    there = set(routes(app))
    assert there - set(rows()) - set(WITHOUT_SESSION) == set(), "say in this file who may use them"
    assert set(rows()) | set(WITHOUT_SESSION) <= there, "these are gone"
    assert not set(rows()) & set(WITHOUT_SESSION)
    assert all(len(answers) == len(PERSONS) for answers in rows().values())


def test_every_role_has_its_column():
    assert {role for roles in ROLES.values() for role in roles} - {"approver:database"} == PLAIN_ROLES


def test_only_routes_of_the_second_table_want_no_session(app):
    declared = {plain(rule): guards.declaration(app.view_functions[rule.endpoint]) for rule in app.url_map.iter_rules()}
    assert {rule for rule, said in declared.items() if isinstance(said, guards.Open)} == {
        name.split()[1] for name in WITHOUT_SESSION
    }


@pytest.mark.parametrize("person", PERSONS)
def test_by_session(app, client, sign_in_as, held, person):
    """Nobody, and somebody whom no role lets in, change nothing by whatever they try."""
    browser = sign_in_as(*ROLES[person]) if person in ROLES else None
    before, wrong, there = held(), [], routes(app)
    for name, answers in rows().items():
        if name == "POST /logout" and browser:
            continue  # ends the session; see below
        address, methods = there[name]
        for method in methods if person in THOROUGH else methods[:1]:
            if browser:
                headers = {**browser.headers, "X-CSRF-Token": browser.csrf}
            else:
                headers = {"Origin": "http://127.0.0.1:8080"}
            told = (browser.client if browser else client).open(
                address, method=method, headers=headers, json={} if method in EFFECT else None
            )
            expected = answers[PERSONS.index(person)]
            if method == "OPTIONS" and expected == "login":
                expected = "401"  # only what shows a page leads to the sign-in
            if read(told) != expected:
                wrong.append((method, address, expected, told.status_code, told.text[:200]))
    assert wrong == []
    if person in {"nobody", "none"}:
        assert held().tables == before.tables
    if browser:
        assert browser.post("/logout").status_code == 303
        assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("person", ROLES)
def test_by_access_token(app, client, token, person):
    """On the API it is the same as by session."""
    wrong, headers, there = [], {"Authorization": "Bearer " + token(person)}, routes(app)
    for name, answers in rows().items():
        address, (method, *_) = there[name]
        if not address.startswith("/api/"):
            continue
        told = client.open(address, method=method, headers=headers, json={} if method in EFFECT else None)
        expected = answers[PERSONS.index(person)]
        if read(told) != expected:
            wrong.append((method, address, expected, told.status_code, told.text[:200]))
    assert wrong == []


def test_beyond_the_api_an_access_token_is_nobodys(app, client, token, held):
    headers, before, wrong = {"Authorization": "Bearer " + token("everything")}, held(), []
    for name, (address, methods) in routes(app).items():
        if address.startswith("/api/") or name in WITHOUT_SESSION:
            continue
        for method in methods:
            told = client.open(address, method=method, headers={**headers, "Origin": "http://127.0.0.1:8080"})
            if read(told) not in {"login", "401"}:
                wrong.append((method, address, told.status_code))
    assert wrong == []
    assert held().tables == before.tables


def test_what_wants_no_session_is_the_same_to_all(app, client, sign_in_as, held):
    admin, there = sign_in_as(*PLAIN_ROLES, "approver:database"), routes(app)
    before, wrong = held(), []
    for name, expected in WITHOUT_SESSION.items():
        address, (method, *_) = there[name]
        for somebody in (client, admin.client):
            told = somebody.open(address, method=method, headers=admin.headers | {"X-CSRF-Token": admin.csrf})
            if told.status_code != expected:
                wrong.append((name, expected, told.status_code))
    assert wrong == []
    assert held().tables == before.tables


def test_no_route_takes_a_method_that_it_does_not_name(app, sign_in_as, held):
    """So nothing besides what stands in these tables can have an effect."""
    admin, wrong = sign_in_as(*PLAIN_ROLES, "approver:database"), []
    headers, before = {**admin.headers, "X-CSRF-Token": admin.csrf}, held()
    named = {(method, address) for address, methods in routes(app).values() for method in methods}
    for address in {address for _, address in named}:
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "CONNECT"):
            if (method, address) in named:
                continue
            told = admin.client.open(address, method=method, headers=headers)
            if told.status_code != 405:
                wrong.append((method, address, told.status_code))
    assert wrong == []
    assert held() == before
