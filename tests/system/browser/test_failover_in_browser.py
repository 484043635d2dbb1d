"""Rules of a failover as a user with a browser sees it, over a load balancer."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.remote_visitor import RemoteVisitor, visitor_on
from tests.hosts.cluster import Cluster
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.laboratory import Laboratory
from tests.hosts.load_balancer import start_haproxy
from tests.hosts.waiting import wait_for

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.needs("chromium", "haproxy", "ip", "nsenter", "unshare", root=True),
]
PICTURES = Path("build/pictures")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Return three hosts with nodes that are not started."""
    with Laboratory(tmp_path) as laboratory:
        yield Cluster(laboratory)


@pytest.fixture
def visitor(cluster: Cluster) -> Iterator[RemoteVisitor]:
    """Return a browser on the host of the clients."""
    with visitor_on(cluster.client, PICTURES) as person:
        yield person


def test_a_session_survives_the_death_of_the_primary(
    cluster: Cluster, visitor: RemoteVisitor
) -> None:
    """No second login, no lost setting, and one banner about the failover."""
    cluster.form(sign_up=lambda at: visitor("sign_up", at, USERNAME, PASSWORD))
    first = cluster.nodes["h1"].address
    balancer = cluster.laboratory.host("lb")
    start_haproxy(balancer, cluster)
    visitor("log_in", balancer.address, USERNAME, PASSWORD)
    visitor("set_timeout", balancer.address, 47)
    shown = visitor("open_cluster", balancer.address)
    assert sorted(shown.values()) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    visitor("wait_for_state", first, "PRIMARY")

    cluster.nodes["h1"].host.signal_all(signal.SIGKILL)
    # Alone it may hold each request until another node serves, so no page falls silent.
    balancer.signal_all(signal.SIGKILL)
    silence = visitor("wait_for_silence")
    start_haproxy(balancer, cluster)
    banner = visitor("wait_for_banner")
    second = cluster.nodes[wait_for(cluster.primary, 30, "another primary")].address
    seen = visitor("wait_for_state", first, "UNAVAILABLE")

    assert "does not answer" in silence
    assert banner.startswith(f"{second} took over from {first} at ")
    assert "silent" in banner
    assert "You stay logged in" in banner
    assert seen[second] == "PRIMARY"
    assert visitor("users", balancer.address) == [USERNAME]
    assert visitor("timeout", balancer.address) == "47"
    assert visitor("banners") == [banner]
    assert visitor("dismiss_banner") == []
    assert visitor("users", balancer.address) == [USERNAME]
    assert visitor("banners") == []
    cluster.nodes["h1"].start()
    cluster.wait_converged(90)
    visitor("open_cluster", balancer.address)
    visitor("wait_for_state", first, "SECONDARY")
    assert visitor("messages") == []
    assert visitor("hosts") == [f"{first}:8443", f"{balancer.address}:8443"]
    cluster.stop()
