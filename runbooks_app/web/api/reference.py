"""The API described: `/api/v1/openapi.json` for programs, the page `/api` for people. Both are the same file."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from flask import Blueprint, Response, render_template, request

from runbooks_app.documents import markdown
from runbooks_app.web.api import openapi
from runbooks_app.web.api.contract import JSON, blueprint
from runbooks_app.web.guards import guard

page = Blueprint("reference", __name__)


@blueprint.get("/openapi.json")
@guard()
def get_description() -> Response:
    """Serve the OpenAPI file."""
    response = Response(openapi.as_text(), mimetype=JSON)
    response.add_etag()
    response.make_conditional(request)
    return response


@page.get("/api")
@guard()
def show() -> str:
    """Show the file as a page."""
    described = openapi.document()
    listed = [
        {**operation, "method": method.upper(), "path": path}
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    listed.sort(key=lambda operation: operation["tags"])  # in each room by address, as they come
    return render_template(
        "api.html",
        about=markdown.render(described["info"]["description"]),
        prose=markdown.render,
        rooms=[(tags[0], list(found)) for tags, found in groupby(listed, key=lambda operation: operation["tags"])],
        schemas=described["components"]["schemas"],
        kind=kind,
    )


def kind(schema: dict[str, Any]) -> str:
    """What a schema takes, in a few words; names of other schemas stand as they are."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    name = str(schema.get("format") or schema.get("type") or "any JSON")
    within = [
        f"{word} {schema[limit]:,}"
        for limit, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("minLength", "at least"),
            ("maxLength", "at most"),
        )
        if limit in schema
    ]
    return ", ".join([name, *within])
