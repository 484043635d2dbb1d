"""Metrics of high availability: those of the brain, and two from the database."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from flask import Flask
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from pymongo.database import Database

from plugins.ha.web import node_client
from twistlock_console.backups.format.naming import Kind
from twistlock_console.backups.jobs.records import last_results
from twistlock_console.web.actions.metrics import age_seconds, gauge
from twistlock_console.web.common.database import storage_of


def collect(app: Flask) -> Iterable[Metric]:
    """Ask the brain; raises NodeUnreachable when it does not answer."""
    database = storage_of(app).database()
    yield gauge(
        "twistlock_ha_defenders_connected",
        "Defenders that are connected to the node that serves.",
        database["defenders"].count_documents({"connected": True}),
    )
    if since := latest_backup(database):
        yield gauge(
            "twistlock_ha_backup_age_seconds",
            "How long ago a backup was made last.",
            age_seconds(since),
        )
    yield from text_string_to_metric_families(node_client.measured())


def latest_backup(database: Database[dict[str, Any]]) -> datetime | None:
    """When a backup of any kind was made last; None before the first."""
    results = last_results(database)
    kinds = [kind for kind in (*Kind, "manual") if kind in results]
    made = [results[kind].get("succeeded") for kind in kinds]
    return max((time for time in made if time), default=None)
