"""Gates: the first statement of a remediation cell, which lets it go on only where that was approved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runbook_library.kit import service
from runbook_library.kit.values import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
RISKS = ("low", "medium", "high")


class GateClosed(Exception):
    """The gate is closed here, so nothing was changed."""


def gate(
    name: str,
    title: str,
    *,
    risk: str = "high",
    target: str = "",
    approvals: int | None = None,
    approvers: Sequence[str] = (),
    expires: str | None = None,
    informative: Sequence[str] = (),
    recheck: bool = True,
) -> None:
    """Go on only in the kernel of an approved remediation; raise `GateClosed` anywhere else.

    The service reads the arguments from the source, so they must be literals. `title` and `target` may name
    inputs and parameters in braces. `approvals` and `approvers` (groups) tighten the connection's policy,
    `expires` ("30m") says how long a proposal may wait, `informative` names the inputs that may differ
    when the diagnosis is run again before executing, `recheck=False` asks to leave that out.

    In JupyterLab it raises until the author has called `rehearse()`: "Run All" changes nothing.
    """
    _validate(
        name=name,
        title=title,
        risk=risk,
        target=target,
        approvals=approvals,
        approvers=approvers,
        expires=expires,
        informative=informative,
        recheck=recheck,
    )
    if service.state.stage == "remediate":
        return
    if service.state.in_service:
        raise GateClosed(
            f"the gate {name!r} is closed: this kernel is for stage {service.state.stage!r}, and remediation "
            "cells run only after approval, in a kernel of their own"
        )
    if not service.state.rehearsing:
        raise GateClosed(
            f"the gate {name!r} is closed, nothing was changed. To try this cell against your own "
            "connections, give its inputs values and call kit.rehearse() first"
        )
    print(f"Rehearsal: the gate {name!r} is open, this cell changes your own systems.")  # noqa: T201


def rehearse() -> None:
    """Open gates in this kernel, for an author who tries a remediation on their own systems.

    In the runbook service it opens nothing: there, gates open by approval alone.
    """
    if service.state.in_service:
        print("kit.rehearse() opens nothing here: gates open by approval alone.")  # noqa: T201
        return
    service.state.rehearsing = True


def gate_name(name: str) -> str:
    """Return the name if a gate may have it; else raise ValueError."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"a gate's name has lower-case letters, digits and dashes, like 'terminate-session', not {name!r}"
        )
    return name


def _validate(
    *,
    name: str,
    title: str,
    risk: str,
    target: str,
    approvals: int | None,
    approvers: Sequence[str],
    expires: str | None,
    informative: Sequence[str],
    recheck: bool,
) -> None:
    """Refuse what the service would refuse, so that the author sees it first."""
    gate_name(name)
    if not isinstance(title, str) or not title.strip():
        raise ValueError(f"the gate {name!r} needs a title that says what will happen")
    if not isinstance(target, str):
        raise TypeError(f"the gate {name!r}: target is text, not {target!r}")
    if risk not in RISKS:
        raise ValueError(f"the gate {name!r}: risk is one of {', '.join(RISKS)}, not {risk!r}")
    if approvals is not None and (isinstance(approvals, bool) or not isinstance(approvals, int) or approvals < 1):
        raise ValueError(f"the gate {name!r}: approvals is a number of people from 1, not {approvals!r}")
    for what, names in (("approvers", approvers), ("informative", informative)):
        if isinstance(names, str) or not all(isinstance(item, str) for item in names):
            raise TypeError(f"the gate {name!r}: {what} is a list of names, not {names!r}")
    if expires is not None:
        seconds(expires)
    if not isinstance(recheck, bool):
        raise TypeError(f"the gate {name!r}: recheck is True or False, not {recheck!r}")
