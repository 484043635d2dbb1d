"""Metrics of high availability: those of the brain, and one from the database."""

from collections.abc import Iterable

from flask import Flask
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from plugins.ha.web import brain
from twistlock_console.web.metrics import gauge
from twistlock_console.web.storage import storage_of


def collect(app: Flask) -> Iterable[Metric]:
    """Ask the brain; raises NodeUnreachable when it does not answer."""
    database = storage_of(app).database()
    yield gauge(
        "twistlock_ha_defenders_connected",
        "Defenders that are connected to the node that serves.",
        database["defenders"].count_documents({"connected": True}),
    )
    yield from text_string_to_metric_families(brain.measured())
