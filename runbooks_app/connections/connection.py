"""What a connection is: a system that runbooks may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from runbooks_app.connections.providers import PROVIDERS
from runbooks_app.core.http_rules import Rule
from runbooks_app.core.policy import Floor


@dataclass(frozen=True)
class CredentialSource:
    """Where a stage's credentials come from: a provider's name and its options (paths are absolute)."""

    provider: str
    options: Mapping[str, str]


@dataclass(frozen=True)
class Connection:
    """A system that runbooks may reach.

    `kind` is `postgres` (with host, port, database) or `http` (with url, and rules of what each stage may send; where
    the machine does not trust its certificate, `ca_file` does).
    `diagnosers` are the roles that may diagnose it. Where nothing `remediates` it is diagnosed only. Evidence of a
    `restricted` one stays on pages.
    """

    name: str
    kind: str
    label: str
    host: str = ""
    port: int = 0
    database: str = ""
    url: str = ""
    ca_file: str = ""
    data_class: str = "internal"
    floor: Floor = Floor()  # noqa: RUF009 - frozen itself
    diagnosers: tuple[str, ...] = ("responder",)
    diagnose: CredentialSource | None = None
    remediate: CredentialSource | None = None

    diagnose_rules: tuple[Rule, ...] = ()
    remediate_rules: tuple[Rule, ...] = ()

    @property
    def address(self) -> str:
        """Where it is, for people and for what a decision binds to."""
        return self.url or f"{self.host}:{self.port}/{self.database}"

    @property
    def remediates(self) -> bool:
        """Whether a remediation may change anything here."""
        return self.remediate is not None or bool(self.remediate_rules)

    @property
    def diagnose_role(self) -> str:
        """The database role that diagnoses, or what may be sent by HTTP; empty where there is none."""
        return self._role(self.diagnose, self.diagnose_rules)

    @property
    def remediate_role(self) -> str:
        """The database role that remediates, or what may be sent, shown to approvers; empty where there is none."""
        return self._role(self.remediate, self.remediate_rules)

    @property
    def held_role(self) -> str:
        """What a remediation cell that opens this holds: without rules for it, an HTTP connection is read alone."""
        return self.remediate_role or (self.diagnose_role if self.kind == "http" else "")

    def diagnosed_only(self) -> Self:
        """The same without anything that could change it."""
        return replace(self, remediate=None, remediate_rules=())

    def _role(self, source: CredentialSource | None, rules: tuple[Rule, ...]) -> str:
        acts_as = PROVIDERS[source.provider].acts_as(source.options) if source else ""
        if self.kind != "http":
            return acts_as
        how = f"with {acts_as}" if source else "without a credential"
        return f"{', '.join(map(str, rules))}, {how}" if rules else ""
