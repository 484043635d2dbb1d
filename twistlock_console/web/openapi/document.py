"""The OpenAPI document, built from the routes, their guards and their bodies."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from flask import Flask, current_app
from pydantic import BaseModel, ConfigDict, TypeAdapter
from werkzeug.routing import Rule

from twistlock_console import __version__
from twistlock_console.accounts.rights import Area, UserRole, may
from twistlock_console.common.json_members import close_objects
from twistlock_console.web.common.errors import RETRY_AFTER, RETRYABLE_STATUSES
from twistlock_console.web.lists.query import list_parameters
from twistlock_console.web.openapi.api_call import JSON, ApiCall, api_call_of
from twistlock_console.web.security.guards import SAFE_METHODS, areas_of

PREFIX = "/api/v1/"
Json = dict[str, Any]
API_DESCRIPTION = (
    "Send HTTP Basic, or a token from POST /api/v1/authenticate as a bearer token. "
    "Calls that change something answer with an empty body. Errors are one sentence "
    "in `err`."
)
ERROR_DESCRIPTIONS = {
    400: "The request is refused; the sentence says why",
    401: "No credentials, or they are wrong or have expired",
    403: "The role of the account does not allow this",
    404: "Nothing has this name",
    408: "The request did not arrive in time",
    411: "The body has no length; without an account it needs one",
    413: "The body is larger than the Console accepts",
    415: "The body is not sent as JSON",
    429: "Too many failed logins; wait for the seconds in Retry-After",
    503: (
        "The database does not answer, or too many passwords are being checked; wait "
        "for the seconds in Retry-After, and check what was stored before you repeat"
    ),
}


class Error(BaseModel):
    """The reason why a request was not done."""

    model_config = ConfigDict(extra="forbid")

    err: str


def api_rules(app: Flask) -> list[tuple[Rule, str]]:
    """Return each route of the API with each of its methods."""
    found = [
        (rule, method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]
    return sorted(found, key=lambda each: (each[0].rule, each[1]))


def api_document() -> Json:
    """Return the OpenAPI document of this application; it is built once."""
    made = current_app.extensions.get("openapi")
    if made is None:
        made = build_document(current_app)
        current_app.extensions["openapi"] = made
    return cast(Json, made)


def build_document(app: Flask) -> Json:
    """Return a new OpenAPI 3.1 document of every API call of *app*."""
    models = _SchemaRegistry()
    paths: Json = {}
    for rule, method in api_rules(app):
        operation = _operation(app, rule, method, models)
        paths.setdefault(openapi_path(rule), {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Twistlock Console",
            "version": __version__,
            "description": API_DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": models.schemas,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def openapi_path(rule: Rule) -> str:
    """Return the path of a route in OpenAPI's form, with variables in braces."""
    return re.sub("<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)


class _SchemaRegistry:
    """Turns models into schemas, and collects the schemas that others refer to."""

    def __init__(self) -> None:
        self.schemas: Json = {}

    def schema(self, kind: Any, *, answer: bool) -> Json:
        schema = TypeAdapter(kind).json_schema(
            mode="serialization" if answer else "validation",
            ref_template="#/components/schemas/{model}",
        )
        if not answer:
            schema = close_objects(schema)
        self.schemas.update(schema.pop("$defs", {}))
        return schema


def _operation(app: Flask, rule: Rule, method: str, models: _SchemaRegistry) -> Json:
    view = app.view_functions[rule.endpoint]
    described = api_call_of(view) or ApiCall()
    area = areas_of(app).get(rule.endpoint.rpartition(".")[0])
    summary, _, more = (view.__doc__ or rule.endpoint).partition("\n")
    operation: Json = {
        "operationId": f"{method.lower()}_{rule.endpoint.replace('.', '_')}",
        "summary": summary.rstrip("."),
        "description": " ".join([*more.split(), *_roles_sentence(area, method)]),
        "tags": [area.title if area else "Without an account"],
        "parameters": [
            *_path_parameters(rule),
            *_query_parameters(described, models),
            *_list_parameters(described),
        ],
        "responses": dict(_responses(rule, described, area, models)),
    }
    if area is None:
        operation["security"] = []
    if body := _request_body(described, models):
        operation["requestBody"] = body
    return operation


def _request_body(described: ApiCall, models: _SchemaRegistry) -> Json | None:
    if described.upload:
        return {"required": True, "content": {described.upload: {}}}
    if described.body is None:
        return None
    schema = models.schema(described.body, answer=False)
    return {
        "required": described.body_required,
        "content": {JSON: {"schema": schema}},
    }


def _roles_sentence(area: Area | None, method: str) -> Iterator[str]:
    if area is None:
        yield "For anyone."
        return
    change = method not in SAFE_METHODS
    roles = [role.label for role in UserRole if may(role, area, change=change)]
    yield f"For {', '.join(roles)}."


def _path_parameters(rule: Rule) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in sorted(rule.arguments)
    ]


def _query_parameters(described: ApiCall, models: _SchemaRegistry) -> list[Json]:
    if described.query is None:
        return []
    schema = models.schema(described.query, answer=False)
    needed = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in needed, "schema": part}
        for name, part in schema["properties"].items()
    ]


def _list_parameters(described: ApiCall) -> list[Json]:
    if described.listing is None:
        return []
    return list_parameters(described.listing, paged=described.media == JSON)


def _responses(
    rule: Rule, described: ApiCall, area: Area | None, models: _SchemaRegistry
) -> Iterator[tuple[str, Json]]:
    yield "200", _success_response(described, models)
    error = {JSON: {"schema": models.schema(Error, answer=True)}}
    for status, when in sorted(_errors(rule, described, area).items()):
        failed: Json = {"description": when, "content": error}
        if status in RETRYABLE_STATUSES:
            failed["headers"] = {
                RETRY_AFTER: _header_schema(
                    "Seconds to wait before the next attempt", "integer"
                )
            }
        yield str(status), failed


def _success_response(described: ApiCall, models: _SchemaRegistry) -> Json:
    if described.answer is None and described.media == JSON:
        return {"description": "Done; the answer is empty"}
    if described.media != JSON:
        return {"description": "The file or text", "content": {described.media: {}}}
    schema = models.schema(described.answer, answer=True)
    if described.listing:
        schema = {"type": "array", "items": schema}
    done: Json = {"description": "Done", "content": {JSON: {"schema": schema}}}
    if described.listing:
        done["headers"] = {
            "Total-Count": _header_schema("Number of items in all", "integer"),
            "Total-Count-Exact": _header_schema(
                "Whether the number is exact", "boolean"
            ),
        }
    return done


def _header_schema(description: str, kind: str) -> Json:
    return {"description": description, "required": True, "schema": {"type": kind}}


def _errors(rule: Rule, described: ApiCall, area: Area | None) -> Mapping[int, str]:
    statuses: set[int] = set()
    if area is not None:
        statuses |= {400, 401, 403, 429, 503}
    if rule.arguments:
        statuses |= {400, 404, 503}
    if described.body is not None:
        statuses |= {400, 408, 411, 413, 415, 503}
    return {
        status: ERROR_DESCRIPTIONS[status]
        for status in statuses.union(described.raises)
    }
