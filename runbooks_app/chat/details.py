"""The detail in a run's thread: errors of cells, tables behind findings. Pure.

What a restricted connection showed is left out here, and the page is named instead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import FIELDS, context, fields, message, section
from runbooks_app.chat.mrkdwn import code, count, link, plain, safe
from runbooks_app.chat.views import FileTold
from runbooks_app.core.run import CellState

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import CellTold, DetailsTold, EvidenceTold, Message

MOST_DETAILS = 12
"""Messages in a thread for one run's details; the page has all of them."""

MOST_ROWS = 20
"""Rows of a table that a message shows; a longer one follows as a file."""

MOST_TABLES = 4
MOST_OF_A_FILE = 1_000_000
"""Tables that follow as files, and characters of each."""

_PAGE = "the run's page"
_HOW = {
    CellState.FAILED: "failed",
    CellState.DIED: "died",
    CellState.TIMED_OUT: "ran out of time",
    CellState.CANCELLED: "was cancelled",
    CellState.SKIPPED: "was skipped",
    CellState.NEVER_RAN: "never ran",
}


def details_messages(told: DetailsTold) -> tuple[Message, ...]:
    """The thread's detail, oldest first: what failed with its error, then the evidence behind each finding.

    Charts and long tables follow as files: see `details_files`.
    """
    hidden = sum(chart.restricted for chart in told.charts)
    total = len(told.cells) + len(told.evidence) + bool(hidden)
    room = MOST_DETAILS if total <= MOST_DETAILS else MOST_DETAILS - 1
    messages = [_cell_message(cell) for cell in told.cells[:room]]
    messages += [_evidence_message(item, told.url) for item in told.evidence[: room - len(messages)]]
    if hidden and len(messages) < room:
        text = f"🔒 {count(hidden, 'chart')} of restricted data: only on {link(told.url, _PAGE)}."
        messages.append(message(text, [section(text)]))
    if total > len(messages):
        text = f"{total - len(messages)} more details are on {link(told.url, _PAGE)}."
        messages.append(message(text, [section(text)]))
    return tuple(messages)


def details_files(told: DetailsTold) -> tuple[FileTold, ...]:
    """The thread's files: charts, and tables that are longer than a message shows. Nothing restricted is among them."""
    charts = [
        FileTold(
            f"{_slug(chart.title)}.png",
            plain(chart.title, 200),
            chart.png,
            alt=plain(chart.alt, 1000),
            comment=f"{safe(chart.title, 200)}: {link(chart.url, 'its cell')}",
        )
        for chart in told.charts
        if not chart.restricted
    ]
    tables = [
        FileTold(
            f"{_slug(item.finding)}.txt",
            plain(item.finding, 200),
            _table(item, MOST_OF_A_FILE, columns=100, rows=len(item.rows), cell=200)[0].encode(),
            comment=f"Evidence: {safe(item.finding, 300)} — {link(item.url or told.url, 'its cell')}"
            + (f" ({count(item.omitted, 'more row')} were not kept)" if item.omitted else ""),
        )
        for item in told.evidence
        if len(item.rows) > MOST_ROWS and not item.restricted
    ]
    return (*charts, *tables[:MOST_TABLES])


def _slug(title: str) -> str:
    """A file's name from an untrusted title: small letters, digits and hyphens alone."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower())[:60].strip("-") or "evidence"


_OUR_WORDS = frozenset({CellState.DIED, CellState.TIMED_OUT, CellState.CANCELLED})
"""Ends whose reason is the service's own sentence: a limit, a signal. It quotes nothing that a cell has seen."""


def _cell_message(cell: CellTold) -> Message:
    named = link(cell.url, cell.cell_id, 80)
    head = f"Cell *{named}* {_HOW.get(cell.state, str(cell.state).replace('_', ' '))}"
    if cell.restricted and cell.state in _OUR_WORDS:
        return message(f"{head}: {safe(cell.reason, 500)}", [section(f"{head}: {safe(cell.reason, 500)}")])
    if cell.restricted:
        # The error's class says what kind of trouble it is; its text may quote rows.
        kind = cell.reason.partition(":")[0].strip()
        kind = f" ({safe(kind, 80)})" if kind.isidentifier() and cell.state is CellState.FAILED else ""
        return message(
            f"{head}{kind}.",
            [section(f"{head}{kind}. 🔒 The error shows restricted data: only on its page.")],
        )
    text = head + (f": {safe(cell.reason, 500)}" if cell.reason else ".")
    blocks: list[Block] = [section(text)]
    if cell.trace:
        # The end of a traceback is what tells.
        blocks.append(section(code(cell.trace[-2200:], 2900)))
    return message(text, blocks)


def _evidence_message(item: EvidenceTold, run_url: str) -> Message:
    head = f"Evidence: {safe(item.finding, 300)}"
    where = link(item.url or run_url, _PAGE)
    if item.restricted:
        return message(head, [section(f"{head}\n🔒 Restricted data: only on {where}.")])
    url = item.url or run_url
    if [len(row) for row in item.rows] == [len(item.columns)] and 1 <= len(item.columns) <= FIELDS and not item.omitted:
        row = [
            (safe(name, 100) or "-", safe(value, 300) or "-")
            for name, value in zip(item.columns, item.rows[0], strict=False)
        ]
        return message(head, [section(f"{head} ({where})"), fields(row)], url=url)
    shown = _table(item, 2600) if item.columns else (item.text, "")
    blocks: list[Block] = [section(head), section(code(shown[0], 2900))]
    blocks.append(context(f"{shown[1]}: {where}" if shown[1] else where))
    return message(head, blocks, url=url)


def _table(
    item: EvidenceTold, room: int, *, columns: int = 8, rows: int = MOST_ROWS, cell: int = 40
) -> tuple[str, str]:
    """Rows as aligned text within `room` characters, and what was left out."""
    names = [plain(name, cell) for name in item.columns[:columns]]
    shown = [[plain(value, cell) for value in row[: len(names)]] for row in item.rows[:rows]]
    widths = [max(len(line[i]) if i < len(line) else 0 for line in [names, *shown]) for i in range(len(names))]
    lines: list[str] = []
    for line in [names, ["─" * width for width in widths], *shown]:
        text = "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=False)).rstrip()
        room -= len(text) + 1
        if room < 0:
            break
        lines.append(text)
    left = item.omitted + len(item.rows) - max(len(lines) - 2, 0)
    notes = [count(left, "more row")] if left > 0 else []
    if len(item.columns) > len(names):
        notes.append(count(len(item.columns) - len(names), "more column"))
    return "\n".join(lines), ", ".join(notes)
