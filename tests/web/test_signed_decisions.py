"""High-risk decisions and break-glass through the pages and a sign-in provider: who gets how far, and what is kept."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hostile_provider import me, sign_in

from runbooks_app.core.digests import decision_nonce
from runbooks_app.store import break_glass, proposals
from runbooks_app.store.database import reading, transaction
from runbooks_app.web import client as client_module

pytestmark = pytest.mark.identity

ORIGIN = "http://127.0.0.1:8080"
REASON = "Nobody answers the phone, and the disk is full."


@pytest.fixture
def settings(settings, provider):
    roles = {**settings["roles"], "brave": ["responder", "break-glass"]}
    return {**settings, "oidc_issuer": provider.url, "roles": roles}


@pytest.fixture
def proposal(service, sign_in_as, diagnosed):
    """One of high risk: Ana proposes it by hand."""
    ana = sign_in_as("responder")
    run_id, _ = diagnosed(ana.person)
    made = ana.post(f"/api/v1/runs/{run_id}/proposals", {"gate": "end-session", "inputs": {"pid": 7}, "reason": "r"})
    return made.json


@pytest.fixture
def person(provider, browser):
    """`person("ben", "dba")` signs this browser in as somebody of these groups; whoever signs in, does so afresh."""

    def sign(sub: str, *groups: str):
        provider.user = {"sub": sub, "name": sub.capitalize(), "groups": list(groups)}
        provider.forge = lambda claims: {**claims, "auth_time": claims["iat"]}
        assert sign_in(browser, provider).status_code == 303
        return browser

    return sign


def send(browser, path: str, **fields: str):
    form = {"csrf": me(browser)["csrf"], **fields}
    return browser.post(path, data=form, headers={"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"})


def approve(browser, proposal, **fields: str):
    told = {"verdict": "approve", "digest": proposal["digest"], "reason": "go", **fields}
    return send(browser, f"/proposals/{proposal['id']}/decision", **told)


def glass(browser, proposal, **fields: str):
    told = {"digest": proposal["digest"], "reason": REASON, **fields}
    return send(browser, f"/proposals/{proposal['id']}/break-glass", **told)


def now(service, proposal):
    with reading(service.engine) as tx:
        return proposals.get(tx, proposal["id"])


def pending(service) -> int:
    with reading(service.engine) as tx:
        return tx.execute("SELECT count(*) FROM pending_decisions").scalar_one()


def test_the_decision_is_kept_with_the_token_that_speaks_of_it(service, provider, person, proposal):
    ben = person("ben", "dba")
    sent = approve(ben, proposal)
    assert sent.status_code == 303
    assert dict(parse_qsl(urlsplit(sent.location).query))["nonce"] == decision_nonce(proposal["digest"], "approve")
    assert now(service, proposal).decisions == ()
    left = pending(service)
    back = ben.get(provider.authorize(sent.location))
    assert (back.status_code, back.location) == (303, f"/proposals/{proposal['id']}")
    (decision,) = now(service, proposal).decisions
    assert (decision.subject, decision.reason, decision.break_glass) == (f"{provider.url}#ben", "go", False)
    assert decision.id_token.count(".") == 2
    assert now(service, proposal).state == "approved"
    assert pending(service) == left - 1
    shown = ben.get(f"/api/v1/proposals/{proposal['id']}").json["decisions"][0]
    assert (shown["signed"], shown["break_glass"], "id_token" in shown) == (True, False, False)


def test_an_approver_whose_group_was_taken_away_cannot_approve(service, provider, person, proposal):
    ben = person("bob", "dba")
    sent = approve(ben, proposal)
    provider.user = {**provider.user, "groups": ["watch"]}
    told = ben.get(provider.authorize(sent.location))
    assert told.status_code == 403
    assert "Only approvers for database may decide this." in told.text
    assert now(service, proposal).decisions == ()
    assert approve(ben, proposal).status_code == 403


@pytest.mark.parametrize("groups", [["watch"], ["oncall"], []])
def test_who_may_not_approve_is_told_before_they_sign_in(service, provider, person, proposal, groups):
    told = approve(person("vera", *groups), proposal)
    assert told.status_code == 403
    assert provider.codes == {}


def test_what_can_no_longer_be_decided_on_the_way_back_is_not(service, provider, person, proposal, sign_in_as):
    ben = person("ben", "dba")
    sent = approve(ben, proposal)
    other = sign_in_as("approver:database")
    body = {"verdict": "deny", "digest": proposal["digest"]}
    assert other.post(f"/api/v1/proposals/{proposal['id']}/decisions", body).status_code == 200
    told = ben.get(provider.authorize(sent.location))
    assert told.status_code == 409
    assert "It was denied by" in told.text
    assert "You wrote: go" in told.text
    assert [decision.verdict for decision in now(service, proposal).decisions] == ["deny"]


def test_a_decision_on_its_way_counts_once_and_not_after_a_quarter_of_an_hour(service, provider, person, proposal):
    ben = person("ben", "dba")
    sent = approve(ben, proposal)
    with transaction(service.engine) as tx:
        tx.execute("UPDATE pending_decisions SET begun_at = now() - interval '16 minutes'")
    told = ben.get(provider.authorize(sent.location))
    assert (told.status_code, "Decide anew" in told.text) == (409, True)
    sent = approve(ben, proposal)
    back = provider.authorize(sent.location)
    assert ben.get(back).status_code == 303
    assert ben.get(back).status_code == 403
    assert len(now(service, proposal).decisions) == 1


def test_what_somebody_else_was_about_to_say_is_not_said(service, provider, person, proposal, sign_in_as):
    ben = person("ben", "dba")
    sent = approve(ben, proposal)
    with transaction(service.engine) as tx:
        somebody = sign_in_as("approver:database").person.subject
        tx.execute("UPDATE pending_decisions SET subject = :other", other=somebody)
    assert ben.get(provider.authorize(sent.location)).status_code == 409
    assert now(service, proposal).decisions == ()


def test_with_the_provider_away_people_read_diagnose_and_decide_below_high_risk(
    service, provider, person, proposal, sign_in_as, diagnosed, monkeypatch
):
    monkeypatch.setattr(client_module, "FRESH", 0)
    ben = person("ben", "dba", "oncall")
    _, medium = diagnosed(sign_in_as("responder").person)
    provider.failing = {"/.well-known/openid-configuration", "/jwks", "/token"}
    away = approve(ben, proposal)
    assert away.status_code == 503
    assert "nobody signs in or approves high risk; all else goes on" in away.text
    assert ">go</textarea>" in away.text
    assert now(service, proposal).decisions == ()
    assert ben.get(f"/proposals/{proposal['id']}").status_code == 200
    assert send(ben, "/runbooks/disk-full", **{"p.database": "orders-db", "p.limit": "3"}).status_code == 303
    digest = ben.get(f"/api/v1/proposals/{medium}").json["digest"]
    assert approve(ben, {"id": medium, "digest": digest}).status_code == 303
    assert now(service, {"id": medium}).state == "approved"
    assert approve(ben, proposal, verdict="deny").status_code == 303
    assert now(service, proposal).state == "denied"


# ---- break-glass


def test_the_glass_is_broken_by_a_fresh_sign_in_and_reviewed_by_somebody_else(
    service, provider, person, proposal, sign_in_as
):
    eve = person("eve", "brave")
    sent = glass(eve, proposal)
    assert sent.status_code == 303
    assert dict(parse_qsl(urlsplit(sent.location).query))["nonce"] == decision_nonce(proposal["digest"], "break-glass")
    assert now(service, proposal).state == "proposed"
    assert eve.get(provider.authorize(sent.location)).status_code == 303
    assert now(service, proposal).state == "approved"
    assert now(service, proposal).asked.broke_glass == f"{provider.url}#eve"
    otto = sign_in_as("auditor")
    for page in ("/", "/break-glass"):
        assert f"/break-glass#{proposal['id']}" in otto.get(page).text or page == "/break-glass"
    assert f'action="/break-glass/{proposal["id"]}/review"' in otto.get("/break-glass").text
    assert f'action="/break-glass/{proposal["id"]}/review"' not in eve.get("/break-glass").text
    where = f"/break-glass/{proposal['id']}/review"
    assert send(eve, where, review="I did well, I should say.").status_code == 403
    assert send(otto.client, where, review="ok").status_code == 422
    assert send(otto.client, where, review="It was right, and the only way.").status_code == 303
    with reading(service.engine) as tx:
        assert break_glass.get(tx, proposal["id"]).review == "It was right, and the only way."
    assert f"/break-glass#{proposal['id']}" not in otto.get("/").text


@pytest.mark.parametrize(
    ("groups", "fields", "status"),
    [
        (["dba"], {}, 403),
        (["brave"], {"reason": "too short"}, 422),
        (["brave"], {"how": "without-provider"}, 403),
        (["brave"], {"digest": "0" * 64}, 409),
    ],
)
def test_anything_less_is_refused_before_the_sign_in(service, provider, person, proposal, groups, fields, status):
    told = glass(person("eve", *groups), proposal, **fields)
    assert told.status_code == status
    assert now(service, proposal).decisions == ()


def test_the_page_offers_it_to_who_may_and_says_what_it_means(provider, person, proposal, sign_in_as):
    eve = person("eve", "brave").get(f"/proposals/{proposal['id']}").text
    assert "Nobody answers? Break the glass" in eve
    assert "The channel is told at once" in eve
    assert "without-provider" not in eve
    ben = sign_in_as("approver:database").get(f"/proposals/{proposal['id']}").text
    assert "Break the glass" not in ben


@pytest.fixture
def lax(settings):
    """What an installation says that wants to get by without its provider."""
    settings["break_glass"] = "session"


def test_where_the_installation_says_so_a_fresh_session_does_without_the_provider(
    lax, service, provider, person, proposal, monkeypatch
):
    monkeypatch.setattr(client_module, "FRESH", 0)
    eve = person("eve", "brave")
    page = f"/proposals/{proposal['id']}"
    assert "without-provider" in eve.get(page).text
    provider.failing = {"/.well-known/openid-configuration"}
    assert glass(eve, proposal).status_code == 503
    assert glass(eve, proposal, how="without-provider").status_code == 303
    assert now(service, proposal).state == "approved"
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", eve.get(page).text))
    assert "Glass broken by Eve" in told
    assert "not signed" in told
