"""Roles give permissions; what is unknown gives none."""

from __future__ import annotations

import pytest

from runbooks_app.core.errors import Refused
from runbooks_app.core.people import GRANTS, PLAIN_ROLES, Actor, Permission, Person, known_role, roles_from_groups


def person(*roles):
    return Person("https://id.example#7", "Ada", roles=frozenset(roles))


@pytest.mark.parametrize("permission", Permission)
def test_every_permission_is_granted_to_known_roles_alone(permission):
    assert GRANTS[permission] <= PLAIN_ROLES | {"approver"}
    assert not person().may(permission)
    assert not person("root", "Responder").may(permission)


@pytest.mark.parametrize("permission", Permission)
def test_a_role_that_is_granted_a_permission_may_use_it(permission):
    for role in GRANTS[permission]:
        person("approver:database" if role == "approver" else role).require(permission)


def test_a_refusal_names_the_roles_that_would_do():
    with pytest.raises(Refused, match="Ada may not decide here: that takes the role approver"):
        person("viewer").require(Permission.DECIDE)


def test_an_approver_decides_for_the_groups_of_their_roles():
    assert person("approver:database", "approver:sre", "viewer").approver_groups == {"database", "sre"}


@pytest.mark.parametrize(
    ("role", "known"),
    [("viewer", True), ("approver:database", True), ("approver:", False), ("approver", False), ("root", False)],
)
def test_roles_are_known_by_name(role, known):
    assert known_role(role) is known


def test_an_unknown_group_gives_no_role():
    mapping = {"oncall": ["responder", "viewer"]}
    assert roles_from_groups(["oncall", "strangers"], mapping) == {"responder", "viewer"}
    assert roles_from_groups(["strangers"], mapping) == frozenset()


def test_an_actor_stands_in_the_trail_with_subject_and_sign_in():
    actor = Actor("person", "https://id.example#7", "Ada", {"surface": "web", "auth_time": 5})
    assert actor.as_json() == {
        "kind": "person",
        "name": "Ada",
        "signed_in": {"surface": "web", "auth_time": 5},
        "subject": "https://id.example#7",
    }
