"""What a run reached, and whether what it showed stays on pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runbooks_app.actions.context import Service
from runbooks_app.actions.proposing import revision
from runbooks_app.core.errors import RunbooksError
from runbooks_app.store.database import Transaction
from runbooks_app.store.records import Proposal, Run


def reached(tx: Transaction, service: Service, run: Run) -> list[str] | None:
    """Every connection that the run reaches, by its parameters and by its code; None where that cannot be told."""
    try:
        return sorted(revision(tx, service, run.revision).connections_used(run.parameters))
    except RunbooksError:
        return None


def restricted(tx: Transaction, service: Service, run: Run, proposal: Proposal | None = None) -> bool:
    """Whether what the run showed, and this proposal of it did, stays on pages.

    So it does where nobody can say any more what it reached.
    """
    names = reached(tx, service, run)
    held = held_restricted(service, proposal.connections) if proposal else False
    return names is None or held or _restricted(service, names)


def held_restricted(service: Service, connections: Iterable[Mapping[str, str]]) -> bool:
    """Whether what a proposal did on these `connections` of it stays on pages."""
    return _restricted(service, (str(one["connection"]) for one in connections))


def _restricted(service: Service, names: Iterable[str]) -> bool:
    known = service.connections
    return any(name not in known or known[name].data_class == "restricted" for name in names)
