"""A running set of one on the loopback, shared by the tests that leave it as it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.database.database_node import prepared, set_of_one
from twistlock_console.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return prepared(tmp_path / "node")


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = prepared(tmp_path_factory.mktemp("database") / "node")
    with set_of_one(settings):
        yield settings
