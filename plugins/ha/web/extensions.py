"""Extend the Console's own pages and metrics: the failover banner, and HA metrics.

A web process serves under one epoch: once the record of its failover is stored, the
banner stays.
"""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import cast

from flask import Flask, current_app
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from pymongo.database import Database

from plugins.ha.replication.collections import Document
from plugins.ha.web import node_client
from plugins.ha.web.timeline import failover_sentence, latest_failover
from twistlock_console.backups.format.manifest import BackupKind
from twistlock_console.backups.jobs.service import last_results
from twistlock_console.common import clock
from twistlock_console.common.errors import ConsoleError
from twistlock_console.web.actions.monitoring import add_collector, age_seconds, gauge
from twistlock_console.web.common.database import storage_of
from twistlock_console.web.ui.layout import Banner, add_banners

RETRY_NS = clock.SECOND
log = logging.getLogger(__name__)


class FailoverBanner:
    """Provides the banner; polls this node once a second until the record is stored."""

    def __init__(self) -> None:
        self._banners: tuple[Banner, ...] | None = None
        self._next_request_at = 0

    def banners(self) -> Iterable[Banner]:
        """Return the banner, if the record of a failover is stored."""
        if self._banners is None and clock.boottime_ns() >= self._next_request_at:
            self._next_request_at = clock.boottime_ns() + RETRY_NS
            self._banners = _load_banners()
        return self._banners or ()


def init_app(app: Flask) -> None:
    """Register the failover banner and the metrics."""
    add_collector(app, _collect)
    app.extensions["ha_failover_banner"] = FailoverBanner()
    add_banners(app, _banners)


def _banners() -> Iterable[Banner]:
    return cast(FailoverBanner, current_app.extensions["ha_failover_banner"]).banners()


def _load_banners() -> tuple[Banner, ...] | None:
    """Return the banners to show; None while the record is not stored yet."""
    try:
        cluster = node_client.get_cluster()
    except ConsoleError as error:
        log.debug("reading the record of the failover failed: %s", error)
        return None
    failover = latest_failover(cluster.history)
    if failover is None or failover.epoch != cluster.epoch:
        return None
    sentence = failover_sentence(cluster.history)
    return (Banner(f"takeover-{failover.epoch}", sentence),) if sentence else ()


def _collect(app: Flask) -> Iterable[Metric]:
    """Yield the metrics; raises NodeUnreachable if this node does not answer."""
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
    yield from text_string_to_metric_families(node_client.get_metrics())


def latest_backup(database: Database[Document]) -> datetime | None:
    """Return when the last backup of any kind was made; None before the first."""
    results = last_results(database)
    kinds = [kind for kind in (*BackupKind, "manual") if kind in results]
    made = [results[kind].succeeded for kind in kinds]
    return max((time for time in made if time), default=None)
