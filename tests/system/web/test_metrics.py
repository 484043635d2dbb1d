"""Rules of metrics: a setting enables them, they are complete, and never fail."""

import re
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from plugins.ha.replication.member_state import NodeState
from plugins.ha.reporting.monitoring import HaMetrics, cluster_metrics
from tests.ha.messages import cluster, node, role_change
from tests.web.web_visitor import Visitor, basic
from twistlock_console.common.errors import NodeUnreachable
from twistlock_console.events.bus import Bus
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit
from twistlock_console.web.actions.monitoring import add_collector, gauge
from twistlock_console.web.common.database import storage_of

PATH = "/api/v1/metrics"
LOGGING = "/api/v1/settings/logging"
DOCS = Path(__file__).parents[3] / "docs" / "alerts-and-metrics.md"
NODES = [
    node("10.0.0.1", NodeState.PRIMARY, lagSeconds=0.0),
    node("10.0.0.2", NodeState.SECONDARY, lagSeconds=1.5),
    node("10.0.0.3", NodeState.UNAVAILABLE),
]
HISTORY = [
    role_change("10.0.0.1", "primary"),
    role_change("10.0.0.1", "standby"),
    role_change("10.0.0.1", "primary", phases={"elected": 0.2, "lease": 0.1}),
]
VIEW = cluster(NODES, HISTORY, primary="10.0.0.1")


def switched_on(admin: Visitor) -> dict[str, float]:
    """Enable metrics and return the samples: values by name and labels."""
    admin.call(LOGGING, {"enableMetricsCollection": True}, Authorization=basic())
    answer = admin.get(PATH, Authorization=basic())
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return samples(answer.get_data(as_text=True))


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{''.join(sorted(sample.labels.values()))}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_off_until_switched_on(admin: Visitor) -> None:
    """The answer says where to switch them on."""
    answer = admin.get(PATH, Authorization=basic())

    assert answer.status_code == 404
    assert "Manage > Alerts > Logging" in answer.get_json()["err"]


def test_metrics_of_the_console(admin: Visitor, app: Flask) -> None:
    """Connected and known Defenders, events and requests have the product's names."""
    database = storage_of(app).database()
    database["defenders"].insert_many(
        [{"_id": str(n), "connected": n > 0} for n in range(3)]
    )
    database["defender_counters"].insert_one({"_id": "console", "stored": 12})
    first = switched_on(admin)
    second = switched_on(admin)

    assert first["twistlock_total_defenders"] == 2
    assert first["twistlock_active_defenders"] == 3
    assert first["twistlock_defender_events"] == 12
    assert first["twistlock_alerts_open"] == first["twistlock_alerts_waiting"] == 0
    grown = second["twistlock_api_requests"] - first["twistlock_api_requests"]
    assert grown == 2


def test_a_failed_collector_is_left_out(admin: Visitor, app: Flask) -> None:
    """The metrics of the other collectors are returned."""

    def silent(_app: Flask) -> list[Metric]:
        raise NodeUnreachable("the node API does not answer")

    app.extensions["collectors"].insert(0, silent)
    add_collector(app, lambda _app: [gauge("twistlock_more", "More.", 4)])

    values = switched_on(admin)

    assert values["twistlock_more"] == 4
    assert "twistlock_total_defenders" in values


@pytest.fixture
def measures(running: Settings) -> HaMetrics:
    return HaMetrics(ServicePorts(running, Permit(), Bus()))


def test_metrics_of_all_nodes_of_the_cluster(measures: HaMetrics) -> None:
    """Role, health, lag, epoch, phases of the latest failover, and lease writes."""
    measures.majority_write.observe(0.004)

    values = samples(measures.text(VIEW))

    assert values["twistlock_ha_role10.0.0.1"] == 1
    assert values["twistlock_ha_role10.0.0.2"] == 0
    assert values["twistlock_ha_node_up10.0.0.3"] == 0
    assert values["twistlock_ha_lag_seconds10.0.0.2"] == 1.5
    assert "twistlock_ha_lag_seconds10.0.0.3" not in values
    assert values["twistlock_ha_epoch"] == 7
    assert values["twistlock_ha_failures_survived"] == 1
    assert values["twistlock_ha_failover_secondselected"] == 0.2
    assert values["twistlock_ha_majority_write_seconds_bucket0.005"] == 1
    assert values["twistlock_ha_ports_openmanagement"] == 0


def test_metrics_of_a_cluster_without_history(measures: HaMetrics) -> None:
    """Metrics without a value are left out."""
    view = cluster([])

    names = {family.name for family in cluster_metrics(view) if family.samples}
    assert names == {"twistlock_ha_epoch", "twistlock_ha_failures_survived"}
    assert "twistlock_ha_role{" not in measures.text(view)


def metrics_given(admin: Visitor, measures: HaMetrics) -> set[str]:
    """Return the metric families of the Console with high availability."""
    switched_on(admin)
    text = admin.get(PATH, Authorization=basic()).get_data(as_text=True)
    families = text_string_to_metric_families(text + measures.text(VIEW))
    return {each.name for each in families} | {
        "twistlock_ha_backup_age_seconds",
        "twistlock_ha_defenders_connected",
    }


def test_every_metric_is_documented(admin: Visitor, measures: HaMetrics) -> None:
    """The manual lists every metric and no other."""
    rows = re.findall(r"^\| `(twistlock_\w+)` \|", DOCS.read_text(), re.MULTILINE)

    assert sorted(rows) == sorted(metrics_given(admin, measures))
