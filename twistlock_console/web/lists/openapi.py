"""The query parameters of a list, as openapi.json describes them."""

from typing import Any

from twistlock_console.web.lists.request import FARTHEST, MOST
from twistlock_console.web.lists.schema import Column, Filter, Listable

Json = dict[str, Any]
MOMENT = {"type": "string", "format": "date-time"}


def parameters_of(listable: Listable, *, pieces: bool) -> list[Json]:
    """Describe what the list can be asked for, with *pieces* a piece at a time."""
    sortable = listable.sort_names
    found: list[Json] = []
    if pieces:
        found += [
            _query("limit", _whole(), f"{MOST} is the most, also if more is asked for"),
            _query("offset", _whole(FARTHEST), "how many to skip"),
        ]
    if listable.searched:
        text = {"type": "string", "maxLength": 100}
        found.append(
            _query("search", text, f"beginnings of words in {listable.searched}")
        )
    if sortable:
        found.append(_query("sort", {"type": "string", "enum": sortable}, "by which"))
    found.append(_query("reverse", {"type": "boolean"}, "the other way round"))
    if clock := listable.clock:
        found.append(_query("from", MOMENT, f"{clock.name} not before this"))
        found.append(_query("to", MOMENT, f"{clock.name} not after this"))
    return found + [_filter(column) for column in listable.filters]


def _filter(column: Column) -> Json:
    if column.filter is Filter.BOOLEAN:
        return _query(column.name, {"type": "boolean"}, "those with this value")
    schema: Json = {"type": "string", "maxLength": 1024}
    if column.choices:
        schema = {"type": "string", "enum": [value for value, _ in column.choices]}
    return _query(column.name, schema, "those with this value")


def _whole(most: int | None = None) -> Json:
    bound = {} if most is None else {"maximum": most}
    return {"type": "integer", "minimum": 0, **bound}


def _query(name: str, schema: Json, told: str) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": told,
        "schema": schema,
    }
