"""What clients behind HAProxy, nginx and round robin DNS see of a failover."""

import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.browser.remote_visitor import RemoteVisitor, visitor_on
from tests.faults import rules
from tests.faults.audits import stored_ops
from tests.faults.records import Answer
from tests.faults.steps import heal
from tests.hosts.console_api import PASSWORD, USERNAME
from tests.hosts.node import HostedNode
from tests.hosts.pace import Pace
from tests.hosts.waiting import wait_for
from tests.load_balancer.fronts import HAPROXY, NAME, NGINX, WAYS, Fronts, Round
from twistlock_console.common.clock import SECOND, boottime_ns

pytestmark = [
    pytest.mark.needs("chromium", "haproxy", "nginx", "dnsmasq", "ip", root=True),
    pytest.mark.timed,
]
Fault = Callable[[Fronts, HostedNode], None]
PICTURES = Path("build/pictures")


@pytest.fixture
def fronts(timed_fronts: Fronts) -> Fronts:
    """Return a cluster behind all of them."""
    return timed_fronts


def killed(_fronts: Fronts, node: HostedNode) -> None:
    """Nothing runs on the host any more; its kernel refuses."""
    node.host.signal_all(signal.SIGKILL)


def unplugged(fronts: Fronts, node: HostedNode) -> None:
    """Packets to the host vanish."""
    fronts.cluster.laboratory.set_cable(node.host, "down")


@pytest.fixture
def visitor(fronts: Fronts) -> Iterator[RemoteVisitor]:
    """A person with a browser, behind HAProxy."""
    with visitor_on(fronts.cluster.client, PICTURES) as person:
        yield person


@pytest.mark.parametrize("fault", [killed, unplugged])
def test_clients_come_back_with_the_nodes(
    fronts: Fronts,
    visitor: RemoteVisitor,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    """Within a second (`Pace`) of the nodes' own outage; nothing acknowledged is lost.

    Whoever was logged in before still is.
    """
    cluster = fronts.cluster
    first = cluster.nodes[cluster.wait_converged()]
    visitor("log_in", HAPROXY, USERNAME, PASSWORD)
    with Pace() as pace, fronts.clients() as played:
        epoch = int(cluster.view(first)["epoch"])
        since = boottime_ns()
        fault(fronts, first)
        for way in ("direct", *WAYS):
            wait_for(lambda w=way: came_back(played, w, since), 40, f"{way} again")
        # Where packets vanish only HAProxy tells; others leave it to a ping.
        back = {HAPROXY} if fault is unplugged else {HAPROXY, NGINX, NAME}
        wait_for(lambda: back <= greeted(played, epoch), 20, "Defenders are back")
    users = visitor("users", HAPROXY)
    heal(cluster)
    lengths = {way: outage(played, way, since) for way in ("direct", *WAYS)}
    told = ", ".join(f"{way} {seconds:.2f} s" for way, seconds in lengths.items())
    record_property("told", f"{fault.__name__}: without an answer: {told}")
    serving = cluster.nodes[cluster.wait_converged()]
    found = stored_ops(cluster, serving.address, played.first)

    for way in ("direct", *WAYS):
        assert rules.lost(played.writes(way), found) == [], way
        assert rules.duplicated(played.writes(way), found) == [], way
    assert falling_epochs(played) == []
    # Other tests of this cluster added users of their own.
    assert USERNAME in users
    assert max(lengths.values()) < lengths["direct"] + pace.limit(1.0), told


def outage(played: Round, way: str, since: int) -> float:
    """The longest time without an answer on this way, in seconds."""
    return rules.outage(played.writes(way), since, boottime_ns())[1] / SECOND


def falling_epochs(played: Round) -> list[Answer]:
    """Where a Defender on one way was greeted under an epoch lower than before."""
    falling = []
    for way in (HAPROXY, NGINX, NAME):
        hellos = [hello for hello in played.hellos() if hello.address == way]
        hellos.sort(key=lambda hello: hello.received)
        falling += [b for a, b in pairwise(hellos) if b.epoch < a.epoch]
    return falling


def came_back(played: Round, way: str, since: int) -> bool:
    """Whether 20 writes of this client were stored after the outage."""
    writes = [w for w in played.writes(way) if w.status == 200 and w.ended > since]
    gap, _ = rules.outage(writes, since, boottime_ns())
    return sum(w.ended >= gap for w in writes) > 20


def greeted(played: Round, epoch: int) -> set[str]:
    """Where the Defender was greeted under a later epoch."""
    return {answer.address for answer in played.hellos() if answer.epoch > epoch}
