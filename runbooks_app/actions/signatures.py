"""Whether approvals were signed: judged by a worker, with keys that it fetched itself and by its own settings.

A signed decision carries the id_token that the sign-in provider issued for it. Its nonce commits to the proposal's
digest and to the answer, so it serves no other proposal and no other answer; where somebody gave one answer to several
proposals, to the digest of each. Who it is about, their groups and when they signed in are the provider's word. Neither
the database nor the web process can make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks_app.core import break_glass
from runbooks_app.core.break_glass import Mode
from runbooks_app.core.deciding import Verdict
from runbooks_app.core.digests import MOST_TOGETHER, batch_nonce, decision_nonce
from runbooks_app.core.errors import Misconfigured, Unavailable
from runbooks_app.core.id_tokens import LEEWAY, SigningKeys, Untrusted, believed_once, roles_of
from runbooks_app.core.people import Permission, Person
from runbooks_app.core.policy import Policy
from runbooks_app.settings import Settings
from runbooks_app.store.records import DecisionRow, Proposal

FRESH = 5 * 60
"""Seconds from the sign-in to the token at most: people may read a consent page, and no more."""


class KeysAway(Unavailable):
    """The sign-in provider's keys cannot be had, so signatures cannot be checked; nothing starts before they are."""

    code = "no_keys"


@dataclass(frozen=True)
class Doubt:
    """An approval that does not count, and why."""

    decision: int
    subject: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}'s approval (decision {self.decision}) does not count: {self.why}"


@dataclass(frozen=True)
class Checked:
    """What a proposal's approvals are worth.

    `groups` maps each subject whose approval counts to the groups that the provider gave them; `broke_glass` is the
    subject of a break-glass that counts. `digest` and `decisions` (ids of rows) are what was looked at.
    """

    digest: str
    decisions: tuple[int, ...]
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)
    broke_glass: str = ""
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True)
class Signatures:
    """The provider whose signatures count, and what its claims mean here."""

    keys: SigningKeys
    issuer: str
    client_id: str
    groups_claim: str = "groups"
    roles: Mapping[str, list[str]] = field(default_factory=dict)
    acr: str = ""
    break_glass: Mode = Mode.SIGNED

    @classmethod
    def by_settings(cls, keys: SigningKeys, settings: Settings) -> Signatures:
        """Those that this process's own settings ask for."""
        return cls(
            keys,
            settings.oidc_issuer,
            settings.oidc_client_id,
            settings.groups_claim,
            settings.roles,
            settings.step_up_acr,
            Mode(settings.break_glass),
        )

    def check(self, proposal: Proposal, now: float) -> Checked:
        """Look at each approval of a proposal by this process's clock (seconds since the epoch).

        Below high risk an approval counts as it stands, and its groups are left for others to look up. Raises
        `KeysAway` where the provider's keys are needed and cannot be had.
        """
        groups: dict[str, frozenset[str]] = {}
        glass = ""
        doubts = []
        approvals = [row for row in proposal.decisions if row.verdict == Verdict.APPROVE]
        for row in sorted(approvals, key=lambda row: not row.break_glass):
            try:
                if row.break_glass:
                    self._broken(proposal, row, now)
                    glass = row.subject
                elif proposal.asked.wants_signatures:
                    roles = self._roles(proposal, row, Verdict.APPROVE, now)
                    held = Person(row.subject, row.name, roles=roles).approver_groups
                    if not proposal.asked.policy.may_be_decided_by(held):
                        raise Untrusted("the sign-in provider's token gives no group that may approve it.")  # noqa: TRY301 -- a doubt as all else
                    groups[row.subject] = held
            except (Untrusted, KeysAway) as fault:
                if isinstance(fault, KeysAway) and not glass:
                    raise
                why = fault.message.removesuffix(" Sign in again.")
                doubts.append(Doubt(row.id, row.subject, row.name, why[:1].lower() + why[1:]))
        return Checked(proposal.digest, tuple(row.id for row in proposal.decisions), groups, glass, tuple(doubts))

    def _broken(self, proposal: Proposal, row: DecisionRow, now: float) -> None:
        if self.break_glass is Mode.OFF:
            raise Untrusted("break-glass is off on this worker (RUNBOOKS_BREAK_GLASS).")
        if not row.id_token and self.break_glass is Mode.SESSION:
            return
        roles = self._roles(proposal, row, break_glass.SAID, now)
        if not Person(row.subject, row.name, roles=roles).may(Permission.BREAK_GLASS):
            raise Untrusted("the sign-in provider's token does not give the role break-glass.")

    def _roles(self, proposal: Proposal, row: DecisionRow, said: str, now: float) -> frozenset[str]:
        """The roles that the token of a decision gives, where it is that person's for just this."""
        if not row.id_token:
            raise Untrusted("it is not signed.")
        claims = self._claims(row.id_token, _nonce(proposal, row, said), now)
        if f"{claims['iss']}#{claims['sub']}" != row.subject:
            raise Untrusted("the sign-in provider's token is about somebody else.")
        if now - float(claims["iat"]) > Policy.from_json(proposal.policy).expires + LEEWAY:
            raise Untrusted("it was signed longer ago than the proposal may wait.")
        if self.acr and claims.get("acr") not in self.acr.split():
            raise Untrusted("the sign-in was not as strong as it has to be (RUNBOOKS_STEP_UP_ACR).")
        return roles_of(claims, self.groups_claim, self.roles)

    def _claims(self, token: str, nonce: str, now: float) -> dict[str, Any]:
        try:
            return believed_once(
                token,
                self.keys,
                issuer=self.issuer,
                client_id=self.client_id,
                nonce=nonce,
                fresh_within=FRESH,
                now=now,
            )
        except (Unavailable, Misconfigured) as error:
            raise KeysAway from error


def _nonce(proposal: Proposal, row: DecisionRow, said: str) -> str:
    """The nonce that a decision's token has to have, for this proposal alone or for all that it was made with."""
    if row.batch is None:
        return decision_nonce(proposal.digest, said)
    digests = row.batch if isinstance(row.batch, list) else []  # whoever writes the database writes anything
    if not all(isinstance(digest, str) for digest in digests) or not 0 < len(digests) <= MOST_TOGETHER:
        raise Untrusted("what it was signed together with is no list of proposals.")
    if said != Verdict.APPROVE:
        raise Untrusted("the glass is broken for one proposal at a time.")
    if proposal.digest not in digests:
        raise Untrusted("its signature speaks of other proposals.")
    return batch_nonce(digests, said)
