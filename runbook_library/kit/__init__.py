"""What a runbook's cells import: connections, findings, proposals, gates, verdicts.

    from runbook_library import kit

    db = kit.postgres("orders-db")                       # psycopg connection; its role follows the stage
    prom = kit.http("prometheus")                        # httpx.Client
    kit.finding("critical", "session 4711 blocks 37 others", evidence=frame)
    kit.propose("terminate-session", pid=4711, reason="…")
    kit.keep(baseline=p99)                               # read later as kit.kept.baseline
    kit.gate("terminate-session", "End session {pid}")   # first thing in a remediation cell
    kit.check("nobody is blocked", blocked == 0)         # in verification cells: a verdict at once,
    kit.wait("p99 is back", lambda: p99() < 0.1)         # or one within a time

Below its first line, `%%sql orders-db` or `%%promql prometheus`, a cell is a question in that language (`magics`).

It works the same in the runbook service and in plain JupyterLab. There, connections come from
`~/.config/runbooks/connections.toml`, and gates stay closed until the author calls `kit.rehearse()`.

`service` holds what the runbook service tells a kernel; `connecting`, `values`, `messages`, `gates`, `verdicts` and
`magics` hold the functions above. Heavy packages (psycopg, httpx, IPython) are imported on first use.
"""

from runbook_library.kit.connecting import Connection, ConnectionNotGranted, RequestRefused, http, postgres
from runbook_library.kit.gates import GateClosed, gate, rehearse
from runbook_library.kit.magics import register
from runbook_library.kit.messages import finding, keep, propose
from runbook_library.kit.service import Kept
from runbook_library.kit.verdicts import check, wait

kept = Kept()
"""What the diagnosis kept with `kit.keep(...)`, by attribute: `kit.kept.baseline`."""

register()

__all__ = [
    "Connection",
    "ConnectionNotGranted",
    "GateClosed",
    "RequestRefused",
    "check",
    "finding",
    "gate",
    "http",
    "keep",
    "kept",
    "postgres",
    "propose",
    "rehearse",
    "wait",
]
