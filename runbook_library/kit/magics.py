"""The cell magics `%%sql CONNECTION` and `%%promql CONNECTION`: a question without Python around it.

    %%sql orders-db --rows 50
    SELECT pid, state FROM pg_stat_activity

    %%promql prometheus --range 1h
    rate(http_requests_total[5m])

What they show is a pandas DataFrame, which is `_` in the next cell. IPython knows them once kit is imported, in the
service and in JupyterLab alike. A connection's name may come from a variable: `%%sql {database}`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from runbook_library.kit.connecting import http, postgres
from runbook_library.kit.values import seconds

if TYPE_CHECKING:
    import pandas as pd

ROWS = 1_000
"""Rows that `%%sql` shows at most, unless its line says `--rows`."""

POINTS = 250
"""Points in time that `%%promql --range` asks for, unless its line says `--step`."""


class _Line(argparse.ArgumentParser):
    """The line of a magic; what is wrong with it is an error of the cell, and ends nothing."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; write {self.format_usage().removeprefix('usage: ').strip()}")


_SQL = _Line("%%sql", add_help=False)
_SQL.add_argument("connection")
_SQL.add_argument("--rows", type=int, default=ROWS)

_PROMQL = _Line("%%promql", add_help=False)
_PROMQL.add_argument("connection")
_PROMQL.add_argument("--range", type=seconds, default=0.0, metavar="1h")
_PROMQL.add_argument("--step", type=seconds, default=0.0, metavar="15s")


def register() -> None:
    """Make the magics known to IPython, where it runs."""
    shell = sys.modules.get("IPython.core.interactiveshell")
    if shell is not None and shell.InteractiveShell.initialized():
        running = shell.InteractiveShell.instance()
        running.register_magic_function(sql, "cell", "sql")
        running.register_magic_function(promql, "cell", "promql")


def sql(line: str, cell: str) -> pd.DataFrame:
    """Send the cell to the named database as it was typed, as one statement; show what it gives.

    More rows than are shown are not fetched. Raises psycopg's errors, and one for a second statement.
    """
    asked = _SQL.parse_args(shlex.split(line))
    if asked.rows < 1:
        raise ValueError(f"--rows is a number from 1, not {asked.rows}")
    import pandas as pd  # noqa: PLC0415 - heavy

    with postgres(asked.connection).cursor() as cursor:
        # Row by row, since that takes exactly one statement, and no more rows than are wanted.
        rows = cursor.stream(cell.strip().encode())
        found = list(islice(rows, asked.rows + 1))
        names = [column.name for column in cursor.description or ()]
        rows.close()  # type: ignore[attr-defined]  # a generator: what is not fetched is cancelled
    if len(found) > asked.rows:
        print(f"The first {asked.rows:,} rows; there are more (--rows shows more).")  # noqa: T201
    return pd.DataFrame(found[: asked.rows], columns=names)


def promql(line: str, cell: str) -> pd.DataFrame:
    """Ask the named Prometheus now, or over a range up to now; a table with a row for each series or point in time."""
    asked = _PROMQL.parse_args(shlex.split(line))
    query: dict[str, Any] = {"query": cell.strip()}
    if asked.range:
        now = time.time()
        step = asked.step or max(1.0, asked.range / POINTS)
        query |= {"start": now - asked.range, "end": now, "step": step}
    answer = http(asked.connection).get("/api/v1/query_range" if asked.range else "/api/v1/query", params=query)
    try:
        told = answer.json()
    except ValueError:
        told = {}
    if told.get("status") != "success":
        raise ValueError(f"{asked.connection} answered {answer.status_code}: {told.get('error') or answer.text[:300]}")
    return _over_time(told["data"]["result"]) if asked.range else _now(told["data"])


def _now(data: dict[str, Any]) -> pd.DataFrame:
    """An instant answer: a column for each label, and the value."""
    import pandas as pd  # noqa: PLC0415 - heavy

    bare = data["resultType"] in {"scalar", "string"}
    series = [{"metric": {}, "value": data["result"]}] if bare else data["result"]
    rows = [{**_labels(one["metric"]), "value": _number((one.get("value") or one["values"][-1])[1])} for one in series]
    return pd.DataFrame(rows) if rows else pd.DataFrame({"value": []})


def _over_time(series: list[dict[str, Any]]) -> pd.DataFrame:
    """An answer over time: a row for each moment, a column for each series; with a chart where one can be drawn."""
    import pandas as pd  # noqa: PLC0415 - heavy

    columns: dict[str, dict[float, float | str]] = {}
    for number, one in enumerate(series):
        named = ", ".join(f"{name}={value}" for name, value in _labels(one["metric"]).items()) or "value"
        columns[named if named not in columns else f"{named} ({number})"] = {
            at: _number(value) for at, value in one["values"]
        }
    frame = pd.DataFrame(columns)
    frame.index = pd.to_datetime(frame.index, unit="s", utc=True)
    frame.index.name = "time"
    frame = frame.sort_index()
    _chart(frame)
    return frame


def _labels(metric: dict[str, str]) -> dict[str, str]:
    """A series' labels, its own name called `metric`."""
    return {"metric" if name == "__name__" else name: value for name, value in metric.items()}


def _number(text: str) -> float | str:
    """A sample's value; a string's is no number."""
    try:
        return float(text)
    except ValueError:
        return text


def _chart(frame: pd.DataFrame) -> None:
    """Draw it, where matplotlib is at hand and there is something to draw."""
    if frame.empty:
        return
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - heavy, and an author need not have it
    except ImportError:
        return
    from IPython.display import display  # noqa: PLC0415 - magics run in IPython alone

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(frame.index, frame.to_numpy(), label=list(frame.columns))
    if len(frame.columns) <= 8:
        axes.legend(fontsize="small")
    display(figure)  # type: ignore[no-untyped-call]
