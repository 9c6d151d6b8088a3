"""The JSON API, `/api/v1`: the same actions as the pages, for the person whose access token or session it is.

A program sends an access token (`runbooks_app.web.bearer`). With a session, a request with effect wants its cookie,
the header `X-CSRF-Token` and an `Origin` of this service, as from a page. `GET /api/v1/me` tells that token. Errors
have the one shape of `runbooks_app.web.errors`.

contract    what a route takes and answers, declared beside its guard
asked       models of what comes in; reading takes it literally
answers     models of what goes out
openapi     the OpenAPI file, made of these; reference shows it to people
library, runs, asks, proposals, incidents, writing, audit, stream    the routes
"""

from __future__ import annotations

from runbooks_app.web.api import asks, audit, incidents, library, proposals, reference, runs, stream, writing
from runbooks_app.web.api.contract import blueprint
from runbooks_app.web.api.reference import page

ROUTES = (library, runs, asks, proposals, incidents, writing, audit, reference, stream)
"""Rooms of routes; each puts its own on the blueprint."""

__all__ = ["ROUTES", "blueprint", "page"]
