"""The run identity in public (OpenID Connect Discovery 1.0, RFC 7517): by this, others verify run tokens.

What is served here is the root of their trust, unless it is published by hand elsewhere: docs/security.md.
"""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from runbooks_app.core.errors import NotFound
from runbooks_app.core.run_identity import discovery
from runbooks_app.store import identity_keys
from runbooks_app.store.database import reading
from runbooks_app.web.context import service
from runbooks_app.web.guards import open_to_all

blueprint = Blueprint("identity", __name__, url_prefix="/.well-known")

KEPT = "public, max-age=300, stale-if-error=86400"
"""Others may keep it for five minutes, and for a day where we are away. A key is published a day before it signs."""


@blueprint.get("/openid-configuration")
@open_to_all
def configuration() -> Response:
    """Where the keys are."""
    _keys()
    settings = service().settings
    return _kept(discovery(settings.issuer, settings.jwks_uri))


@blueprint.get("/jwks.json")
@open_to_all
def keys() -> Response:
    """The public keys."""
    return _kept({"keys": _keys()})


def _keys() -> list[dict[str, Any]]:
    with reading(service().engine) as tx:
        found = identity_keys.served(tx)
    if not found:
        raise NotFound("This service has no run identity, or no worker has published a key yet.")
    return found


def _kept(told: dict[str, Any]) -> Response:
    response = jsonify(told)
    response.headers["Cache-Control"] = KEPT
    response.add_etag()
    response.make_conditional(request)
    return response
