"""A node alone, which the tests of one file share."""

from collections.abc import Iterator

import pytest

from tests.cluster.alone_node import AloneNode
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[AloneNode]:
    """One node that serves; killed at the end, if it is still there."""
    with server_folder(request, "alone") as folder:
        started = AloneNode(folder)
        try:
            wait_for(started.serves, 60, "the node to serve")
            yield started
        finally:
            started.process.kill()
            started.process.wait()
