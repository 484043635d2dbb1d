"""An example of a JSON body, made from its schema."""

import json
from collections.abc import Mapping
from typing import Any

DEEPEST = 5
EMPTY = {"string": "", "integer": 0, "number": 0, "boolean": False, "null": None}


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    """Give a body with every field of *schema*, indented, for a person to fill in."""
    return json.dumps(_value(schema, schemas, DEEPEST), indent=2)


def _value(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "default" in schema:
        return schema["default"]
    if choices := schema.get("enum") or schema.get("examples"):
        return choices[0]
    if "const" in schema:
        return schema["const"]
    if either := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return _value(either[0], schemas, depth)
    return _by_type(schema, schemas, depth)


def _by_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object")
    if kind == "object":
        fields = schema.get("properties", {}) if depth else {}
        return {n: _value(part, schemas, depth - 1) for n, part in fields.items()}
    if kind == "array":
        items = schema.get("items") if depth else None
        return [_value(items, schemas, depth - 1)] if items else []
    empty = EMPTY[kind]
    return schema.get("minimum", empty) if kind in {"integer", "number"} else empty
