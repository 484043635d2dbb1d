"""Which piece of a list is asked for, as a query string says it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from twistlock_console.common.errors import Refused
from twistlock_console.web.common.query_numbers import parse_up_to
from twistlock_console.web.lists.schema import Column, Filter, Listable

MOST = 50
#: Skipping costs time; what lies farther is reached with from, to and filters.
FARTHEST = 10_000
#: Of times that are asked for. A database holds them, and those a little beyond.
YEARS = range(1970, 9999)


@dataclass(frozen=True, slots=True)
class Wish:
    """Which piece of a list is asked for."""

    limit: int = MOST
    offset: int = 0
    search: str = ""
    sort: str = ""
    reverse: bool = False
    since: datetime | None = None
    until: datetime | None = None
    filters: Mapping[str, str | bool] = field(default_factory=dict)

    @classmethod
    def from_arguments(cls, given: Mapping[str, str], listable: Listable) -> Self:
        """Read a query string; a limit above 50 is 50. Raises Refused."""
        sort = given.get("sort", "")
        if sort and sort not in listable.sort_names:
            raise Refused(f"sort: choose one of {', '.join(listable.sort_names)}")
        return cls(
            limit=_limit(given),
            offset=_whole(given, "offset", 0),
            search=given.get("search", "").strip()[:100] if listable.searched else "",
            sort=listable.sort_aliases.get(sort, sort),
            reverse=given.get("reverse", "").lower() == "true",
            since=_moment(given, "from") if listable.clock else None,
            until=_moment(given, "to") if listable.clock else None,
            filters={
                column.name: _value(column, given[column.name])
                for column in listable.filters
                if given.get(column.name)
            },
        )

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.search or self.since or self.until or self.filters)

    def further(self, offset: int) -> Self:
        """The same wish for another piece."""
        return replace(self, offset=max(0, offset))

    def sorted_by(self, name: str, *, reverse: bool) -> Self:
        """The same wish in another order, from the beginning."""
        return replace(self, sort=name, reverse=reverse, offset=0)

    @property
    def arguments(self) -> dict[str, str]:
        """Give the query string that asks for it."""
        written = {
            "search": self.search,
            **{name: _written(value) for name, value in self.filters.items()},
            "from": _written(self.since),
            "to": _written(self.until),
            "sort": self.sort,
            "reverse": "true" if self.reverse else "",
            "limit": str(self.limit) if self.limit != MOST else "",
            "offset": str(self.offset) if self.offset else "",
        }
        return {name: text for name, text in written.items() if text}


def _written(value: str | bool | datetime | None) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            text = value.astimezone(UTC).isoformat(timespec="seconds")
            return text.replace("+00:00", "Z")
        case _:
            return value or ""


def _value(column: Column, text: str) -> str | bool:
    if column.filter is Filter.BOOLEAN:
        if text not in {"true", "false"}:
            raise Refused(f"{column.name}: give true or false")
        return text == "true"
    known = [value for value, _ in column.choices]
    if known and text not in known:
        raise Refused(f"{column.name}: choose one of {', '.join(known)}")
    return text[:1024]


def _moment(given: Mapping[str, str], name: str) -> datetime | None:
    text = given.get(name, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{name}: give a time like 2026-11-24T09:30:00Z") from None
    if moment.year not in YEARS:
        raise Refused(f"{name}: give a time from {YEARS[0]} to {YEARS[-1]}")
    return moment


def _limit(given: Mapping[str, str]) -> int:
    limit = parse_up_to(given.get("limit", "") or str(MOST), MOST)
    if limit is None:
        raise Refused(f"limit: give a whole number; {MOST} is the most")
    return limit or MOST


def _whole(given: Mapping[str, str], name: str, usual: int) -> int:
    text = given.get(name, "")
    if not text:
        return usual
    if not re.fullmatch("[0-9]{1,9}", text):
        raise Refused(f"{name}: give a whole number from 0 to {FARTHEST}")
    if int(text) > FARTHEST:
        raise Refused(f"{name}: {FARTHEST} is the most; filter the list or download it")
    return int(text)
