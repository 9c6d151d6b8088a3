"""What the file of those on call says: groups of approvers, and services that know or page them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runbooks_app.oncall.rota import Rota


@dataclass(frozen=True)
class PagingService:
    """A service that pages people: where it is, and files with what opens it (None: not used for that).

    `events_url` is PagerDuty's for events; `team` whom Opsgenie alerts, where the key's own integration does not say.
    """

    name: str
    kind: str
    url: str
    events_url: str = ""
    token_file: Path | None = None
    routing_key_file: Path | None = None
    team: str = ""

    @property
    def files(self) -> dict[str, Path]:
        """Its files with secrets, by the names of their settings."""
        given = {"token_file": self.token_file, "routing_key_file": self.routing_key_file}
        return {name: path for name, path in given.items() if path is not None}


@dataclass(frozen=True)
class Group:
    """Approvers for `name`: who of them is on call (a schedule of a service, else the rota), and what pages them."""

    name: str
    rota: Rota | None = None
    schedule: str = ""
    schedule_id: str = ""
    page: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnCall:
    """All of it, by name."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    services: Mapping[str, PagingService] = field(default_factory=dict)

    def pages(self, groups: tuple[str, ...]) -> tuple[PagingService, ...]:
        """The services that page these groups, each once."""
        named = [name for group in groups if group in self.groups for name in self.groups[group].page]
        return tuple(self.services[name] for name in dict.fromkeys(named))


NOBODY = OnCall()
"""Nobody is on call and nothing pages: all who may decide are told at once."""
