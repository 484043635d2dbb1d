"""Lists, a piece at a time: limit, offset, search, sort and reverse."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from flask import Response, jsonify
from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database

from twistlock_console.errors import Refused

MOST = 50
FARTHEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Listable:
    """A collection that can be listed.

    *columns* maps the API's names to the collection's; *searched* are columns of
    text. Without a wish, the list is sorted by *order*, downwards if *newest_first*.
    """

    collection: str
    columns: Mapping[str, str]
    searched: tuple[str, ...]
    order: str
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """Which piece of a list is asked for."""

    limit: int = MOST
    offset: int = 0
    search: str = ""
    sort: str = ""
    reverse: bool = False

    @classmethod
    def from_arguments(cls, given: Mapping[str, str]) -> Self:
        """Read a query string; a limit above 50 is 50. Raises Refused."""
        return cls(
            limit=min(_whole(given, "limit", MOST), MOST) or MOST,
            offset=_whole(given, "offset", 0),
            search=given.get("search", "")[:100],
            sort=given.get("sort", ""),
            reverse=given.get("reverse", "").lower() == "true",
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """The items asked for, and how many there are in all."""

    items: list[dict[str, Any]]
    total: int
    wish: Wish

    def as_json(self) -> Response:
        """Give the items as the API does, with Total-Count."""
        response = jsonify(self.items)
        response.headers["Total-Count"] = str(self.total)
        return response


def fetch(database: Database[dict[str, Any]], listable: Listable, wish: Wish) -> Piece:
    """Read the piece; raises Refused if it cannot be sorted that way."""
    names = listable.columns
    if wish.sort and wish.sort not in names:
        raise Refused(f"sort: choose one of {', '.join(sorted(names))}")
    wanted = _filter(listable, wish.search)
    documents = database[listable.collection]
    downwards = wish.reverse if wish.sort else wish.reverse != listable.newest_first
    direction = DESCENDING if downwards else ASCENDING
    key = names[wish.sort or listable.order]
    found = (
        documents.find(wanted, projection=list(names.values()))
        .sort([(key, direction), ("_id", direction)])
        .skip(wish.offset)
        .limit(wish.limit)
    )
    items = [{api: d.get(stored) for api, stored in names.items()} for d in found]
    return Piece(items, documents.count_documents(wanted), wish)


def _filter(listable: Listable, search: str) -> dict[str, Any]:
    if not search:
        return {}
    pattern = {"$regex": re.escape(search), "$options": "i"}
    return {"$or": [{listable.columns[c]: pattern} for c in listable.searched]}


def _whole(given: Mapping[str, str], name: str, usual: int) -> int:
    text = given.get(name, "")
    if not text:
        return usual
    if not re.fullmatch("[0-9]{1,7}", text) or int(text) > FARTHEST:
        raise Refused(f"{name}: give a whole number from 0 to {FARTHEST}")
    return int(text)
