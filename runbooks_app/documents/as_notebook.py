"""Blocks as a notebook (nbformat 4.5) of executed cells, with what each showed and when it ran.

It opens like any other, and nothing in it acts by itself: of each output only forms that paint or are read stay
(cleaned), so no script, no widget and no address arrives in JupyterLab with it. Text cells are written by
`as_markdown`; an author's own text cell stays as it was unless it holds HTML, an image or an odd link.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import nbformat

from runbooks_app.documents import as_markdown, bundled, escaping, markdown
from runbooks_app.documents.blocks import Block, Executed, Heading, Prose
from runbooks_app.documents.fragments import sanitise
from runbooks_app.documents.images import read_image
from runbooks_app.documents.outputs import joined_text
from runbooks_app.documents.text import coloured, plain, readable
from runbooks_app.documents.unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from runbooks_app.core.incident import CellStory

_UNFIT_ID = re.compile(r"[^a-zA-Z0-9_-]")
_TROUBLE = (Unreadable, ValueError, TypeError, KeyError, AttributeError, RecursionError)


def write(title: str, blocks: Iterable[Block], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks as a notebook; `metadata` stands under `runbook` in the notebook's metadata."""
    cells: list[Any] = []
    ids: dict[str, int] = {}
    text: list[str] = []

    def flush() -> None:
        if text:
            cells.append(_markdown("\n\n".join(text), _unique(ids, f"told-{len(cells)}"), ()))
            text.clear()

    for block in blocks:
        if isinstance(block, Heading) and block.level <= 2:
            flush()
        if isinstance(block, Prose):
            flush()
            cells.append(_prose(block.cell, _unique(ids, block.cell.id)))
        elif isinstance(block, Executed):
            text.append(as_markdown.line_text(block.caption))
            flush()
            cells.append(_code(block.cell, _unique(ids, block.cell.id)))
        else:
            text.append(as_markdown.block_text(block))
    flush()
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
            "title": readable(title),
            "runbook": dict(metadata),
        },
        "cells": cells,
    }
    nbformat.validate(notebook)
    return notebook


def _unique(ids: dict[str, int], wanted: str) -> str:
    """A cell id that nbformat allows; a cell that ran in several runs keeps its id and gets a number behind it."""
    base = _UNFIT_ID.sub("-", wanted)[:56] or "cell"
    while True:
        ids[base] = ids.get(base, 0) + 1
        candidate = base if ids[base] == 1 else f"{base}-{ids[base]}"
        if candidate == base or candidate not in ids:
            ids.setdefault(candidate, 1)
            return candidate


def _markdown(source: str, identity: str, tags: tuple[str, ...]) -> dict[str, Any]:
    return {
        "cell_type": "markdown",
        "id": identity,
        "metadata": {"tags": list(tags)} if tags else {},
        "source": source,
    }


def _prose(cell: CellStory, identity: str) -> dict[str, Any]:
    source = readable(cell.source)
    kept = source if markdown.harmless(source) else escaping.quote(source)
    return _markdown(kept, identity, cell.tags)


def _code(cell: CellStory, identity: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": identity,
        "execution_count": cell.execution_count,
        "source": cell.source,
        "outputs": [_output(output, cell.execution_count) for output in cell.outputs],
        "metadata": {
            "tags": list(cell.tags),
            "execution": _timing(cell.started_at, cell.ended_at),
            "runbook": {
                "cell": cell.id,
                "stage": str(cell.stage),
                "state": str(cell.state),
                "reason": plain(cell.reason),
            },
        },
    }


def _timing(started: datetime | None, ended: datetime | None) -> dict[str, str]:
    """What was measured, under the names that JupyterLab keeps execution timing by."""
    timing = {}
    if started:
        timing["iopub.execute_input"] = _iso(started)
    if ended:
        timing["shell.execute_reply"] = _iso(ended)
    return timing


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _output(output: Any, count: int | None) -> dict[str, Any]:
    """The output with only the forms that are safe; one that cannot be read is told in its place."""
    try:
        kind = output["output_type"]
        if kind == "stream":
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            return {"output_type": kind, "name": name, "text": coloured(joined_text(output["text"]))}
        if kind == "error":
            traceback = output.get("traceback", [])
            lines = [traceback] if isinstance(traceback, str) else [joined_text(line) for line in traceback]
            return {
                "output_type": kind,
                "ename": plain(joined_text(output.get("ename", ""))),
                "evalue": plain(joined_text(output.get("evalue", ""))),
                "traceback": [coloured(line) for line in lines],
            }
        if kind in ("display_data", "execute_result"):
            counted = {"execution_count": count} if kind == "execute_result" else {}
            return {"output_type": kind, "data": _data(output["data"]), "metadata": {}, **counted}
    except _TROUBLE:
        pass
    told = "An output of this cell is malformed and was left out.\n"
    return {"output_type": "stream", "name": "stderr", "text": told}


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for mime, value in data.items():
        try:
            kept[mime] = _form(mime, value)
        except _TROUBLE:
            left_out.append(plain(str(mime))[:80])
    if not kept:
        kept["text/plain"] = f"[left out: {', '.join(left_out) or 'an empty output'}]"
    return kept


def _form(mime: str, value: Any) -> Any:
    """One form, cleaned; `Unreadable` for every kind that is not known to be harmless."""
    if mime == "text/plain":
        return coloured(joined_text(value))
    if mime == "text/html":
        return sanitise(joined_text(value))
    if mime in ("image/png", "image/jpeg"):
        return read_image(mime, value).base64
    if mime in bundled.MIMES:
        bundled.read(mime, value, 0)
        return value
    raise Unreadable(f"{mime} is not kept")
