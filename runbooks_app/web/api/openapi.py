"""The OpenAPI 3.1 file, made from the same models that validate: `GET /api/v1/openapi.json`, kept as docs/openapi.json.

`make openapi` writes it there. What every route may answer besides what it declares follows from what it takes: see
`_problems`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from werkzeug.routing import Rule

from runbooks_app import __version__
from runbooks_app.actions.delivering import KeyReused
from runbooks_app.core.errors import InvalidInput, NotSignedIn, RunbooksError, Unavailable
from runbooks_app.web import bearer, guards
from runbooks_app.web.api.answers.base import Problems
from runbooks_app.web.api.contract import JSON, KEY, KEY_HEADER, Contract, blueprint, contract_of
from runbooks_app.web.errors import status_of

_REF = "#/components/schemas/"
_SAID = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "`request_entity_too_large`: The body is larger than 2 MB.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "`unsupported_media_type`: The body is not sent as application/json.",
    HTTPStatus.TOO_MANY_REQUESTS: "`too_many_requests`: Wait a minute.",
}
_ABOUT = """Runbooks for incident response: read-only diagnosis, proposals that people decide, an audit trail.

Send an access token of your sign-in provider, or a session's cookie; a request with effect by a session also wants the
header `X-CSRF-Token` (`GET /me` tells it) and an `Origin` of the service. Errors have one shape, and a `code` to match
on.

Lists come in pages: send `next` of one page as `before` for the following one; it is null on the last.

What is read has an `ETag`: sent back as `If-None-Match`, it is answered with 304 as long as nothing has changed.

What notebooks print is untrusted data, wherever it stands."""


_IDEMPOTENCY = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": f"^{KEY}$"},
    "description": "A key of your own for this request: sent again within a day with the same request, it has no second"
    " effect, and is answered with what the first made, as it stands now.",
}


class _Schemas(GenerateJsonSchema):
    """Schemas without a title for each field: it would only repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


@cache
def document() -> dict[str, Any]:
    """The file, of this version's routes."""
    app = Flask(__name__)
    app.register_blueprint(blueprint)
    routes: list[tuple[Rule, Any, Contract]] = []
    for rule in app.url_map.iter_rules():
        handler = app.view_functions[rule.endpoint]
        if contract := contract_of(handler):
            routes.append((rule, handler, contract))
    routes.sort(key=lambda route: (route[0].rule, sorted(route[0].methods or ())))
    answers = {contract.answer for _, _, contract in routes if contract.answer} | {Problems}
    bodies = {contract.body for _, _, contract in routes if contract.body}
    _, schemas = models_json_schema(
        [(m, "serialization") for m in _by_name(answers)] + [(m, "validation") for m in _by_name(bodies)],
        ref_template=_REF + "{model}",
        schema_generator=_Schemas,
    )
    paths: dict[str, dict[str, Any]] = {}
    for rule, handler, contract in routes:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        (method,) = {method.lower() for method in rule.methods or ()} & {"get", "post", "put"}
        paths.setdefault(path, {})[method] = _operation(rule, handler, contract)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Runbooks", "version": __version__, "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas["$defs"].items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-runbooks"},
            },
        },
    }


