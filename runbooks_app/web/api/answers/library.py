"""The library and the systems that it reaches."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from runbooks_app.core.connection_tests import Standing
from runbooks_app.core.parameters import json_schema
from runbooks_app.core.policy import Risk
from runbooks_app.web.api.answers.base import Answer

if TYPE_CHECKING:
    from runbooks_app.actions.connections import Seen
    from runbooks_app.core import runbook


class GateInput(Answer):
    """An input of a remediation cell."""

    name: str
    type: str
    help: str


class Gate(Answer):
    """A remediation that a runbook may propose."""

    name: str
    title: str
    risk: Risk
    inputs: list[GateInput]


class Runbook(Answer):
    """A runbook, with the JSON Schema of its parameters and what it may propose."""

    name: str
    id: str
    title: str
    description: str
    owner: str
    digest: str
    connections: dict[str, str]
    """Names of the connections that it always opens, with their kinds."""
    parameters: dict[str, Any]
    """JSON Schema (draft 2020-12) of the values that a run takes."""
    gates: list[Gate]

    @classmethod
    def of(cls, found: runbook.Runbook) -> Self:
        """A runbook as it stands in the library."""
        return cls(
            **cls.same(found, but={"parameters", "gates"}),
            parameters=json_schema(found.parameters),
            gates=[
                Gate(
                    name=section.gate.name,
                    title=section.gate.title,
                    risk=section.gate.risk,
                    inputs=[GateInput(name=i.name, type=str(i.type), help=i.help) for i in section.inputs],
                )
                for section in found.sections
            ],
        )


class BrokenRunbook(Answer):
    """A notebook that cannot serve as a runbook."""

    name: str
    message: str
    problems: list[str]


class Runbooks(Answer):
    """The library."""

    runbooks: list[Runbook]
    broken: list[BrokenRunbook]


class Floor(Answer):
    """The least that a connection asks of every action on it."""

    risk: Risk
    approvals: int
    approvers: list[str]
    recheck: bool
    expires: int | None


class ConnectionTest(Answer):
    """What the latest test of a connection, as it is configured now, proved."""

    reachable: bool
    holds: bool | None
    """Whether a diagnosis cannot write; null where that cannot be proved."""
    says: str
    tried: list[str]
    at: datetime


class Connection(Answer):
    """A system that runbooks may reach."""

    name: str
    label: str
    kind: str
    address: str
    data_class: str
    diagnosers: list[str]
    """Roles that may diagnose on it."""
    diagnoses_as: str | None
    changes_as: str | None
    floor: Floor
    standing: Standing
    test: ConnectionTest | None
    """Null where it was not tested as it is configured now."""

    @classmethod
    def of(cls, seen: Seen) -> Self:
        """A connection with what its latest test found."""
        found, tested = seen.connection, seen.tested
        return cls(
            name=found.name,
            label=found.label,
            kind=found.kind,
            address=found.address,
            data_class=found.data_class,
            diagnosers=list(found.diagnosers),
            diagnoses_as=found.diagnose_role or None,
            changes_as=found.remediate_role or None,
            floor=Floor(**{**asdict(found.floor), "approvers": list(found.floor.approvers)}),
            standing=seen.standing,
            test=ConnectionTest(
                reachable=tested.outcome.reachable,
                holds=tested.outcome.holds,
                says=tested.outcome.says,
                tried=list(tested.outcome.tried),
                at=tested.tested_at,
            )
            if tested
            else None,
        )


class Connections(Answer):
    """All connections."""

    connections: list[Connection]
