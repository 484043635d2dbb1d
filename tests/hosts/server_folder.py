"""Where the servers of several tests keep their files, and for how long."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def server_folder(request: pytest.FixtureRequest, name: str) -> Iterator[Path]:
    """A folder for a fixture; gone afterwards, unless a test failed until then.

    Each mongod sets 300 MB aside: kept to the end of a run they fill a disk.
    """
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    made = factory.mktemp(name)
    yield made
    if not request.session.testsfailed:
        shutil.rmtree(made)
