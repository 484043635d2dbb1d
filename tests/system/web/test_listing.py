"""Rules of every list: filters, order, pages and CSV, always from an index."""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

from tests.web.web_visitor import USERNAME, Visitor, basic
from twistlock_console.common.search_terms import index_terms
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.lists import listing
from twistlock_console.web.lists.listing import csv_cell
from twistlock_console.web.lists.query import ListRequest, build_filter, sort_order
from twistlock_console.web.lists.registry import LISTS, ensure_indexes
from twistlock_console.web.lists.schema import Filter, Listable

TRAIL = "/api/v1/audits/mgmt"
NOON = datetime(2040, 5, 1, 12, tzinfo=UTC)
Store = Database[dict[str, Any]]


@pytest.fixture
def database(app: Flask) -> Store:
    """Return the application's database with indexes and no documents."""
    found = storage_of(app).database()
    ensure_indexes(found)
    return found


def _fill(database: Store, count: int) -> None:
    database["audits_mgmt"].insert_many(
        {
            "time": NOON - timedelta(minutes=n),
            "type": "login" if n % 2 else "settings",
            "username": f"user{n:03}",
            "sourceIP": "192.0.2.1",
            "api": "/login",
            "status": "=1+1",
            "failure": n % 10 == 0,
            "diff": "",
            "words": index_terms(f"user{n:03}", "192.0.2.1"),
        }
        for n in range(count)
    )


def _names(admin: Visitor, query: str) -> list[str]:
    answer = admin.get(f"{TRAIL}?{query}", Authorization=basic())
    assert answer.status_code == 200, answer.text
    return [entry["username"] for entry in answer.get_json()]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        pytest.param("type=settings&limit=2", ["user000", "user002"], id="a-value"),
        pytest.param("failure=true&username=user010", ["user010"], id="two"),
        pytest.param("search=USER01&limit=2", ["user010", "user011"], id="beginning"),
        pytest.param("search=192.0.2.1+user007", ["user007"], id="every-word"),
        pytest.param("search=ser007", [], id="no-middles"),
        pytest.param("search=.*", [], id="no-patterns"),
        pytest.param(
            "from=2040-05-01T11:57:00Z&to=2040-05-01T11:58", ["user002", "user003"],
            id="a-time",
        ),
        pytest.param("sort=username&limit=1&to=2040-05-01T11:50", ["admin"], id="up"),
        pytest.param("sort=time&limit=1&search=user", ["user029"], id="oldest-first"),
        pytest.param("username[$ne]=x&limit=1&type=settings", ["user000"], id="names"),
    ],
)  # fmt: skip
def test_a_list_is_narrowed(
    admin: Visitor, database: Store, query: str, names: list[str]
) -> None:
    """Filters, times and beginnings of words narrow a list; an item matches all."""
    _fill(database, 30)

    assert _names(admin, query) == names


@pytest.mark.parametrize(
    "query",
    [
        "failure=maybe",
        "from=yesterday",
        "to=2026-13-01",
        "type=other",
        "from=0001-01-01T00:00:00%2B23:59",
        "to=9999-12-31T23:59:59Z",
    ],
)
def test_an_impossible_filter_is_refused(admin: Visitor, query: str) -> None:
    """An invalid filter gets an error and never another meaning."""
    answer = admin.get(f"{TRAIL}?{query}", Authorization=basic())

    assert answer.status_code == 400
    assert answer.get_json()["err"].startswith(query.partition("=")[0])


@pytest.mark.parametrize("limit", ["51", "500", "32768", "9" * 200])
def test_a_larger_limit_becomes_the_maximum(
    admin: Visitor, database: Store, limit: str
) -> None:
    """A client cannot know the maximum; a larger limit gets the maximum."""
    _fill(database, 60)

    assert len(_names(admin, f"limit={limit}")) == 50


def test_links_of_the_page_keep_order_and_filters(
    admin: Visitor, database: Store
) -> None:
    """Each link keeps the choices of the others."""
    _fill(database, 130)

    page = admin.get("/manage/logs/history?search=user&failure=false&sort=time").text

    assert 'aria-sort="ascending"' in page
    assert "1-50 of 117" in page
    assert 'href="?search=user&amp;failure=false&amp;sort=time&amp;offset=50"' in page
    assert '<option value="false" selected>No</option>' in page
    later = "search=user&amp;failure=false&amp;sort=time&amp;reverse=true"
    assert f'href="?{later}"' in page
    export = "/manage/logs/history/download?search=user&amp;failure=false"
    assert f'href="{export}&amp;sort=time"' in page


def test_an_empty_list_says_what_to_do(admin: Visitor, database: Store) -> None:
    """An empty list and a search without results have different texts."""
    nothing_found = admin.get("/manage/logs/history?search=zzz").text
    database["audits_mgmt"].delete_many({})
    nothing_there = admin.get("/manage/logs/history").text

    assert "Nothing matches." in nothing_found
    assert "Show all" in nothing_found
    assert "Logins and changes are listed here." in nothing_there


def test_a_csv_file_has_the_whole_list(admin: Visitor, database: Store) -> None:
    """The file has the items of all pages, in the order of the list."""
    _fill(database, 1200)

    page = admin.get("/manage/logs/history/download?search=user&type=login")
    api = admin.get(f"{TRAIL}/download?search=user&type=login", Authorization=basic())

    rows = list(csv.DictReader(io.StringIO(page.text)))
    assert page.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "audits_mgmt.csv" in page.headers["Content-Disposition"]
    assert api.text == page.text
    assert [len(rows), rows[0]["username"], rows[-1]["username"]] == [
        600, "user001", "user1199",
    ]  # fmt: skip
    assert rows[0]["time"] == "2040-05-01T11:59:00.000Z"
    assert rows[0]["status"] == "'=1+1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (-1, "-1"),
        (True, "true"),
        (None, ""),
        ([1, NOON], '[1, "2040-05-01T12:00:00.000Z"]'),
    ],
)
def test_a_cell_is_never_a_formula(value: object, text: str) -> None:
    """A spreadsheet that opens the file evaluates no text that a user typed."""
    assert csv_cell(value) == text


