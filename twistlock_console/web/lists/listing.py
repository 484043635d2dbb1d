"""Lists, a piece at a time or as a CSV file; every query is answered from an index."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Response, jsonify
from pymongo.cursor import Cursor
from pymongo.database import Database
from pymongo.errors import ExecutionTimeout

from twistlock_console.common.errors import Refused
from twistlock_console.web.lists import csv_export
from twistlock_console.web.lists.query import conditions, order
from twistlock_console.web.lists.request import Wish
from twistlock_console.web.lists.schema import Document, Listable

#: Counting costs time. Up to here the total is exact, beyond it is not.
COUNTED = 1_000
TOO_LONG = (
    "this search takes too long; narrow it by time, with a filter, or with a longer "
    "word"
)

Store = Database[Document]


@dataclass(frozen=True, slots=True)
class Piece:
    """The items asked for, and how many there are in all.

    Where *exact* is false, *total* is about right, or with a search or a filter the
    least that there are. In any case it exceeds the end of this piece exactly while
    more items follow, so that a client may page by it.

    A page also shows a query string, *given*, that was refused because of a *problem*.
    """

    items: list[Document]
    total: int
    exact: bool
    wish: Wish
    listable: Listable
    problem: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The status of a page that shows this piece."""
        return 400 if self.problem else 200

    @property
    def asked(self) -> Mapping[str, str]:
        """The query string that the page shows in its forms; as typed if wrong."""
        return self.given if self.problem else self.wish.arguments

    def as_json(self) -> Response:
        """Give the items as the API does, with Total-Count."""
        response = jsonify(self.items)
        response.headers["Total-Count"] = str(self.total)
        response.headers["Total-Count-Exact"] = "true" if self.exact else "false"
        return response


def fetch(database: Store, listable: Listable, given: Mapping[str, str]) -> Piece:
    """Read the piece that a query string asks for; raises Refused."""
    wish = Wish.from_arguments(given, listable)
    query = conditions(listable, wish)
    # One more than is asked for tells whether more items follow.
    found = _find(database, listable, wish).skip(wish.offset).limit(wish.limit + 1)
    try:
        items = [listable.item(document) for document in found]
        counted, exact = _count(database, listable.collection, query)
    except ExecutionTimeout:
        raise Refused(TOO_LONG) from None
    total, exact = reconcile_total(counted, exact, wish, len(items))
    return Piece(items[: wish.limit], total, exact, wish, listable)


def fetch_for_page(
    database: Store, listable: Listable, given: Mapping[str, str]
) -> Piece:
    """Read the piece that a query string asks for, or say in it what is wrong."""
    try:
        return fetch(database, listable, given)
    except Refused as error:
        empty: list[Document] = []
        return Piece(empty, 0, True, Wish(), listable, str(error), dict(given))


def reconcile_total(
    counted: int, exact: bool, wish: Wish, found: int
) -> tuple[int, bool]:
    """Return the total that agrees with the piece, and whether it is exact.

    Counting is bounded, or done at another moment than reading. A client that pages
    until it has as many as the total says must neither stop early nor go on for ever.
    *found* items were read, at most one more than the wish's limit.
    """
    end = wish.offset + min(found, wish.limit)
    if found > wish.limit:
        return max(counted, end + 1), exact and counted > end
    if found:
        return end, True
    # Nothing lies here: the list ends at the offset or before.
    return min(counted, wish.offset), exact or not wish.offset


def download(database: Store, listable: Listable, given: Mapping[str, str]) -> Response:
    """Give all that a query string asks for as a CSV file; raises Refused."""
    wish = Wish.from_arguments(given, listable)
    return csv_export.answer(listable, _find(database, listable, wish))


def _find(database: Store, listable: Listable, wish: Wish) -> Cursor[Document]:
    paths = None if listable.shape else [column.path for column in listable.columns]
    found = database[listable.collection].find(conditions(listable, wish), paths)
    return found.sort(order(listable, wish))


def _count(database: Store, name: str, query: dict[str, Any]) -> tuple[int, bool]:
    """How many there are, and whether that is exact."""
    if not query and (about := database[name].estimated_document_count()) > COUNTED:
        return about, False
    hint = {} if query else {"hint": {"_id": 1}}
    counted: int = database.command(
        {"count": name, "query": query, "limit": COUNTED + 1, **hint}
    )["n"]
    return min(counted, COUNTED), counted <= COUNTED
