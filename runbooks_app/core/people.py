"""People, what they may do, and how an actor stands in the audit trail.

A person is known by an immutable subject, `issuer#sub` of the OpenID provider: names and e-mail
addresses change hands, subjects do not. Roles come from the groups claim at sign-in, through a mapping in
the settings. An unknown group gives no role; no role gives no permission.

An agent is a program that acts for a person, known by the client that its token was issued to. It has that person's
subject and roles, so whatever it asks for its human asked for; of what they may do, it may do `AGENTS_MAY` at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from runbooks_app.core.errors import Refused

APPROVER = "approver:"
"""Prefix of the roles that let somebody decide: `approver:database` decides for the group `database`."""

ROLES_COME_FROM = "Your platform team gives roles by groups of your sign-in provider."
"""Said to who lacks a role."""

PLAIN_ROLES = frozenset({"viewer", "responder", "author", "auditor", "admin", "break-glass"})

ALERT = "alert"
"""Who asks when an alert does: kind of the actor, and a role that only connections name, for what alerts may diagnose.
No group of people can have it, and it holds no permission."""


class Permission(StrEnum):
    """What a handler may ask for."""

    READ = "read"
    RUN = "run"
    ASK = "ask"
    PROPOSE = "propose"
    SPONSOR = "sponsor"
    DECIDE = "decide"
    BREAK_GLASS = "break the glass"
    REVIEW = "review"
    CANCEL = "cancel"
    NOTE = "note"
    MANAGE = "manage incidents"
    EXPORT = "export"
    AUDIT = "audit"
    ADMINISTER = "administer"


GRANTS: dict[Permission, frozenset[str]] = {
    Permission.READ: frozenset({"viewer", "responder", "author", "auditor", "admin", "approver", "break-glass"}),
    Permission.RUN: frozenset({"responder"}),
    Permission.ASK: frozenset({"responder"}),
    Permission.PROPOSE: frozenset({"responder"}),
    Permission.SPONSOR: frozenset({"responder", "approver"}),
    Permission.DECIDE: frozenset({"approver"}),
    Permission.BREAK_GLASS: frozenset({"break-glass"}),
    Permission.REVIEW: frozenset({"auditor", "admin", "approver"}),
    Permission.CANCEL: frozenset({"responder", "admin"}),
    Permission.NOTE: frozenset({"responder", "approver"}),
    Permission.MANAGE: frozenset({"responder", "approver"}),
    Permission.EXPORT: frozenset({"responder", "author", "auditor", "admin", "approver"}),
    Permission.AUDIT: frozenset({"auditor", "admin"}),
    Permission.ADMINISTER: frozenset({"admin"}),
}
"""Which roles hold a permission; `approver` stands for every `approver:<group>`."""

AGENTS_MAY = frozenset({Permission.READ, Permission.RUN, Permission.PROPOSE, Permission.NOTE, Permission.EXPORT})
"""All that an agent may do, whatever roles come with its token: it never answers for what is done."""


def known_role(role: str) -> bool:
    """Whether a role is one that the service knows: a plain one or `approver:<group>`."""
    return role in PLAIN_ROLES or (role.startswith(APPROVER) and len(role) > len(APPROVER))


@dataclass(frozen=True)
class Person:
    """Somebody who signed in: `subject` is `issuer#sub`; roles as mapped at sign-in.

    `agent` is the client id of the program that acts for them; empty for the person themselves.
    """

    subject: str
    name: str
    email: str = ""
    roles: frozenset[str] = frozenset()
    agent: str = ""

    @property
    def humans(self) -> frozenset[str]:
        """Subject of the human behind what is done; nobody's where an agent acts under its own name.

        RFC 9068, section 2.2: a token that no person stands behind has its client as its subject.
        """
        alone = self.agent and self.subject.partition("#")[2] == self.agent
        return frozenset() if alone else frozenset({self.subject})

    @property
    def approver_groups(self) -> frozenset[str]:
        """The groups that this person may decide for; an agent decides for none."""
        if self.agent:
            return frozenset()
        return frozenset(role.removeprefix(APPROVER) for role in self.roles if role.startswith(APPROVER))

    def may(self, permission: Permission) -> bool:
        """Whether one of this person's roles grants the permission, and no agent is kept from it."""
        if self.agent and permission not in AGENTS_MAY:
            return False
        held = {"approver" if role.startswith(APPROVER) else role for role in self.roles if known_role(role)}
        return not held.isdisjoint(GRANTS[permission])

    def require(self, permission: Permission) -> None:
        """Raise `Refused`, naming the roles that would do, unless the permission is granted."""
        if self.agent and permission not in AGENTS_MAY:
            raise Refused(f"{self.name} may not {permission}: agents ask and propose; a person has to do this.")
        if not self.may(permission):
            wanted = " or ".join(sorted(GRANTS[permission]))
            raise Refused(f"{self.name} may not {permission} here: that takes the role {wanted}. {ROLES_COME_FROM}")


@dataclass(frozen=True)
class Actor:
    """Who did something: a person, or a part of the service acting on its own.

    `kind` is `person`, `agent` (that acts for the person whose subject it has), `alert`, `worker`, `web`, `timer`,
    `provider` (that people sign in with) or `operator` (at the service's own command line). `signed_in` tells how: the
    surface (`web`, `slack`, `api`, `cli`, `agent`) and when the provider last authenticated the person (`auth_time`,
    seconds since the epoch).
    """

    kind: str
    subject: str
    name: str
    signed_in: dict[str, object] = field(default_factory=dict, hash=False)

    def as_json(self) -> dict[str, object]:
        """The form in which the audit trail keeps an actor."""
        return {
            "kind": self.kind,
            "name": self.name,
            "signed_in": dict(self.signed_in),
            "subject": self.subject,
        }


def through(person: Person, client_id: str, claimed: str = "") -> Person:
    """The agent that acts for this person by the client `client_id`; `claimed` is what it calls itself, if anything."""
    agent = replace(person, agent=client_id)
    own = f"{claimed or client_id} (agent)"
    return replace(agent, name=f"{person.name} through {own}" if agent.humans else own)


def roles_from_groups(groups: list[str], mapping: dict[str, list[str]]) -> frozenset[str]:
    """Roles of a person by the provider's groups; a group that the mapping does not name gives none."""
    return frozenset(role for group in groups for role in mapping.get(group, ()))
