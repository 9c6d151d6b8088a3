"""What a runbook is, as values: cells with their stage, parameters, remediations, connections, limits.

Here live the words; reading a notebook into them is `runbooks_app.core.reading`, parameters' types and
validation are `runbooks_app.core.parameters`, gates are `runbooks_app.core.gates`.

A notebook is laid out like this (docs/writing-runbooks.md):

    parameters      one cell, annotated assignments with literal defaults
    setup           imports and helpers, first in every kernel of the run
    diagnostic …    read-only                                   }  the diagnosis: all above the
    diagnostic …    read-only                                   }  first remediation cell
    remediation     runs only after approval                    }  a gated section: the cell, and
    diagnostic …    its verification cells                      }  the verification cells under it
    remediation …                                               }  the next gated section
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runbooks_app.core.policy import Risk


class Stage(StrEnum):
    """What a cell is for, from its tag; an untagged code cell is diagnostic."""

    PARAMETERS = "parameters"
    SETUP = "setup"
    DIAGNOSTIC = "diagnostic"
    REMEDIATION = "remediation"
    TEXT = "text"


@dataclass(frozen=True)
class Type:
    """Type of a parameter or an input.

    `kind` is one of str, int, float, bool, date, datetime, literal, list, connection.
    `choices` are the values of a literal; `item` is the type in a list; `connection` the kind of
    connection (`postgres`, `http`).
    """

    kind: str
    choices: tuple[Any, ...] = ()
    item: Type | None = None
    connection: str = ""

    def __str__(self) -> str:
        if self.kind == "literal":
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if self.kind == "list":
            return f"list of {self.item}"
        if self.kind == "connection":
            return f"{self.connection} connection"
        return self.kind


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: `limits` is the JSON Schema fragment under its name in the metadata.

    `default` is a JSON value (dates as ISO 8601 text). An empty string as the default of a
    connection parameter means: required.
    """

    name: str
    type: Type
    default: Any
    help: str = ""
    limits: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def required(self) -> bool:
        """Whether a run must name a value, because the default is none that can be used."""
        return self.type.kind == "connection" and self.default == ""


@dataclass(frozen=True)
class Input:
    """One input of a remediation cell: an annotated name without a value."""

    name: str
    type: Type
    help: str = ""


@dataclass(frozen=True)
class Gate:
    """The literal arguments of a remediation cell's `kit.gate(...)`.

    `title` and `target` are templates over inputs and parameters (`"End session {pid} on {database}"`).
    `expires` is in seconds, None where the gate names none; likewise `approvals`. `approvers` are groups.
    """

    name: str
    title: str
    risk: Risk = Risk.HIGH
    target: str = ""
    approvals: int | None = None
    approvers: tuple[str, ...] = ()
    expires: int | None = None
    informative: tuple[str, ...] = ()
    recheck: bool = True


@dataclass(frozen=True)
class Opened:
    """A connection that a cell opens by `kit.postgres(X)` or `kit.http(X)`.

    `name` is the connection's own name where X is a literal, else empty and `variable` is the
    parameter or input that holds the name.
    """

    kind: str
    name: str = ""
    variable: str = ""

    def resolve(self, values: dict[str, Any]) -> str:
        """Name of the connection under these parameters and inputs; empty if it is not to be told."""
        return self.name or str(values.get(self.variable, ""))


@dataclass(frozen=True)
class Cell:
    """One cell: `source` as written, `python` after IPython's own transformation (magics become calls).

    `defines` and `needs` are module-level names that the cell binds, and names that it reads and does not
    bind itself. Sources are shown as written. `tags` are the cell's own, in order; `timeout` is in seconds,
    None where the runbook's own holds.
    """

    id: str
    stage: Stage
    source: str
    python: str = ""
    defines: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    opens: tuple[Opened, ...] = ()
    timeout: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A gated section: the remediation cell, what it declares, and the verification cells under it."""

    cell: Cell
    gate: Gate
    inputs: tuple[Input, ...]
    verification: tuple[Cell, ...]

    @property
    def identity(self) -> tuple[str, ...]:
        """Names of the inputs that the re-check compares."""
        return tuple(i.name for i in self.inputs if i.name not in self.gate.informative)


@dataclass(frozen=True)
class Runbook:
    """A notebook, read: everything the service asks of it without running it.

    `id` is the immutable UUID from the metadata, `name` the file stem. `cells` are all of them in order;
    the other fields are views on it. `connections` maps the names that the metadata declares to their kind
    (`{"prometheus": "http"}`); connection parameters come on top. `limits` are those that the metadata
    names, times included; see `runbooks_app.core.kernel_limits`.
    """

    id: str
    name: str
    title: str
    description: str
    owner: str
    cells: tuple[Cell, ...]
    parameters: tuple[Parameter, ...] = ()
    setup: tuple[Cell, ...] = ()
    diagnosis: tuple[Cell, ...] = ()
    sections: tuple[Section, ...] = ()
    connections: dict[str, str] = field(default_factory=dict, hash=False)
    limits: dict[str, int] = field(default_factory=dict, hash=False)
    digest: str = ""

    @property
    def parameters_cell(self) -> Cell | None:
        """The one cell tagged `parameters`, if the runbook has one."""
        return next((cell for cell in self.cells if cell.stage is Stage.PARAMETERS), None)

    def section(self, gate_name: str) -> Section | None:
        """The gated section whose gate has this name."""
        return next((section for section in self.sections if section.gate.name == gate_name), None)

    def connections_used(self, values: dict[str, Any]) -> dict[str, str]:
        """Names and kinds of all connections of a run with these parameter values."""
        chosen = {
            str(values[p.name]): p.type.connection
            for p in self.parameters
            if p.type.kind == "connection" and values.get(p.name)
        }
        return {**self.connections, **chosen}
