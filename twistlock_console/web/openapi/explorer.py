"""The API explorer: sends one call from a page as the present user."""

import json
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from flask import current_app, request
from werkzeug.test import Client, EnvironBuilder, TestResponse

from twistlock_console.accounts.sessions import Session, write_token
from twistlock_console.common.json_members import load_json
from twistlock_console.web.openapi.document import Json
from twistlock_console.web.security.sessions import current_user, now, token_key

MAX_SHOWN_BYTES = 65_536
TOKEN_LIFETIME_S = 60
TEXT_TYPES = ("application/json", "text/")
MAX_EXAMPLE_DEPTH = 5
EMPTY_VALUES = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The response to one request; *target* is its path with the query string."""

    target: str
    status: str
    is_success: bool
    headers: tuple[tuple[str, str], ...]
    text: str


def send_call(method: str, path: str, values: Mapping[str, str], body: str) -> Outcome:
    """Send a call to this application, through all guards, and return the outcome.

    Args:
        method: HTTP method.
        path: path with names in braces.
        values: values of the names in *path*; others become the query string.
        body: JSON body; empty for none.
    """
    query = {name: v for name, v in values.items() if f"{{{name}}}" not in path}
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    target = f"{path}?{urlencode(query)}" if query else path
    user = current_user()
    # The token stays in this process, and expires after a minute.
    token = write_token(token_key(), Session.start(user, now()), user, TOKEN_LIFETIME_S)
    asked = EnvironBuilder(
        path,
        base_url=request.url_root,
        query_string=query,
        method=method,
        headers=[("Authorization", f"Bearer {token}")],
        data=body or None,
        content_type="application/json" if body else None,
        environ_base={"REMOTE_ADDR": request.remote_addr or ""},
    )
    client = Client(current_app.wsgi_app, use_cookies=False)
    # Its own context: otherwise both requests would share `g`.
    response: TestResponse = Context().run(client.open, asked)
    try:
        return _outcome(target, response)
    finally:
        response.close()


def _outcome(target: str, response: TestResponse) -> Outcome:
    shown = ("Content-Type", "Total-Count", "Retry-After", "Content-Disposition")
    headers = [(n, response.headers[n]) for n in shown if n in response.headers]
    return Outcome(
        target=target,
        status=response.status,
        is_success=response.status_code < 400,
        headers=tuple(headers),
        text=_text(response),
    )


def _text(response: TestResponse) -> str:
    if not (response.mimetype or "").startswith(TEXT_TYPES):
        return ""
    raw = b""
    for piece in response.response:
        raw += piece if isinstance(piece, bytes) else piece.encode()
        if len(raw) > MAX_SHOWN_BYTES:
            return (
                raw[:MAX_SHOWN_BYTES].decode(errors="replace") + "\n(cut: it is longer)"
            )
    text = raw.decode(errors="replace")
    return _indented(text) if response.is_json else text


def _indented(text: str) -> str:
    try:
        found: object = load_json(text)
    except ValueError:
        return text
    return json.dumps(found, indent=2, ensure_ascii=False)


def example_body(schema: Json, schemas: Json) -> str:
    """Return an indented JSON body with every field of *schema*, to fill in."""
    return json.dumps(_example_value(schema, schemas, MAX_EXAMPLE_DEPTH), indent=2)


def _example_value(schema: Json, schemas: Json, depth: int) -> object:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "default" in schema:
        return schema["default"]
    if choices := schema.get("enum") or schema.get("examples"):
        return choices[0]
    if "const" in schema:
        return schema["const"]
    if either := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return _example_value(either[0], schemas, depth)
    return _example_by_type(schema, schemas, depth)


def _example_by_type(schema: Json, schemas: Json, depth: int) -> object:
    kind = schema.get("type", "object")
    if kind == "object":
        fields = schema.get("properties", {}) if depth else {}
        return {
            n: _example_value(part, schemas, depth - 1) for n, part in fields.items()
        }
    if kind == "array":
        items = schema.get("items") if depth else None
        return [_example_value(items, schemas, depth - 1)] if items else []
    empty = EMPTY_VALUES[kind]
    return schema.get("minimum", empty) if kind in {"integer", "number"} else empty
