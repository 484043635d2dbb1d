"""A list as a CSV file, written while it is read: it may be long."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from flask import Response
from pymongo.cursor import Cursor

from twistlock_console.web.common.json_times import JsonWithTimes
from twistlock_console.web.lists.schema import Document, Listable

ROWS_AT_ONCE = 500
#: A spreadsheet takes a text that begins so for a formula, and runs it.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def answer(listable: Listable, found: Cursor[Document]) -> Response:
    """Give the documents *found* as a file; closes the cursor."""
    response = Response(_pieces(listable, found), mimetype="text/csv")
    name = f"{listable.collection}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.call_on_close(found.close)
    return response


def cell(value: Any) -> str:
    """Write a value so that a spreadsheet shows it and runs nothing."""
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
            return f"'{text}" if text.startswith(FORMULA) else text


def _pieces(listable: Listable, found: Cursor[Document]) -> Iterator[str]:
    yield _lines([[column.name for column in listable.columns]])
    while documents := list(islice(found, ROWS_AT_ONCE)):
        yield _lines(
            [cell(column.of(document)) for column in listable.columns]
            for document in documents
        )


def _lines(rows: Any) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
