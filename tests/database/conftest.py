"""A running set of one on the loopback, shared by the tests that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from database_node import prepared

from twistlock_console.bus import Bus
from twistlock_console.database.bootstrap import (
    create_users,
    initiate_set,
    wait_answering,
)
from twistlock_console.database.mongod import Mongod
from twistlock_console.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return prepared(tmp_path / "node")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = prepared(tmp_path_factory.mktemp("database") / "node")
    mongod = Mongod(settings, Bus())
    mongod.start()
    try:
        wait_answering(settings, 30)
        initiate_set(settings)
        create_users(settings)
        yield settings
    finally:
        mongod.stop()
