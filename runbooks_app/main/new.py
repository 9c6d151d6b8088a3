"""`runbooks new`: a notebook to start from, which passes `runbooks check` and works against any PostgreSQL.

Its one remediation changes nothing: it shows where the real one goes, how it is aimed and how it is verified.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from runbooks_app.chat.commands import Verb
from runbooks_app.core import checking, reading
from runbooks_app.core.errors import BrokenRunbook, Conflict, InvalidInput, Misconfigured, Problem
from runbooks_app.core.wording import show
from runbooks_app.library import NAME

TAKEN = frozenset(str(verb) for verb in Verb)
"""Words that `/runbook` takes for something else in a chat."""

ABOUT = """# {title}

Say here what people see when this is the right runbook, and what it looks into.

Everything down to **An example action** only reads. Its role must be a member of `pg_read_all_stats`: without
that, what other sessions do is hidden.
"""

PARAMETERS = """\
from runbook_library.kit import Connection

database: Connection["postgres"] = ""  # The database to look into
slow_after: float = 60.0  # A statement that runs for this many seconds or longer is slow
"""

SETUP = '''\
from psycopg.rows import dict_row

from runbook_library import kit


def query(statement, *values):
    """Rows as dicts."""
    with kit.postgres(database).cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement, values).fetchall()


def slow_statements():
    """Statements of other sessions that are slow, the longest first."""
    return query(
        """
        SELECT pid, backend_start, application_name AS application, left(query, 200) AS query,
               extract(epoch FROM clock_timestamp() - query_start)::float8 AS seconds
        FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND backend_type = 'client backend'
          AND pid <> pg_backend_pid() AND clock_timestamp() - query_start >= make_interval(secs => %s)
        ORDER BY query_start LIMIT 20
        """,
        slow_after,
    )
'''

DIAGNOSIS_TEXT = """## What is slow?

One cell for each question. A cell that fails does not stop the others.
"""

DIAGNOSIS = """\
slow = slow_statements()
if slow:
    kit.finding(
        "warning",
        f"{len(slow)} slow, the longest for {slow[0]['seconds']:.0f} s: session {slow[0]['pid']}",
        evidence=slow,
    )
else:
    kit.finding("info", f"No statement has run for {slow_after:g} s")
kit.keep(slow=len(slow))  # verification runs in another kernel and reads it as kit.kept.slow
"""

PROPOSE = """\
# No proposal means that there is nothing to do.
for row in slow[:1]:
    kit.propose(
        "example-action",
        pid=row["pid"],
        backend_start=row["backend_start"],
        seconds=round(row["seconds"]),
        reason="It has run for longest.",
    )
"""

REMEDIATION_TEXT = """---
## An example action

Runs only after approval, in a kernel of its own that has parameters, setup and the inputs below, and nothing else.
"""

REMEDIATION = """\
pid: int  # The session whose statement is slow
backend_start: str  # When the session began: its number may belong to another one by now
seconds: int  # For how long it had run
kit.gate(
    "example-action",
    "Look again at session {pid} on {database}: an example, it changes nothing",
    risk="low",
    target="{database}",
    informative=["seconds"],
)
# Put what helps in the place of this SELECT, aimed at exactly what was approved, such as
#     SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s
done = kit.postgres(database).execute(
    "SELECT state FROM pg_stat_activity WHERE pid = %s AND backend_start = %s", (pid, backend_start)
)
if not done.fetchall():
    raise RuntimeError(f"session {pid} is gone: nothing was done")
print(f"Session {pid} is still there. Nothing was changed.")
"""

VERIFICATION_TEXT = """### Did it help?

Cells below an action verify it, read-only.
"""

VERIFICATION = """\
kit.wait(
    f"no statement runs for {slow_after:g} s or longer",
    lambda: not slow_statements(),
    timeout="10s",
    detail=lambda: f"now {len(slow_statements())}, in the diagnosis {kit.kept.slow}",
)
"""


def write(library: Path, name: str, title: str, owner: str) -> Path:
    """Write the runbook `name` into the library; the file, which must not exist yet.

    Raises `InvalidInput` for a name, title or owner that cannot be, `Conflict` where there is such a runbook.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"{show(name)} cannot be the name of a runbook. "
            "Use lower-case letters, digits and dashes, such as disk-full; at most 64."
        )
    if name in TAKEN:
        raise InvalidInput(f"`/runbook {name}` means something else in a chat. Choose another name.")
    if not library.is_dir():
        raise Misconfigured(f"The library {library} is no folder. Name the folder with the notebooks by --library.")
    made = notebook(name, title or name.replace("-", " ").capitalize(), owner)
    path = library / f"{name}.ipynb"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(made)
    except FileExistsError:
        raise Conflict(f"There is a runbook {name} already: {path}. Choose another name.") from None
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}.") from error
    return path


def notebook(name: str, title: str, owner: str) -> str:
    """Text of the notebook, held to what `runbooks check` says; raises `InvalidInput` for title or owner."""
    for option, text in (("--title", title), ("--owner", owner)):
        if not text.strip() or not text.isprintable():
            raise InvalidInput(f"{option} must be a text of one line.")
    cells = [
        _text("about", ABOUT.format(title=title.strip())),
        _code("parameters", "parameters", PARAMETERS),
        _code("setup", "setup", SETUP),
        _text("what-is-slow-text", DIAGNOSIS_TEXT),
        _code("what-is-slow", "diagnostic", DIAGNOSIS),
        _code("what-would-help", "diagnostic", PROPOSE),
        _text("example-action-text", REMEDIATION_TEXT),
        _code("example-action", "remediation", REMEDIATION),
        _text("did-it-help-text", VERIFICATION_TEXT),
        _code("did-it-help", "diagnostic", VERIFICATION),
    ]
    made = {"cells": cells, "metadata": _metadata(title.strip(), owner.strip()), "nbformat": 4, "nbformat_minor": 5}
    try:
        # There are no magics in it, so the source is the Python already.
        report = checking.check(reading.read(name, made, dict(reading.code_of(made))), made)
    except BrokenRunbook as broken:
        raise InvalidInput("There can be no such runbook.", problems=broken.problems) from None
    problems: tuple[Problem, ...] = report.errors + report.warnings
    if problems:
        raise InvalidInput("There can be no such runbook.", problems=problems)
    return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"  # as Jupyter itself writes it


def _metadata(title: str, owner: str) -> dict[str, Any]:
    return {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "runbook": {
            "id": str(uuid.uuid4()),
            "title": title,
            "owner": owner,
            "description": "Looks for slow statements in a PostgreSQL database. Say here when to use it.",
            "connections": {},
            "parameters": {"slow_after": {"minimum": 0.1, "maximum": 86_400}},
            "timeouts": {"cell": "60s", "run": "10m"},
        },
    }


def _text(cell_id: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": _lines(source)}


def _code(cell_id: str, tag: str, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": cell_id,
        "metadata": {"tags": [tag]},
        "outputs": [],
        "source": _lines(source),
    }


def _lines(source: str) -> list[str]:
    return source.strip().splitlines(keepends=True)
