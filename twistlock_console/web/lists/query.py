"""A wish as MongoDB reads it, and the indexes from which every wish is answered.

Each order has an index, and each filter one that is in the list's own order. With
several conditions MongoDB tries the indexes against each other and takes the best: few
matches are found by their own index, many by walking in order until 50 are found.
"""

import re
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from twistlock_console.common.search_terms import FIELD, terms_of
from twistlock_console.web.lists.request import Wish
from twistlock_console.web.lists.schema import Listable


def conditions(listable: Listable, wish: Wish) -> dict[str, Any]:
    """Give the query that finds what *wish* asks for."""
    found: dict[str, Any] = {
        listable.column(name).path: value for name, value in wish.filters.items()
    }
    if listable.clock and (between := _between(wish)):
        found[listable.clock.path] = between
    if terms := terms_of(wish.search):
        found["$and"] = [{FIELD: {"$regex": f"^{re.escape(term)}"}} for term in terms]
    return found


def order(listable: Listable, wish: Wish) -> list[tuple[str, int]]:
    """Give the order that *wish* asks for; documents that are equal have one, too."""
    downwards = wish.reverse if wish.sort else wish.reverse != listable.newest_first
    direction = DESCENDING if downwards else ASCENDING
    path = listable.column(wish.sort or listable.order).path
    return [(name, direction) for name in dict.fromkeys((path, "_id"))]


def indexes_of(listable: Listable) -> list[IndexModel]:
    """Give the indexes that the list needs; each serves both directions."""
    usual = listable.column(listable.order).path
    wanted: list[tuple[str, ...]] = [(usual,)]
    wanted += [(column.path,) for column in listable.columns if column.sortable]
    wanted += [(column.path, usual) for column in listable.filters]
    wanted += [(FIELD, usual)] if listable.searched else []
    if clock := listable.clock:
        wanted += [(clock.path,)]
    part = (listable.column(listable.apart).path,) if listable.apart else ()
    paths = dict.fromkeys(
        tuple(dict.fromkeys((*part, *each, "_id"))) for each in wanted
    )
    return [
        IndexModel([(path, ASCENDING) for path in each])
        for each in paths
        if each != ("_id",)
    ]


def _between(wish: Wish) -> dict[str, Any]:
    bounds = {"$gte": wish.since, "$lte": wish.until}
    return {name: moment for name, moment in bounds.items() if moment}
