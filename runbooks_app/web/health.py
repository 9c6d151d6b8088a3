"""Whether this process lives (`/healthz`), and whether it can serve (`/readyz`)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import open_to_all

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@open_to_all
def alive() -> Response:
    """Say that the process answers; a failing one wants a restart."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@open_to_all
def ready() -> Response:
    """Say that the database answers too; `Unavailable` (503) keeps traffic away while it does not."""
    with reading(service().engine) as tx:
        tx.execute("SELECT 1")
    return jsonify(status="ok")
