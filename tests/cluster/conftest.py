"""A node alone, which the tests of one file share."""

from collections.abc import Iterator

import pytest

from tests.cluster.alone_node import AloneNode
from tests.hosts.waiting import wait_for


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AloneNode]:
    """One node that serves; killed at the end, if it is still there."""
    started = AloneNode(tmp_path_factory.mktemp("alone"))
    try:
        wait_for(started.serves, 60, "the node to serve")
        yield started
    finally:
        started.process.kill()
        started.process.wait()
