"""Metrics for Prometheus, and the log of the node that answers.

Collectors run when metrics are requested. Counters begin at 0 with the process that
counts, as Prometheus expects; one process answers at a time.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import cast

from flask import Flask, current_app, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from pydantic import BaseModel, Field
from pymongo.errors import PyMongoError
from werkzeug.local import LocalProxy

from twistlock_console import __version__
from twistlock_console.alerts.store import ALERTS, QUEUE
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.common.request_limits import SERVER_LOAD, ServerLoad
from twistlock_console.database.client import Db
from twistlock_console.logs.reader import MAX_LINES, LogLine, read_latest_lines
from twistlock_console.pki.identity_files import NODE, load_certificate
from twistlock_console.settings import Settings
from twistlock_console.web.common.database import current_settings, storage_of
from twistlock_console.web.lists.query import parse_up_to

Collect = Callable[[Flask], Iterable[Metric]]
log = logging.getLogger(__name__)
DEFAULT_LINES = 100


class ApiRequests:
    """Counts the API requests of this process; all request threads use it."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = Lock()

    def count_request(self) -> None:
        """Count this request if it is one of the API."""
        if request.path.startswith("/api/"):
            with self._lock:
                self.count += 1


def init_app(app: Flask) -> None:
    """Register the count of API requests and the collector of the Console."""
    counter = app.extensions["api_requests"] = ApiRequests()
    app.before_request(counter.count_request)
    add_collector(app, console_metrics)


def add_collector(app: Flask, collect: Collect) -> None:
    """Add a collector of metrics; a ConsoleError from it skips its metrics."""
    app.extensions.setdefault("collectors", []).append(collect)


def render_metrics() -> bytes:
    """Return the metrics of every collector in Prometheus' text format.

    A collector that fails is left out.
    """
    registry = CollectorRegistry(auto_describe=False)
    app = cast("LocalProxy[Flask]", current_app)._get_current_object()
    for collect in app.extensions["collectors"]:
        registry.register(_AppCollector(app, collect))
    return generate_latest(registry)


class _AppCollector:
    """Adapter of a collector to the interface of prometheus_client."""

    def __init__(self, app: Flask, collect: Collect) -> None:
        self._app = app
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; log a failure and return none."""
        try:
            return list(self._collect(self._app))
        except (ConsoleError, PyMongoError) as error:
            log.warning("some metrics cannot be collected: %s", error)
            return []


def console_metrics(app: Flask) -> Iterable[Metric]:
    """Yield the metrics of the Console without any plugin."""
    settings = cast(Settings, app.extensions["settings"])
    ends = load_certificate(settings.folders.certificates / NODE).not_valid_after_utc
    database = storage_of(app).database()
    count = database["defender_counters"].find_one({"_id": "console"}) or {}
    yield version_metric()
    yield gauge(
        "twistlock_certificate_end_timestamp_seconds",
        "When the certificate of the node that serves ends, in Unix time.",
        ends.timestamp(),
    )
    load = cast(ServerLoad, request.environ.get(SERVER_LOAD, ServerLoad()))
    yield untyped(
        "twistlock_api_requests",
        "API requests answered, since this node began to serve.",
        app.extensions["api_requests"].count + load.pings,
    )
    yield from load_metrics(load)
    yield untyped(
        "twistlock_defender_events",
        "Events of Defenders stored, in all.",
        count.get("stored", 0),
    )
    yield untyped(
        "twistlock_defender_events_dropped",
        "Events of Defenders that were over their quota and are not stored, in all.",
        count.get("dropped", 0),
    )
    yield from defender_metrics(database)
    yield from alert_metrics(database)


def load_metrics(load: ServerLoad) -> Iterable[Metric]:
    """Yield the load of the management server."""
    prefix = "twistlock_management"
    threads = f"{prefix}_threads"
    yield gauge(threads, "Threads that answer requests.", load.threads)
    busy = f"{prefix}_threads_busy"
    yield gauge(busy, "Threads that answer a request now.", load.busy_threads)
    waiting = f"{prefix}_requests_waiting"
    yield gauge(waiting, "Requests that wait for a thread.", load.waiting_requests)
    logins = f"{prefix}_logins_waiting"
    yield gauge(logins, "Logins that wait for a thread.", load.waiting_logins)
    connections = f"{prefix}_connections"
    yield gauge(connections, "Connections of clients.", load.connections)
    most = f"{prefix}_connections_limit"
    yield gauge(most, "Maximum number of connections.", load.max_connections)
    yield CounterMetricFamily(
        f"{prefix}_connections_refused",
        "Connections closed or refused because there were too many.",
        value=load.refused_connections,
    )
    yield CounterMetricFamily(
        f"{prefix}_requests_refused",
        "Requests refused because there were too many, or they were not valid.",
        value=load.refused_requests,
    )
    yield CounterMetricFamily(
        f"{prefix}_requests_timed_out",
        "Requests that did not arrive, and answers that were not taken, in time.",
        value=load.timed_out_requests,
    )


def defender_metrics(database: Db) -> Iterable[Metric]:
    """Yield the number of Defenders, and of those that are connected."""
    defenders = database["defenders"]
    yield gauge(
        "twistlock_total_defenders",
        "Defenders that are connected to the Console.",
        defenders.count_documents({"connected": True}),
    )
    yield gauge(
        "twistlock_active_defenders",
        "Defenders that the Console knows, connected or not.",
        defenders.estimated_document_count(),
    )


def alert_metrics(database: Db) -> Iterable[Metric]:
    """Yield the number of open alerts, and of alerts waiting to be sent."""
    yield gauge(
        "twistlock_alerts_open",
        "Problems for which alerts were sent and that are not over.",
        database[ALERTS].count_documents({"open": True}),
    )
    yield gauge(
        "twistlock_alerts_waiting",
        "Alerts that a webhook or a syslog server has not taken yet.",
        database[QUEUE].estimated_document_count(),
    )


def version_metric() -> Metric:
    """Return a metric whose label is the release."""
    family = GaugeMetricFamily("twistlock_info", "The release.", labels=["version"])
    family.add_metric([__version__], 1)
    return family


def gauge(name: str, description: str, value: float) -> Metric:
    """Return a gauge with one value."""
    return GaugeMetricFamily(name, description, value=value)


def untyped(name: str, description: str, value: float) -> Metric:
    """Return a counter without a type: its public name lacks the ending `_total`."""
    return UnknownMetricFamily(name, description, value=value)


def age_seconds(since: datetime) -> float:
    """Return the seconds since *since*; 0 for a time in the future."""
    return max(0.0, (datetime.now(UTC) - since).total_seconds())


class LinesQuery(BaseModel):
    """Number of lines to return; a larger number than 2,000 means 2,000."""

    lines: int = Field(DEFAULT_LINES, ge=1)


def requested_line_count(given: Mapping[str, str]) -> int:
    """Return the number of lines in a query string; raises Refused."""
    text = given.get("lines", "") or str(DEFAULT_LINES)
    if not (count := parse_up_to(text, MAX_LINES)):
        raise Refused(
            f"lines: give a whole number from 1; at most {MAX_LINES} are returned"
        )
    return count


def read_requested_lines(given: Mapping[str, str]) -> list[LogLine]:
    """Return the latest lines of the log, as many as a query string asks for.

    Raises:
        Refused: the number is invalid, or the log cannot be read.
    """
    count = requested_line_count(given)
    settings = current_settings()
    try:
        return read_latest_lines(settings.folders, count)
    except OSError as error:
        raise Refused(f"the log cannot be read: {error.strerror}") from error
