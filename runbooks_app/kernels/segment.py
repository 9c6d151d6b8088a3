"""What one kernel executes: a stage of a run, as plain values. Which cells belong to it is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from urllib.parse import urlsplit

from runbooks_app.core.errors import InvalidInput, Problem
from runbooks_app.kernels.gateway.route import Route
from runbooks_app.kernels.limits import Limits
from runbooks_app.kernels.values import TypedValue, real_all

STAGES = ("diagnose", "remediate", "verify")
"""In `remediate` the first cell that does not succeed ends the segment; in the others the rest goes on."""


@dataclass(frozen=True)
class Code:
    """One code cell to execute: `timeout` in seconds; the names it `defines` and `needs`, for skipping."""

    cell_id: str
    source: str
    timeout: float
    defines: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Segment:
    """What one kernel executes, in this order: parameters, `values` over them, setup, `inputs`, cells.

    `timeout` is for the whole segment, in seconds.
    `connections` as `runbook_library.kit.service.configure` takes them, passwords included: they reach the kernel
    over its channel alone. `routes` are where they lead, with credentials that the kernel never gets: the run's gateway
    does, and tells the kernel its ports. Both may be granted while the kernel is being made; then `reaches` names what
    the gateway is to have a port for. `secrets`, those passwords and credentials are redacted in every output
    before anybody sees it. What is `urgent`, since people have approved it, stands back behind no other run.
    """

    run_id: str
    stage: str
    parameters: Code | None
    values: Mapping[str, TypedValue]
    setup: tuple[Code, ...]
    inputs: Mapping[str, TypedValue]
    cells: tuple[Code, ...]
    kept: Mapping[str, object] = field(repr=False)
    connections: Mapping[str, Mapping[str, object]] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    timeout: float
    limits: Limits
    routes: Mapping[str, Route] = field(default_factory=dict)
    reaches: tuple[str, ...] = ()
    urgent: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "reaches", self.reaches or tuple(self.routes))

    @property
    def preparation(self) -> tuple[Code, ...]:
        """Parameters and setup: what every later cell stands on."""
        return (*((self.parameters,) if self.parameters else ()), *self.setup)

    @property
    def ports(self) -> tuple[int, ...]:
        """Where its connections are reached."""
        found = (
            int(str(given["port"])) if "port" in given else urlsplit(str(given["url"])).port
            for given in self.connections.values()
            if "port" in given or "url" in given
        )
        return tuple(sorted({port for port in found if port}))

    @property
    def known_secrets(self) -> frozenset[str]:
        """All that must not appear in an output."""
        passwords = (str(given["password"]) for given in self.connections.values() if given.get("password"))
        credentials = chain.from_iterable(route.secrets for route in self.routes.values())
        return frozenset(chain(self.secrets, passwords, credentials))

    def check(self) -> None:
        """InvalidInput with every problem where this cannot be executed as it stands."""
        problems = []
        if self.stage not in STAGES:
            problems.append(Problem("stage", f"{self.stage!r} is none.", f"Use one of {', '.join(STAGES)}."))
        for where in ("values", "inputs"):
            try:
                real_all(getattr(self, where))
            except ValueError as error:
                problems.append(Problem(where, f"{error}."))
        ids = [code.cell_id for code in (*self.preparation, *self.cells)]
        problems += [
            Problem(cell_id, "is the id of two cells.") for cell_id in sorted(set(ids)) if ids.count(cell_id) > 1
        ]
        if problems:
            raise InvalidInput(f"Run {self.run_id} cannot be executed.", problems=tuple(problems))
