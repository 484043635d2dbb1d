"""What a person with a browser sees of a failover."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.remote_visitor import RemoteVisitor, visitor_on
from tests.hosts.cluster import Cluster
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.laboratory import Laboratory
from tests.hosts.waiting import wait_for

pytestmark = [
    pytest.mark.needs("chromium", "ip", "nsenter", "unshare", root=True),
    pytest.mark.timeout(240),
]
PICTURES = Path("build/pictures")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three hosts with nodes that nobody has started yet."""
    with Laboratory(tmp_path) as laboratory:
        yield Cluster(laboratory)


@pytest.fixture
def visitor(cluster: Cluster) -> Iterator[RemoteVisitor]:
    """A person with a browser on the clients' host."""
    with visitor_on(cluster.client, PICTURES) as person:
        yield person


def test_a_failover_keeps_accounts_and_settings(
    cluster: Cluster, visitor: RemoteVisitor
) -> None:
    """Who signed up on the first primary finds everything on the next one."""
    cluster.form(sign_up=lambda at: visitor("sign_up", at, USERNAME, PASSWORD))
    first = cluster.nodes["h1"].address
    visitor("set_timeout", first, 47)
    shown = visitor("open_cluster", first)
    assert sorted(shown.values()) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    visitor("wait_for_state", first, "PRIMARY")

    cluster.nodes["h1"].host.signal_all(signal.SIGKILL)
    silence = visitor("wait_for_silence")
    second = wait_for(cluster.primary, 30, "another primary")
    address = cluster.nodes[second].address
    visitor("log_in", address, USERNAME, PASSWORD)

    assert "does not answer" in silence
    assert visitor("users", address) == [USERNAME]
    assert visitor("timeout", address) == "47"
    visitor("open_cluster", address)
    seen = visitor("wait_for_state", first, "UNAVAILABLE")
    assert seen[address] == "PRIMARY"
    cluster.nodes["h1"].start()
    visitor("wait_for_state", first, "SECONDARY")
    assert visitor("messages") == []
    cluster.stop()
