"""Run identity: what a run token says of one stage of one run, and which key signs it when.

A run token is a JWT (RFC 7519) that workers sign for one audience: a cloud, a vault, a cluster. Whoever is asked to
trust it pins `sub`, which names the runbook, the environment and the stage, since AWS can condition on `aud` and `sub`
alone. Keys are held, published and used elsewhere; the rules of their rotation stand here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Purpose:
    """What a credential is for: told to the system it is minted in.

    `stage` is `diagnose` (also for verification) or `remediate`; `lifetime` is in seconds. `runbook_id` is the
    runbook's immutable one, `environment` this installation's name, `requesters` the subjects of the people behind
    the run. A remediation names its proposal and the subjects of those who approved. `cells` are digests of the
    sources of the cells that may use it. `identity` gives a run token for an audience; it is None where the service
    has no run identity.
    """

    run_id: str
    stage: str
    lifetime: int
    proposal_id: str | None = None
    approvers: tuple[str, ...] = ()
    runbook_id: str = ""
    runbook_digest: str = ""
    params_digest: str = ""
    environment: str = ""
    requesters: tuple[str, ...] = ()
    proposal_digest: str = ""
    cells: tuple[str, ...] = ()
    identity: Callable[[str], str] | None = field(default=None, repr=False, compare=False)
