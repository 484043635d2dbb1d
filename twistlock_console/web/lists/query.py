"""Requests for a part of a list: parsed from a query string, executed by an index.

A request becomes a query of MongoDB. Each sort order has an index, and each filter has
one in the default order of the list. With several conditions MongoDB tries the indexes
against each other and takes the best: few matches are found by their own index, many by
walking in order until 50 are found.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from pymongo import ASCENDING, DESCENDING, IndexModel

from twistlock_console.common.errors import Refused
from twistlock_console.common.search_terms import FIELD, query_terms
from twistlock_console.web.lists.schema import Column, Filter, Listable

#: No bound of ours has as many digits.
MAX_DIGITS = 9
MAX_LIMIT = 50
#: Skipping costs time. Later items are reached with from, to and filters.
MAX_OFFSET = 10_000
#: Years of times in a query. The database can hold these, and a few more.
VALID_YEARS = range(1970, 9999)
Json = dict[str, object]
MOMENT: Json = {"type": "string", "format": "date-time"}


def parse_up_to(text: str, maximum: int) -> int | None:
    """Return the whole number in *text*, or *maximum* if it is larger.

    A client cannot know how much there is or how much one answer holds: asking for
    more means asking for all. Returns None if *text* is no whole number.
    """
    if not re.fullmatch("[0-9]+", text):
        return None
    digits = text.lstrip("0") or "0"
    return maximum if len(digits) > MAX_DIGITS else min(int(digits), maximum)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The part of a list that a query string asks for."""

    limit: int = MAX_LIMIT
    offset: int = 0
    search: str = ""
    sort: str = ""
    reverse: bool = False
    since: datetime | None = None
    until: datetime | None = None
    filters: Mapping[str, str | bool] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls, given: Mapping[str, str], listable: Listable) -> Self:
        """Parse the parameters of a query string; a limit above 50 becomes 50.

        Raises:
            Refused: a parameter has an invalid value.
        """
        sort = given.get("sort", "")
        if sort and sort not in listable.sort_names:
            raise Refused(f"sort: choose one of {', '.join(listable.sort_names)}")
        return cls(
            limit=_parse_limit(given),
            offset=_parse_whole_number(given, "offset", 0),
            search=given.get("search", "").strip()[:100] if listable.searched else "",
            sort=listable.sort_aliases.get(sort, sort),
            reverse=given.get("reverse", "").lower() == "true",
            since=_parse_time(given, "from") if listable.time_column else None,
            until=_parse_time(given, "to") if listable.time_column else None,
            filters={
                column.name: _parse_filter(column, given[column.name])
                for column in listable.filters
                if given.get(column.name)
            },
        )

    @property
    def is_filtered(self) -> bool:
        """Return whether a search, a time or a filter leaves items out."""
        return bool(self.search or self.since or self.until or self.filters)

    def with_offset(self, offset: int) -> Self:
        """Return the request for the page at another offset."""
        return replace(self, offset=max(0, offset))

    def sorted_by(self, name: str, *, reverse: bool) -> Self:
        """Return the request in another order, from the first item."""
        return replace(self, sort=name, reverse=reverse, offset=0)

    @property
    def arguments(self) -> dict[str, str]:
        """Return the parameters of the query string that asks for this."""
        written = {
            "search": self.search,
            **{name: _format_value(value) for name, value in self.filters.items()},
            "from": _format_value(self.since),
            "to": _format_value(self.until),
            "sort": self.sort,
            "reverse": "true" if self.reverse else "",
            "limit": str(self.limit) if self.limit != MAX_LIMIT else "",
            "offset": str(self.offset) if self.offset else "",
        }
        return {name: text for name, text in written.items() if text}


def _format_value(value: str | bool | datetime | None) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            text = value.astimezone(UTC).isoformat(timespec="seconds")
            return text.replace("+00:00", "Z")
        case _:
            return value or ""


def _parse_filter(column: Column, text: str) -> str | bool:
    if column.filter is Filter.BOOLEAN:
        if text not in {"true", "false"}:
            raise Refused(f"{column.name}: give true or false")
        return text == "true"
    known = [value for value, _ in column.choices]
    if known and text not in known:
        raise Refused(f"{column.name}: choose one of {', '.join(known)}")
    return text[:1024]


