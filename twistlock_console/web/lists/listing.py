"""Lists: one page at a time, or as a CSV file; each request uses an index."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TypeVar

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pymongo.cursor import Cursor
from pymongo.errors import ExecutionTimeout

from twistlock_console.common.errors import Refused
from twistlock_console.database.client import Db, Document
from twistlock_console.web.common.database import database
from twistlock_console.web.common.http import JsonWithTimes
from twistlock_console.web.lists.query import ListRequest, build_filter, sort_order
from twistlock_console.web.lists.schema import Listable

#: Counting costs time: totals up to this are exact, larger ones are estimates.
MAX_COUNTED = 1_000
TOO_LONG = (
    "this search takes too long; narrow it by time, with a filter, or with a longer "
    "word"
)
T = TypeVar("T")
CSV_BATCH_ROWS = 500
#: A spreadsheet evaluates a text that begins with one of these as a formula.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list: its items, and the total number of items.

    If *exact* is false, *total* is an estimate, or with a search or a filter a lower
    bound. In any case it exceeds the end of this page exactly while more items follow,
    so that a client may page by it.

    If the query string was refused, *problem* is the reason and *given* the string.
    """

    items: list[Document]
    total: int
    exact: bool
    request: ListRequest
    listable: Listable
    problem: str = ""
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Return the HTTP status of a page that shows this."""
        return 400 if self.problem else 200

    @property
    def asked(self) -> Mapping[str, str]:
        """Return the parameters for the page's forms; as typed if refused."""
        return self.given if self.problem else self.request.arguments

    def as_json(self) -> Response:
        """Return the response of the API: the items, and Total-Count."""
        response = jsonify(self.items)
        response.headers["Total-Count"] = str(self.total)
        response.headers["Total-Count-Exact"] = "true" if self.exact else "false"
        return response


@dataclass(frozen=True, slots=True)
class ListSource:
    """A list at one address; *fixed* are filters that the address sets."""

    listable: Listable
    fixed: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> dict[str, str]:
        """Return the parameters of this request and the fixed filters."""
        return {**request.args.to_dict(), **self.fixed}

    def as_json(self) -> Response:
        """Return the response of the API; raises Refused."""
        return fetch(database(), self.listable, self.arguments()).as_json()

    def as_csv(self) -> Response:
        """Return the list as a CSV file; raises Refused."""
        return download(database(), self.listable, self.arguments())

    def as_page(self) -> ListPage:
        """Return the list for a page, whose forms do not show the fixed filters."""
        found = fetch_for_page(database(), self.listable, self.arguments())
        asked = replace(found.request, filters=self._own(found.request.filters))
        return replace(found, request=asked, given=self._own(found.given))

    def _own(self, given: Mapping[str, T]) -> dict[str, T]:
        return {name: value for name, value in given.items() if name not in self.fixed}


def register_list(
    bp: Blueprint, path: str, source: ListSource
) -> Callable[[Callable[[ListPage], str]], Callable[[ListPage], str]]:
    """Return a decorator that serves a list at *path* of *bp*.

    It decorates the function that renders the page, whose name becomes the endpoint.
    The list as a CSV file is at *path*/download.
    """

    def register(render: Callable[[ListPage], str]) -> Callable[[ListPage], str]:
        def show() -> ResponseReturnValue:
            found = source.as_page()
            return render(found), found.status

        bp.add_url_rule(path, render.__name__, show)
        bp.add_url_rule(f"{path}/download", f"{render.__name__}_csv", source.as_csv)
        return render

    return register


def fetch(store: Db, listable: Listable, given: Mapping[str, str]) -> ListPage:
    """Return the page of the list that the parameters *given* ask for.

    Raises:
        Refused: a parameter is invalid, or the search takes too long.
    """
    asked = ListRequest.from_arguments(given, listable)
    query = build_filter(listable, asked)
    # One item more than the limit shows whether more items follow.
    found = _find(store, listable, asked).skip(asked.offset).limit(asked.limit + 1)
    try:
        items = [listable.to_item(document) for document in found]
        counted, exact = _count(store, listable.collection, query)
    except ExecutionTimeout:
        raise Refused(TOO_LONG) from None
    total, exact = reconcile_total(counted, exact, asked, len(items))
    return ListPage(items[: asked.limit], total, exact, asked, listable)


def fetch_for_page(store: Db, listable: Listable, given: Mapping[str, str]) -> ListPage:
    """Return the page of the list, or an empty page with the reason of a refusal."""
    try:
        return fetch(store, listable, given)
    except Refused as error:
        empty: list[Document] = []
        return ListPage(
            empty, 0, True, ListRequest(), listable, str(error), dict(given)
        )


def reconcile_total(
    counted: int, exact: bool, asked: ListRequest, found: int
) -> tuple[int, bool]:
    """Return a total that agrees with the page read, and whether it is exact.

    The count is bounded, and taken at another moment than the page. A client that pages
    until it has as many items as the total must neither stop early nor loop for ever.

    Args:
        counted: number of items that were counted.
        exact: whether *counted* is all of them.
        asked: the request.
        found: number of items that were read, at most one more than the limit.
    """
    end = asked.offset + min(found, asked.limit)
    if found > asked.limit:
        return max(counted, end + 1), exact and counted > end
    if found:
        return end, True
    # No item is here: the list ends at the offset or before.
    return min(counted, asked.offset), exact or not asked.offset


def download(store: Db, listable: Listable, given: Mapping[str, str]) -> Response:
    """Return all items that the parameters ask for as a CSV file; raises Refused."""
    asked = ListRequest.from_arguments(given, listable)
    return csv_response(listable, _find(store, listable, asked))


def _find(store: Db, listable: Listable, asked: ListRequest) -> Cursor[Document]:
    paths = None if listable.shape else [column.path for column in listable.columns]
    found = store[listable.collection].find(build_filter(listable, asked), paths)
    return found.sort(sort_order(listable, asked))


def _count(store: Db, name: str, query: Mapping[str, object]) -> tuple[int, bool]:
    """Return how many there are, and whether that is exact."""
    if not query and (about := store[name].estimated_document_count()) > MAX_COUNTED:
        return about, False
    hint = {} if query else {"hint": {"_id": 1}}
    counted: int = store.command(
        {"count": name, "query": query, "limit": MAX_COUNTED + 1, **hint}
    )["n"]
    return min(counted, MAX_COUNTED), counted <= MAX_COUNTED


def csv_response(listable: Listable, found: Cursor[Document]) -> Response:
    """Return *found* as a CSV file; the cursor closes with the response."""
    response = Response(_csv_parts(listable, found), mimetype="text/csv")
    name = f"{listable.collection}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.call_on_close(found.close)
    return response


def csv_cell(value: object) -> str:
    """Format a value so that a spreadsheet shows it and evaluates nothing."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case datetime():
            return str(JsonWithTimes.default(value))
        case dict() | list():
            return json.dumps(value, default=JsonWithTimes.default)
        case _:
            text = str(value)
            return f"'{text}" if text.startswith(FORMULA_BEGINNINGS) else text


def _csv_parts(listable: Listable, found: Cursor[Document]) -> Iterator[str]:
    yield _csv_lines([[column.name for column in listable.columns]])
    while documents := list(islice(found, CSV_BATCH_ROWS)):
        yield _csv_lines(
            [csv_cell(column.value_in(document)) for column in listable.columns]
            for document in documents
        )


def _csv_lines(rows: Iterable[list[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
