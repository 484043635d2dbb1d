"""A running set of one, shared by the tests of backups."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backups.backup_node import BackupNode, started


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackupNode]:
    with started(tmp_path_factory.mktemp("backups") / "node") as node:
        yield node


@pytest.fixture
def node(mongod: BackupNode, tmp_path: Path) -> BackupNode:
    """A node with an empty database and an empty volume of its own."""
    return mongod.with_volume(tmp_path / "volume")
