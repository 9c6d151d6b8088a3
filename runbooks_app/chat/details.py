"""The detail in a run's thread: errors of cells, tables behind findings. Pure.

What a restricted connection showed is left out here, and the page is named instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runbooks_app.chat.blocks import context, message, section
from runbooks_app.chat.mrkdwn import code, count, link, safe
from runbooks_app.core.run import CellState

if TYPE_CHECKING:
    from runbooks_app.chat.blocks import Block
    from runbooks_app.chat.views import CellTold, DetailsTold, EvidenceTold, Message

MOST_DETAILS = 12
"""Messages in a thread for one run's details; the page has all of them."""

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

    Charts are files, so they are uploaded by `client.Slack.upload`; restricted ones must not be.
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
    shown = _table(item, 2600) if item.columns else (item.text, "")
    blocks: list[Block] = [section(head), section(code(shown[0], 2900))]
    if shown[1]:
        blocks.append(context(f"{shown[1]}: {where}"))
    return message(head, blocks)


def _table(item: EvidenceTold, room: int) -> tuple[str, str]:
    """Rows as aligned text within `room` characters, and what was left out."""
    columns = [_cell(name) for name in item.columns[:8]]
    rows = [[_cell(value) for value in row[: len(columns)]] for row in item.rows[:20]]
    widths = [max(len(line[i]) if i < len(line) else 0 for line in [columns, *rows]) for i in range(len(columns))]
    lines: list[str] = []
    for line in [columns, ["─" * width for width in widths], *rows]:
        text = "  ".join(value.ljust(width) for value, width in zip(line, widths, strict=False)).rstrip()
        if sum(map(len, lines)) + len(lines) + len(text) > room:
            break
        lines.append(text)
    left = item.omitted + len(item.rows) - max(len(lines) - 2, 0)
    notes = [count(left, "more row")] if left > 0 else []
    if len(item.columns) > len(columns):
        notes.append(count(len(item.columns) - len(columns), "more column"))
    return "\n".join(lines), ", ".join(notes)


def _cell(value: str) -> str:
    text = " ".join(value[:200].split())
    return text if len(text) <= 40 else text[:39] + "…"
