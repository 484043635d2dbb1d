"""Extend the Console's own pages and metrics: the takeover banner, and HA metrics.

A web process serves under one epoch: once the record of its takeover is there, the
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
    """Asks this node until the record of this epoch is there, once a second."""

    def __init__(self) -> None:
        self._banners: tuple[Banner, ...] | None = None
        self._next_request_at = 0

    def banners(self) -> Iterable[Banner]:
        """Give the banner; nothing after a first start, or while none is known."""
        if self._banners is None and clock.boottime_ns() >= self._next_request_at:
            self._next_request_at = clock.boottime_ns() + RETRY_NS
            self._banners = _load_banners()
        return self._banners or ()


def init_app(app: Flask) -> None:
    """Add the takeover banner and the metrics."""
    add_collector(app, _collect)
    app.extensions["ha_failover_banner"] = FailoverBanner()
    add_banners(app, _banners)


def _banners() -> Iterable[Banner]:
    return cast(FailoverBanner, current_app.extensions["ha_failover_banner"]).banners()


def _load_banners() -> tuple[Banner, ...] | None:
    """Give what there is to tell; None while the record has not been stored yet."""
    try:
        cluster = node_client.get_cluster()
    except ConsoleError as error:
        log.debug("no record of a takeover: %s", error)
        return None
    failover = latest_failover(cluster.history)
    if failover is None or failover.epoch != cluster.epoch:
        return None
    sentence = failover_sentence(cluster.history)
    return (Banner(f"takeover-{failover.epoch}", sentence),) if sentence else ()


def _collect(app: Flask) -> Iterable[Metric]:
    """Ask this node; raises NodeUnreachable when it does not answer."""
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
    """Return when a backup of any kind was made last; None before the first."""
    results = last_results(database)
    kinds = [kind for kind in (*BackupKind, "manual") if kind in results]
    made = [results[kind].succeeded for kind in kinds]
    return max((time for time in made if time), default=None)
