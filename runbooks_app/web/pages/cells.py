"""Outputs of cells by themselves: HTML for its sandboxed frame, images, whole texts.

What a kernel printed is hostile: HTML and SVG are cleaned and answered with headers that let nothing run
(`documents.HTML_HEADERS`), images are answered by what their own bytes say they are.
"""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from runbooks_app.actions.outputs import outputs_of, whole_text
from runbooks_app.core.errors import NotFound
from runbooks_app.core.people import Permission
from runbooks_app.documents.fragments import HTML_HEADERS, html_document
from runbooks_app.documents.outputs import pieces
from runbooks_app.documents.pieces import Html, Picture, Piece
from runbooks_app.store import runs
from runbooks_app.store.database import reading
from runbooks_app.store.records import Cell
from runbooks_app.web.context import service
from runbooks_app.web.guards import guard

blueprint = Blueprint("cells", __name__, url_prefix="/runs/<run_id>/cells/<int:attempt_id>/<cell_id>")

LINES, CHARACTERS = 200_000, 20_000_000
"""As much of a text as a page of its own shows."""

_IMAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


_TEXT_HEADERS = _IMAGE_HEADERS | {"Content-Security-Policy": "sandbox; default-src 'none'"}


@blueprint.get("/<int:n>/document")
@guard(Permission.READ)
def document(run_id: str, attempt_id: int, cell_id: str, n: int) -> Response:
    """Serve one HTML output as a document of its own, for `<iframe sandbox="">`."""
    for piece in _pieces_of_output(run_id, attempt_id, cell_id, n):
        if isinstance(piece, Html):
            return Response(html_document(piece.fragment), headers=HTML_HEADERS)
    raise NotFound(f"Output {n} of cell {cell_id[:64]} is no HTML.")


@blueprint.get("/<int:n>/image")
@guard(Permission.READ)
def image(run_id: str, attempt_id: int, cell_id: str, n: int) -> Response:
    """Serve one raster image."""
    for piece in _pieces_of_output(run_id, attempt_id, cell_id, n):
        if isinstance(piece, Picture):
            return Response(piece.image.data, mimetype=piece.image.mime, headers=_IMAGE_HEADERS)
    raise NotFound(f"Output {n} of cell {cell_id[:64]} is no image.")


@blueprint.get("/full", defaults={"n": None})
@blueprint.get("/<int:n>/full")
@guard(Permission.READ)
def full(run_id: str, attempt_id: int, cell_id: str, n: int | None) -> str:
    """Show one output, or all outputs of a cell, unfolded."""
    cell = _cell(run_id, attempt_id, cell_id)
    shown = pieces(outputs_of(service(), cell), LINES, CHARACTERS)
    if n is not None:
        shown = tuple(piece for piece in shown if piece.index == n)
    if not shown:
        raise NotFound(f"Cell {cell.cell_id} has no such output.")
    address = f"/runs/{run_id}/cells/{attempt_id}/{cell.cell_id}"
    return render_template("full.html", run_id=run_id, cell=cell, pieces=shown, address=address)


@blueprint.get("/whole")
@guard(Permission.READ)
def whole(run_id: str, attempt_id: int, cell_id: str) -> Response:
    """Serve all the text that a cell printed, where the run has only its beginning; `?download=1` as a file."""
    return whole_response(run_id, attempt_id, cell_id, download=bool(request.args.get("download")))


def whole_response(run_id: str, attempt_id: int, cell_id: str, *, download: bool) -> Response:
    """The text, streamed: what a kernel printed is plain text to every browser, and nothing else."""
    cell = _cell(run_id, attempt_id, cell_id)
    size, pieces_of_text = whole_text(service(), cell)
    response = Response(pieces_of_text, content_type="text/plain; charset=utf-8", headers=_TEXT_HEADERS)
    response.content_length = size
    if download:
        name = f"{run_id}-{cell.cell_id}.txt"
        response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def _pieces_of_output(run_id: str, attempt_id: int, cell_id: str, n: int) -> tuple[Piece, ...]:
    outputs = outputs_of(service(), _cell(run_id, attempt_id, cell_id))
    if n >= len(outputs):
        raise NotFound(f"Cell {cell_id[:64]} has no output {n}.")
    return pieces(outputs[n : n + 1])


def _cell(run_id: str, attempt_id: int, cell_id: str) -> Cell:
    """The cell, if the attempt is of this run."""
    with reading(service().engine) as tx:
        return runs.cell(tx, run_id, attempt_id, cell_id)