def _parse_time(given: Mapping[str, str], name: str) -> datetime | None:
    text = given.get(name, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{name}: give a time like 2026-11-24T09:30:00Z") from None
    if moment.year not in VALID_YEARS:
        raise Refused(f"{name}: give a time from {VALID_YEARS[0]} to {VALID_YEARS[-1]}")
    return moment


def _parse_limit(given: Mapping[str, str]) -> int:
    limit = parse_up_to(given.get("limit", "") or str(MAX_LIMIT), MAX_LIMIT)
    if limit is None:
        raise Refused(
            f"limit: give a whole number; at most {MAX_LIMIT} items are returned"
        )
    return limit or MAX_LIMIT


def _parse_whole_number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    if not text:
        return default
    if not re.fullmatch("[0-9]{1,9}", text):
        raise Refused(f"{name}: give a whole number from 0 to {MAX_OFFSET}")
    if int(text) > MAX_OFFSET:
        raise Refused(f"{name}: at most {MAX_OFFSET}; filter the list or download it")
    return int(text)


def build_filter(listable: Listable, asked: ListRequest) -> dict[str, object]:
    """Return the MongoDB filter for *asked*."""
    found: dict[str, object] = {
        listable.column(name).path: value for name, value in asked.filters.items()
    }
    if listable.time_column and (between := _time_range(asked)):
        found[listable.time_column.path] = between
    if terms := query_terms(asked.search):
        found["$and"] = [{FIELD: {"$regex": f"^{re.escape(term)}"}} for term in terms]
    return found


def sort_order(listable: Listable, asked: ListRequest) -> list[tuple[str, int]]:
    """Return the sort order for *asked*; `_id` orders equal documents."""
    downwards = asked.reverse if asked.sort else asked.reverse != listable.newest_first
    direction = DESCENDING if downwards else ASCENDING
    path = listable.column(asked.sort or listable.order).path
    return [(name, direction) for name in dict.fromkeys((path, "_id"))]


def indexes_of(listable: Listable) -> list[IndexModel]:
    """Return the indexes that the list needs; each serves both directions."""
    default = listable.column(listable.order).path
    wanted: list[tuple[str, ...]] = [(default,)]
    wanted += [(column.path,) for column in listable.columns if column.sortable]
    wanted += [(column.path, default) for column in listable.filters]
    wanted += [(FIELD, default)] if listable.searched else []
    if clock := listable.time_column:
        wanted += [(clock.path,)]
    part = (
        (listable.column(listable.partition_column).path,)
        if listable.partition_column
        else ()
    )
    paths = dict.fromkeys(
        tuple(dict.fromkeys((*part, *each, "_id"))) for each in wanted
    )
    return [
        IndexModel([(path, ASCENDING) for path in each])
        for each in paths
        if each != ("_id",)
    ]


def _time_range(asked: ListRequest) -> dict[str, object]:
    bounds = {"$gte": asked.since, "$lte": asked.until}
    return {name: moment for name, moment in bounds.items() if moment}


def list_parameters(listable: Listable, *, paged: bool) -> list[Json]:
    """Return the OpenAPI parameters of a list; *paged* adds limit and offset."""
    sortable = listable.sort_names
    found: list[Json] = []
    if paged:
        found += [
            _parameter(
                "limit",
                _whole_number_schema(),
                f"items to return; at most {MAX_LIMIT}, also if more are asked for",
            ),
            _parameter("offset", _whole_number_schema(MAX_OFFSET), "items to skip"),
        ]
    if listable.searched:
        text: Json = {"type": "string", "maxLength": 100}
        found.append(
            _parameter("search", text, f"beginnings of words in: {listable.searched}")
        )
    if sortable:
        found.append(
            _parameter("sort", {"type": "string", "enum": sortable}, "field to sort by")
        )
    found.append(_parameter("reverse", {"type": "boolean"}, "reverse the order"))
    if clock := listable.time_column:
        found.append(_parameter("from", MOMENT, f"{clock.name} not before this"))
        found.append(_parameter("to", MOMENT, f"{clock.name} not after this"))
    return found + [_filter_parameter(column) for column in listable.filters]


def _filter_parameter(column: Column) -> Json:
    if column.filter is Filter.BOOLEAN:
        return _parameter(
            column.name, {"type": "boolean"}, "only items with this value"
        )
    schema: Json = {"type": "string", "maxLength": 1024}
    if column.choices:
        schema = {"type": "string", "enum": [value for value, _ in column.choices]}
    return _parameter(column.name, schema, "only items with this value")


def _whole_number_schema(maximum: int | None = None) -> Json:
    bound = {} if maximum is None else {"maximum": maximum}
    return {"type": "integer", "minimum": 0, **bound}


def _parameter(name: str, schema: Json, description: str) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": schema,
    }
