"""What the runbook service tells a kernel: stage, connections with their credentials, kept values.

Outside the service nothing is told, and `state.stage` is None. All of it stays in this module's memory:
never in the environment, in arguments or in files.

This is no boundary: a cell can write here what it likes. What a cell can do is bounded by the credential
it was given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STAGES = ("diagnose", "remediate", "verify")


@dataclass
class State:
    """What this kernel knows. `connections` hold secrets, so they are left out of its repr.

    `opened` are the connections that cells have opened, by name. `rehearsing` opens gates, and only
    outside the service.
    """

    stage: str | None = None
    connections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    kept: dict[str, Any] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict, repr=False)
    rehearsing: bool = False

    @property
    def in_service(self) -> bool:
        """Whether the runbook service runs this kernel."""
        return self.stage is not None


state = State()


def configure(stage: str, connections: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Any] | None = None) -> None:
    """Make this kernel one of the service's; called once, before any cell.

    `connections` maps names to `{"kind": "postgres", "host", "port", "database", "user", "password",
    "stage"}` (`"hostaddr"`: where to reach it, `host` being its name) or `{"kind": "http", "url"}` (which may add
    `"headers"`). Connections opened before are closed.
    """
    global state  # noqa: PLW0603 - one kernel, one state, replaced whole
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}; use one of {', '.join(STAGES)}")
    for connection in state.opened.values():
        connection.close()
    state = State(stage=stage, connections=dict(connections), kept=dict(kept or {}))

    # The kit may have been imported before there was a shell that could know its magics.
    from runbook_library.kit.magics import register  # noqa: PLC0415 - it stands on this module

    register()


class Kept:
    """The kept values by attribute (`kit.kept.baseline`), by item, and `in`."""

    def __getattr__(self, name: str) -> Any:
        if name in state.kept:
            return state.kept[name]
        known = ", ".join(sorted(state.kept)) or "nothing"
        raise AttributeError(
            f"the diagnosis kept no {name!r} (it kept: {known}); keep it in a diagnostic cell: kit.keep({name}=…)"
        )

    def __getitem__(self, name: str) -> Any:
        return state.kept[name]

    def __contains__(self, name: object) -> bool:
        return name in state.kept

    def __iter__(self) -> Iterator[str]:
        return iter(state.kept)

    def __dir__(self) -> list[str]:
        return sorted(state.kept)

    def __repr__(self) -> str:
        return f"kept({', '.join(f'{name}={value!r}' for name, value in state.kept.items())})"
