"""Nodes of an earlier release are restarted with this one, one after the other."""

import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.asking import as_defender
from tests.hosts.cluster import Cluster
from tests.hosts.earlier_release import unpack_earlier_release
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import PROJECT, HostedNode
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for
from tests.system.cluster.test_moving_to_the_cluster_authority import is_refused
from twistlock_console.pki.certificates import stored_phase
from twistlock_console.pki.trust_phase import TrustPhase

pytestmark = [
    pytest.mark.unmeasured,
    pytest.mark.needs("git", "ip", "nsenter", "unshare", root=True),
]


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes of the earlier release."""
    with server_folder(request, "earlier") as folder, Laboratory(folder) as laboratory:
        formed = Cluster(laboratory)
        sources = unpack_earlier_release(folder / "sources")
        for node in formed.nodes.values():
            node.project = sources
        formed.form()
        yield formed
        formed.stop()


def phase_of(node: HostedNode) -> TrustPhase:
    """Return how far the node has come, as its files tell."""
    return stored_phase(node.settings.folders.certificates)


def restart_with_this_release(cluster: Cluster, node: HostedNode) -> None:
    """End *node* in an orderly way and start it again; returns when all is well."""
    node.host.signal(node.pids()["node"], signal.SIGTERM)
    node.wait_ended()
    node.project = PROJECT
    node.start()
    cluster.wait_converged()


def in_order(cluster: Cluster) -> list[HostedNode]:
    """Return the standbys, then the primary."""
    serving = cluster.wait_converged()
    standbys = [node for name, node in cluster.nodes.items() if name != serving]
    return [*standbys, cluster.nodes[serving]]


def test_a_rolling_restart_with_this_release(cluster: Cluster, tmp_path: Path) -> None:
    """Mixed releases work together; all move on when the last one has this release."""
    cluster.defender_papers("web-1", tmp_path)
    first, second, last = in_order(cluster)
    for node in (first, second):
        restart_with_this_release(cluster, node)
        assert phase_of(node) is TrustPhase.ACCEPT_BOTH
    # Those two would move on, but for the one of the earlier release.
    assert phase_of(last) is TrustPhase.UNKNOWN

    restart_with_this_release(cluster, last)
    epoch = cluster.view(last)["epoch"]
    users = cluster.api.call(_serving(cluster).address, "GET", "/users")

    for node in (first, second, last):
        wait_for(
            lambda node=node: phase_of(node) is TrustPhase.CLUSTER_ONLY,
            60,
            f"{node.address} moves",
        )
        _refuses_defenders(cluster, node, as_defender(tmp_path))
    cluster.wait_converged()
    assert cluster.view(last)["epoch"] == epoch
    assert cluster.api.call(_serving(cluster).address, "GET", "/users") == users


def _serving(cluster: Cluster) -> HostedNode:
    return cluster.nodes[cluster.wait_converged()]


def _refuses_defenders(
    cluster: Cluster, node: HostedNode, defender: ssl.SSLContext
) -> None:
    folder, settings = node.settings.folders.certificates, node.settings
    defender.load_verify_locations(folder / "cluster-ca.pem")
    with cluster.client.network():
        for port in (settings.node_api_port, settings.database_port):
            place = (node.address, port)
            wait_for(lambda place=place: is_refused(place, defender), 10, "refusal")