def test_a_total_is_exact_up_to_the_limit_of_counting(
    admin: Visitor, database: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting stops at a limit; beyond it, the total is marked as not exact."""
    monkeypatch.setattr(listing, "MAX_COUNTED", 20)
    _fill(database, 29)  # and the sign-up

    def total(query: str) -> tuple[str, str]:
        headers = admin.get(f"{TRAIL}?{query}", Authorization=basic()).headers
        return headers["Total-Count"], headers["Total-Count-Exact"]

    assert total("limit=9") == ("30", "false")
    assert total("limit=9&search=user") == ("20", "false")
    assert total("limit=9&type=settings") == ("15", "true")
    assert "of about 30" in admin.get("/manage/logs/history?limit=9").text
    narrowed = admin.get("/manage/logs/history?limit=9&search=user").text
    assert "1-9 of at least 20" in narrowed


def _paged_by_total(admin: Visitor, query: str) -> list[str]:
    """Return all names, as a client that pages until it has the total."""
    names: list[str] = []
    while True:
        url = f"{TRAIL}?{query}&limit=7&offset={len(names)}"
        answer = admin.get(url, Authorization=basic())
        names += [entry["username"] for entry in answer.get_json()]
        if len(names) >= int(answer.headers["Total-Count"]):
            return names


@pytest.mark.parametrize("query", ["search=user", "from=1990-01-01", "to=2040-05-02"])
def test_a_client_pages_by_the_total_to_the_end(
    admin: Visitor, database: Store, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Paging by Total-Count goes beyond the limit of counting and does not loop."""
    monkeypatch.setattr(listing, "MAX_COUNTED", 10)
    _fill(database, 45)

    names = _paged_by_total(admin, f"{query}&sort=username")

    users = [f"user{n:03}" for n in range(45)]
    assert [name for name in names if name != USERNAME] == users


@pytest.mark.parametrize(
    ("counted", "exact", "offset", "found", "total"),
    [
        pytest.param(1000, False, 0, 11, (1000, False), id="more-and-capped"),
        pytest.param(1000, False, 1000, 11, (1011, False), id="more-beyond-the-cap"),
        pytest.param(1000, False, 995, 11, (1006, False), id="more-across-the-cap"),
        pytest.param(1000, False, 1200, 4, (1204, True), id="last-part"),
        pytest.param(1000, False, 5000, 0, (1000, False), id="behind-the-end"),
        pytest.param(6000, False, 5000, 0, (5000, False), id="estimate-too-high"),
        pytest.param(4000, False, 5000, 11, (5011, False), id="estimate-too-low"),
        pytest.param(30, True, 0, 11, (30, True), id="counted"),
        pytest.param(10, True, 0, 11, (11, False), id="one-more-since-counting"),
        pytest.param(30, True, 20, 10, (30, True), id="counted-last-part"),
        pytest.param(30, True, 40, 0, (30, True), id="counted-behind-the-end"),
        pytest.param(0, True, 0, 0, (0, True), id="empty"),
        pytest.param(3, False, 0, 0, (0, True), id="empty-and-estimated"),
    ],
)
def test_the_total_exceeds_the_page_exactly_while_more_follow(
    counted: int, exact: bool, offset: int, found: int, total: tuple[int, bool]
) -> None:
    """The total agrees with the page read, whatever was counted."""
    asked = ListRequest(limit=10, offset=offset)

    reconciled = listing.reconcile_total(counted, exact, asked, found)

    assert reconciled == total
    assert (reconciled[0] > offset + min(found, 10)) is (found > 10)


def _requests(listable: Listable) -> Iterator[ListRequest]:
    """Yield requests with every order, every filter and every pair of filters."""
    texts = {Filter.BOOLEAN: True, Filter.EXACT: "x"}
    part = {listable.partition_column: "x"} if listable.partition_column else {}
    orders = ["", *(c.name for c in listable.columns if c.sortable)]
    narrowed: list[dict[str, Any]] = [
        {},
        *({"filters": {c.name: texts[c.filter]}} for c in listable.filters),
        *([{"search": "a b"}] if listable.searched else []),
        *([{"since": NOON, "until": NOON}] if listable.time_column else []),
    ]
    for one in narrowed:
        for other in narrowed:
            both = {**one, **other}
            both["filters"] = {**part, **both.get("filters", {})}
            for sort in orders:
                yield ListRequest(sort=sort, reverse=True, **both)


@pytest.mark.parametrize("listable", LISTS, ids=lambda each: each.collection)
def test_no_list_scans_its_collection(database: Store, listable: Listable) -> None:
    """MongoDB answers every request from an index."""
    parts = {listable.partition_column}
    for asked in _requests(listable):
        found = database[listable.collection].find(build_filter(listable, asked))
        plan = (
            found.sort(sort_order(listable, asked)).limit(50).explain()["queryPlanner"]
        )

        assert "COLLSCAN" not in str(plan["winningPlan"]), asked
        if not replace(asked, filters={}).is_filtered and asked.filters.keys() <= parts:
            assert "SORT" not in str(plan["winningPlan"]), asked


def test_a_search_is_no_regular_expression(admin: Visitor, database: Store) -> None:
    """The characters of a regular expression are text: they match only themselves."""
    _fill(database, 500)

    assert _names(admin, "search=(u%2B)%2B$") == []
    assert _names(admin, f"search={USERNAME}") == [USERNAME]
