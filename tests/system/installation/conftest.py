"""A host on which the toy release is unpacked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.laboratory import Laboratory
from tests.installation.toy_host import ToyHost


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ToyHost]:
    """A fresh host."""
    with Laboratory(tmp_path) as laboratory:
        yield ToyHost(laboratory.host("h2"))