def as_text() -> str:
    """The file as it is kept in the repository."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _by_name(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return sorted(models, key=lambda model: model.__name__)


def _operation(rule: Rule, handler: Any, contract: Contract) -> dict[str, Any]:
    """One method of one path."""
    told = inspect.cleandoc(handler.__doc__ or "")
    summary, _, more = told.partition("\n\n")
    found: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "tags": [handler.__module__.rpartition(".")[2]],
        "summary": " ".join(summary.split()),
        **({"description": more} if more else {}),
    }
    declared = guards.declaration(handler)
    if isinstance(declared, tuple) and declared[0] is not None:
        found["x-permission"] = str(declared[0])
    if parameters := [*_path(rule), *_query(contract), *([_IDEMPOTENCY] if contract.keyed else [])]:
        found["parameters"] = parameters
    if contract.body:
        required = any(field.is_required() for field in contract.body.model_fields.values())
        found["requestBody"] = {"required": required, "content": {JSON: {"schema": _ref(contract.body)}}}
    found["responses"] = {str(int(status)): answer for status, answer in sorted(_responses(rule, contract).items())}
    return found


def _path(rule: Rule) -> list[dict[str, Any]]:
    """What stands in the address. Ids are texts, or numbers that the database counts."""
    number = {"type": "integer", "minimum": 0}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": number if f"<int:{name}>" in rule.rule else {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"<(?:\w+:)?(\w+)>", rule.rule)
    ]


def _query(contract: Contract) -> list[dict[str, Any]]:
    schema = contract.query.model_json_schema(schema_generator=_Schemas)
    found = []
    for name, told in schema.get("properties", {}).items():
        given = dict(told)
        description = given.pop("description", "")
        if given.get("default", ...) is None:  # left out, never sent as null
            (given,) = (kind for kind in given["anyOf"] if kind != {"type": "null"})
        if "$ref" in given:  # one of some texts
            listed = schema["$defs"][given["$ref"].rpartition("/")[2]]
            given = {"type": listed["type"], "enum": listed["enum"]}
        parameter = {"name": name, "in": "query", "required": False, "schema": given}
        found.append({**parameter, "description": description} if description else parameter)
    return found


def _responses(rule: Rule, contract: Contract) -> dict[HTTPStatus, dict[str, Any]]:
    content: dict[str, Any] = {}
    for kind in contract.media:
        said = {} if "event-stream" in kind else {"type": "object" if kind.endswith("json") else "string"}
        content[kind.partition(";")[0]] = {"schema": said}
    if contract.answer:
        content = {JSON: {"schema": _ref(contract.answer)}}
    good: dict[str, Any] = {"description": contract.status.phrase, "content": content}
    headers = {}
    if contract.status is HTTPStatus.CREATED:
        headers["Location"] = {"description": "Where it can be read.", "schema": {"type": "string"}}
    found = {contract.status: good}
    if contract.body is None and contract.answer:
        headers["ETag"] = {"description": "Changes when the answer does.", "schema": {"type": "string"}}
        found[HTTPStatus.NOT_MODIFIED] = {"description": "It is as `If-None-Match` says."}
    if headers:
        good["headers"] = headers
    for status, lines in _problems(rule, contract).items():
        problem = {"description": "\n".join(sorted(lines)), "content": {JSON: {"schema": _ref(Problems)}}}
        found[status] = problem
    return found


def _problems(rule: Rule, contract: Contract) -> dict[HTTPStatus, set[str]]:
    """By status what may be wrong: what the route declares, and what follows from what it takes."""
    kinds: list[type[RunbooksError]] = [NotSignedIn, bearer.BadToken, bearer.TwoWays, bearer.NotPermitted, Unavailable]
    found: dict[HTTPStatus, set[str]] = {HTTPStatus.TOO_MANY_REQUESTS: {_SAID[HTTPStatus.TOO_MANY_REQUESTS]}}
    if contract.body:
        kinds += [guards.CrossSite, *([KeyReused] if contract.keyed else [])]
        for status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE):
            found[status] = {_SAID[status]}
    # A number in an address may be beyond what the database counts to; a query or a body may not fit.
    kinds += [InvalidInput, *contract.problems]
    for kind in kinds:
        first = (inspect.getdoc(kind) or "").partition("\n")[0]
        found.setdefault(status_of(kind()), set()).add(f"`{kind.code}`: {first}")
    if contract.body is None and "<" not in rule.rule and not contract.query.model_fields:
        found[HTTPStatus.UNPROCESSABLE_ENTITY] = {"`invalid_input`: This address takes no query."}
    return found


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF + model.__name__}
