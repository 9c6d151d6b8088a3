"""Signing in and out of the whole service with an independent, certified provider."""

from __future__ import annotations

import httpx
import pytest
from whole_stage import until

pytestmark = pytest.mark.identity


def is_signed_in(person) -> bool:
    return person.client.get(f"{person.stage.url}/api/v1/me").status_code == 200


def test_people_sign_in_with_the_roles_of_their_groups(colleague, node):
    told = colleague("ben").api("/me")
    assert told["subject"] == f"{node.issuer}#ben"
    assert told["name"] == "Ben"
    assert told["roles"] == ["approver:database", "responder"]


def test_somebody_who_turns_back_at_the_provider_is_not_signed_in(company, node):
    with httpx.Client(trust_env=False) as browser:
        sent = browser.get(f"{company.url}/login?next=/incidents")
        told = browser.get(node.sign_in(browser, sent.headers["Location"], "ana", cancel=True))
        assert told.status_code == 403
        assert "access_denied" in told.text
        assert 'href="/login?next=/incidents"' in told.text
        assert "runbooks" not in browser.cookies


def test_after_a_change_of_its_keys_people_sign_in_as_before(colleague, node):
    ana = colleague("ana")
    node.rotate(keep=True)
    # Keys are asked for every 10 s at most, and whatever was tried before may have done so. Of one address only so many
    # sign in a minute.
    until("a sign-in by the new key", lambda: ana.sign_in().status_code == 200, every=1)
    assert is_signed_in(ana)


def test_signing_out_leads_through_the_provider_which_forgets_the_browser(colleague, company, node):
    ben = colleague("ben")
    there = ben.send("/logout").headers["Location"]
    assert not is_signed_in(ben)
    assert there.startswith(f"{node.issuer}/session/end?")
    assert node.sign_out(ben.client, there) == f"{company.url}/signed-out"
    assert "You are signed out" in ben.client.get(f"{company.url}/signed-out").text
    assert node.asks(ben.client, ben.client.get(f"{company.url}/login", follow_redirects=False).headers["Location"])


def test_who_does_not_confirm_it_is_signed_out_of_this_service_all_the_same(colleague, company, node):
    ben = colleague("ben")
    ben.send("/logout")
    assert not is_signed_in(ben)
    assert not node.asks(ben.client, ben.client.get(f"{company.url}/login", follow_redirects=False).headers["Location"])


def test_who_signs_out_at_the_provider_is_signed_out_here_in_that_browser(colleague, node):
    here, elsewhere, otto = colleague("ben"), colleague("ben"), colleague("otto")
    node.sign_out(here.client)
    assert [is_signed_in(person) for person in (here, elsewhere, otto)] == [False, True, True]
    latest = otto.api("/audit?event=person.signed_out&limit=1")["entries"][0]
    assert (latest["actor"]["kind"], latest["actor"]["subject"]) == ("provider", node.issuer)
    assert latest["objects"] == {"person": f"{node.issuer}#ben"}
