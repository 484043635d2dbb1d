"""The history is noted here first, and delivered when a primary takes it."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from pymongo.errors import AutoReconnect

from plugins.ha.replication.collections import Collections
from plugins.ha.reporting.role_history import RoleHistory
from tests.ha.messages import role_change
from twistlock_console.events.types import Role, RoleChanged


class Store:
    """A collection, by whatever name, that calls *meanwhile* while it stores."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.meanwhile = lambda: None
        self.silent = False

    def primary(self, _name: str) -> "Store":
        """Itself."""
        return self

    local = primary

    def insert_one(self, entry: dict[str, Any]) -> None:
        """Store the entry's reason."""
        self.meanwhile()
        if self.silent:
            raise AutoReconnect("no primary")
        self.stored.append(entry["reason"])

    def find(self, **_how: object) -> list[dict[str, Any]]:
        """Give a record that is whole, and one that lacks its phases."""
        whole = role_change("10.0.0.1", "primary").as_json()
        torn = {key: whole[key] for key in whole.keys() - {"phases"}}
        return [{**whole, "_id": 1}, {**torn, "_id": 2}]


def changed(reason: str) -> RoleChanged:
    """This node became primary."""
    return RoleChanged(Role.STANDBY, Role.PRIMARY, reason, 7, {})


@pytest.fixture
def store() -> Store:
    """An empty one."""
    return Store()


@pytest.fixture
def history(tmp_path: Path, store: Store) -> RoleHistory:
    """With its spool in a folder that goes."""
    return RoleHistory("10.0.0.1", tmp_path / "history.jsonl", cast(Collections, store))


def test_a_change_is_noted_while_others_are_delivered(
    history: RoleHistory, store: Store, tmp_path: Path
) -> None:
    """Whoever keeps the role must not wait for a database that does not answer."""
    history.record(changed("first"))

    def note() -> None:
        store.meanwhile = lambda: None
        history.record(changed("second"))

    store.meanwhile = note
    history.deliver()
    left = (tmp_path / "history.jsonl").read_text().splitlines()

    assert [json.loads(line)["reason"] for line in left] == ["second"]
    history.deliver()
    assert store.stored == ["first", "second"]
    assert not (tmp_path / "history.jsonl").exists()


def test_what_nobody_takes_stays(history: RoleHistory, store: Store) -> None:
    """In its order."""
    store.silent = True
    history.record(changed("first"))
    history.deliver()
    store.silent = False
    history.record(changed("second"))

    history.deliver()

    assert store.stored == ["first", "second"]


def test_a_damaged_record_is_left_out(history: RoleHistory) -> None:
    """The rest of the history is shown all the same, each record with its id."""
    found = history.latest(10)

    assert [change.as_json()["_id"] for change in found] == ["1"]
