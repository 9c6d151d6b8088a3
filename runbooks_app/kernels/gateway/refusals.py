"""What the gateway refused, told in words: each to whoever watches the run, and a flood of it counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from runbooks_app.kernels.gateway.route import Route

MOST_TOLD = 20
"""Refusals of one run that are told one by one. Each becomes an entry of the audit trail; the rest becomes one."""

CELLS = {"diagnose": "diagnostic cells", "remediate": "remediation cells"}


@dataclass(frozen=True)
class Refusal:
    """One request that was not let through: `path` is without its query. `more` counts those told as one."""

    connection: str
    method: str
    path: str
    reason: str
    more: int = 0


@dataclass
class Refusals:
    """Those of one run."""

    tell: Callable[[Refusal], None]
    told: int = 0
    counted: dict[str, int] = field(default_factory=dict)

    def add(self, refusal: Refusal) -> None:
        """Tell it, or count it where too many were told already."""
        if self.told < MOST_TOLD:
            self.told += 1
            self.tell(refusal)
        else:
            self.counted[refusal.connection] = self.counted.get(refusal.connection, 0) + 1

    def close(self) -> None:
        """Tell what was only counted, in one for each connection."""
        for connection, count in self.counted.items():
            requests = "request was" if count == 1 else "requests were"
            self.tell(Refusal(connection, "", "", f"{count} more {requests} refused on {connection}.", count))
        self.counted = {}


def not_allowed(route: Route, method: str, path: str) -> str:
    """The sentence for a request that no rule lets through."""
    allowed = ", ".join(map(str, route.rules)) or "nothing"
    return (
        f"{CELLS[route.stage]} may not {method} to {route.name}: {path} was refused. Allowed: {allowed}. "
        f"The connections file says so under [{route.name}.{route.stage}]."
    )
