"""Export Prometheus metrics of the cluster, and find problems for alerts.

The node API returns the metrics as text. Their counters live as long as the node
process, so a failover does not reset them.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from plugins.ha.declarations import MEMBER_LAG, NODE_LOST
from plugins.ha.messages import ClusterResponse, RoleChangeResponse
from plugins.ha.replication.member_state import NodeState
from twistlock_console.alerts.monitor import ProblemSource, certificate_problems
from twistlock_console.alerts.rules import CoreAlertKind, Problem
from twistlock_console.alerts.settings import AlertSettings
from twistlock_console.database.client import Db
from twistlock_console.events.types import Role
from twistlock_console.node_api.client import NodeClient
from twistlock_console.servers.service_ports import ServicePorts

HEALTHY_STATES = (NodeState.PRIMARY, NodeState.SECONDARY)
LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

# Otherwise the start time of the histogram would be a metric too.
disable_created_metrics()  # type: ignore[no-untyped-call]


class HaMetrics:
    """Counts majority writes, and computes the other metrics from the cluster view."""

    def __init__(self, ports: ServicePorts) -> None:
        self._ports = ports
        self._registry = CollectorRegistry()
        self.majority_write = Histogram(
            "twistlock_ha_majority_write_seconds",
            "How long the lease's writes took until a majority had them.",
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )

    def text(self, view: ClusterResponse) -> str:
        """Return all metrics of *view* and of this node, in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        families = [*cluster_metrics(view), _ports_metric(self._ports)]
        registry.register(_FamilyCollector(families))
        return (generate_latest(registry) + generate_latest(self._registry)).decode()


class _FamilyCollector:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Return the families, as `prometheus_client` requires."""
        return self._families


def cluster_metrics(view: ClusterResponse) -> Iterable[Metric]:
    """Return the metrics of the cluster's *view*."""
    nodes = view.nodes
    yield _by_node(
        "twistlock_ha_role",
        "1 on the node that serves, 0 on a standby.",
        {n.address: n.address == view.primary for n in nodes},
    )
    yield _by_node(
        "twistlock_ha_node_up",
        "1 while the node's database is PRIMARY or SECONDARY.",
        {n.address: n.state in HEALTHY_STATES for n in nodes},
    )
    yield _by_node(
        "twistlock_ha_lag_seconds",
        "How far a node's database is behind the most recent one.",
        {n.address: n.lag_seconds for n in nodes if n.lag_seconds is not None},
    )
    yield GaugeMetricFamily(
        "twistlock_ha_epoch",
        "Grows by one with each change of the node that serves.",
        value=view.epoch,
    )
    yield GaugeMetricFamily(
        "twistlock_ha_failures_survived",
        "How many more nodes may fail before none serves.",
        value=view.failures_survived,
    )
    yield _failover_metric(view.history)


def _failover_metric(history: Iterable[RoleChangeResponse]) -> Metric:
    family = GaugeMetricFamily(
        "twistlock_ha_failover_seconds",
        "How long each phase of the latest failover took.",
        labels=["phase"],
    )
    # Ports that only closed and opened again were no failover, and have no phases.
    failovers = (change.phases for change in history if change.after == Role.PRIMARY)
    for phase, seconds in next(filter(None, failovers), {}).items():
        family.add_metric([phase], seconds)
    return family


def _ports_metric(ports: ServicePorts) -> Metric:
    running = ports.pids()
    family = GaugeMetricFamily(
        "twistlock_ha_ports_open",
        "1 while the server of these ports runs on the node that serves.",
        labels=["server"],
    )
    for server in ("management", "defenders"):
        family.add_metric([server], server in running)
    return family


def _by_node(name: str, about: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, about, labels=["node"])
    for address, value in values.items():
        family.add_metric([address], float(value))
    return family


def cluster_sources(
    view: Callable[[], ClusterResponse], client_of: Callable[[str], NodeClient]
) -> list[ProblemSource]:
    """Return the problem sources of the serving node.

    *view* returns the cluster as this node sees it, *client_of* a client of the node
    API at an address.
    """

    def cluster(database: Db, settings: AlertSettings) -> Iterable[Problem]:
        del database
        return problems_in(view(), settings.threshold(MEMBER_LAG))

    def certificates(database: Db, settings: AlertSettings) -> Iterable[Problem]:
        del database, settings
        for node in view().nodes:
            if not node.self and node.state is not NodeState.REQUEST_JOIN:
                yield from _certificate(client_of, node.address)

    return [
        ProblemSource(frozenset({NODE_LOST.name, MEMBER_LAG.name}), cluster),
        ProblemSource(frozenset({CoreAlertKind.CERTIFICATE_END}), certificates),
    ]


def problems_in(view: ClusterResponse, max_lag_s: float) -> Iterable[Problem]:
    """Yield the problems in *view*; a member may lag *max_lag_s* seconds."""
    for node in view.nodes:
        address, lag = node.address, node.lag_seconds
        if node.state is NodeState.UNAVAILABLE:
            sentence = f"the node {address} is lost: {node.reason}"
            yield Problem(NODE_LOST.name, address, sentence)
        elif lag is not None and lag > max_lag_s:
            sentence = f"the database of {address} is {lag:.0f} s behind"
            yield Problem(MEMBER_LAG.name, address, sentence)


def _certificate(
    client_of: Callable[[str], NodeClient], address: str
) -> Iterable[Problem]:
    with client_of(address) as client:
        return certificate_problems(address, client.get("/v1/status")["failing"])
