"""Signing in and out of the whole service with an independent, certified provider."""

from __future__ import annotations

import httpx
import pytest

pytestmark = [pytest.mark.identity, pytest.mark.xdist_group("company")]


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
        assert "/login?next=%2Fincidents" in told.text
        assert "runbooks" not in browser.cookies


def test_after_a_change_of_its_keys_people_sign_in_as_before(colleague, node):
    colleague("ana")
    node.rotate(keep=True)
    assert is_signed_in(colleague("ana"))
