"""Rule: no page and no API call scans a collection; MongoDB's profiler checks it."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from pymongo.database import Database

from tests.filling import fill_defenders, fill_events, fill_history
from tests.web.web_visitor import Visitor, basic
from twistlock_console.database.client import connect, root_credentials
from twistlock_console.settings import Settings
from twistlock_console.web.common.database import DATABASE, storage_of
from twistlock_console.web.lists.registry import ensure_indexes


@pytest.fixture
def profiled(running: Settings, app: Flask) -> Iterator[Database[dict[str, Any]]]:
    """Return the database with its profiler on."""
    filled = storage_of(app).database()
    ensure_indexes(filled)
    fill_history(filled, 0, 20)
    fill_defenders(filled, 0, 20)
    fill_events(filled, 0, 20, 20)
    with connect(running, root_credentials(running), app_name="profiler") as client:
        database = client[DATABASE]
        database.command("profile", 2, filter={"appName": "console-web"})
        yield database
        database.command("profile", 0)
        database["system.profile"].drop()


def test_nothing_scans_a_collection(
    admin: Visitor, app: Flask, profiled: Database[dict[str, Any]]
) -> None:
    """Every path without an argument is answered from indexes."""
    opened = {}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and not rule.arguments:
            api = rule.rule.startswith("/api/")
            headers = {"Authorization": basic()} if api else {}
            with admin.get(f"{rule.rule}?plot=true", **headers) as answer:
                opened[rule.rule] = answer.status_code

    storage_of(app).database()["users"].find_one({"nothing": "planted"})

    done = list(
        profiled["system.profile"].find(
            {"ns": {"$not": {"$regex": r"\$cmd|system\.profile"}}}
        )
    )
    # Pages that call the node API answer 503: there is none here.
    assert {p: s for p, s in opened.items() if s >= 500 and s != 503} == {}
    assert len(done) > len(opened) / 2
    scans = [d["command"] for d in done if "COLLSCAN" in str(d)]
    assert [scan.get("filter") for scan in scans] == [{"nothing": "planted"}]
