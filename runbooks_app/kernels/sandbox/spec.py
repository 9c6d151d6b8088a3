"""What one kernel may do, as the worker asks the zygote for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spec:
    """The sandbox of one kernel.

    `folder` is the run's own, there before the fork: nothing else is writable. `ports` are those of loopback that it
    may connect to. `uid`: which user it becomes; None stays who the worker is, without capabilities.
    `open_files` and `memory` (bytes of data, not of mapped files) are for each of its processes, `file_size` (bytes)
    for each file. `processes` are counted by the system per uid, so they only hold where it has one of its own.
    """

    folder: str
    ports: tuple[int, ...]
    uid: int | None
    open_files: int
    processes: int
    memory: int
    file_size: int

    def to_json(self) -> dict[str, Any]:
        """As it travels to the zygote."""
        return dict(vars(self))  # not asdict, which takes a third of a millisecond

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Spec:
        """As it arrives there; TypeError for anything missing or unknown."""
        return cls(**{**given, "ports": tuple(given["ports"])})
