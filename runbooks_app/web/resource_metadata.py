"""`/.well-known/oauth-protected-resource`: whose tokens the API takes (RFC 9728). `runbooks login` begins here."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from runbooks_app.core.errors import NotFound
from runbooks_app.web.bearer import METADATA
from runbooks_app.web.context import service
from runbooks_app.web.guards import open_to_all

blueprint = Blueprint("resource_metadata", __name__)


@blueprint.get(METADATA)
@open_to_all
def tell() -> Response:
    """Name the provider, the audience, and what clients command line and agents are there. No secret is in it."""
    settings = service().settings
    if not settings.oidc_issuer:
        raise NotFound("No sign-in provider is configured here.")
    response = jsonify(
        resource=settings.audience,
        authorization_servers=[settings.oidc_issuer],
        bearer_methods_supported=["header"],
        scopes_supported=settings.cli_scopes.split(),
        runbooks_cli_client_id=settings.cli_client_id,
        runbooks_agent_client_id=settings.agent_client_id,
    )
    response.headers["Cache-Control"] = "max-age=300"
    return response
