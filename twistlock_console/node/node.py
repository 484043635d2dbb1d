"""One node: start and stop its database, node API, service ports, bus and jobs.

A role controller decides when the ports open: that of a plugin, or that of a
Console that runs alone.
"""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from pymongo.errors import PyMongoError

from twistlock_console import __version__
from twistlock_console.alerts.monitor import AlertMonitor, core_sources
from twistlock_console.backups.jobs.routes import node_routes
from twistlock_console.backups.jobs.runtime import Backups
from twistlock_console.certificate_renewal.names import ExtraNamesReader
from twistlock_console.certificate_renewal.renewal import (
    NodeCertificateRenewer,
    RenewedCertificate,
)
from twistlock_console.certificate_renewal.trust_migration import (
    PATH as TRUST_PHASE_PATH,
)
from twistlock_console.certificate_renewal.trust_migration import (
    TrustMigration,
)
from twistlock_console.common.errors import ConsoleError
from twistlock_console.database.bootstrap import wait_until_answering
from twistlock_console.database.client import connect, credentials_for
from twistlock_console.database.mongod import Mongod
from twistlock_console.events.bus import Bus
from twistlock_console.events.types import Role, RoleChanged
from twistlock_console.logs import setup
from twistlock_console.logs.setup import LOG_CONTEXT
from twistlock_console.node.cluster_poll import ClusterPoll
from twistlock_console.node.context import NodeContext, RoleController
from twistlock_console.node.health import CoreChecks, Health
from twistlock_console.node_api.server import NodeApi, node_app
from twistlock_console.pki.identity_files import names_in
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings
from twistlock_console.stored_formats import upgrade_if_needed
from twistlock_console.support.bundle import Support
from twistlock_console.system.scheduler import Scheduler
from twistlock_console.system.serving_permit import Permit
from twistlock_console.web.lists.registry import ensure_indexes

DATABASE_START_TIMEOUT_S = 60.0
#: A release that adds an index to a large collection builds it once.
INDEX_TIMEOUT_MS = 30 * 60 * 1000
CERTIFICATE_CHECK_INTERVAL_S = 2.0
HANDSHAKE_CHECK_INTERVAL_S = 2.0
log = logging.getLogger(__name__)


class Node:
    """Composes the parts that every node has; *start* and *stop* are idempotent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bus = Bus()
        self.scheduler = Scheduler()
        self.cluster_poll = ClusterPoll(settings, self.bus)
        self.permit = Permit()
        LOG_CONTEXT.epoch = lambda: self.permit.epoch
        self.mongod = Mongod(settings, self.bus)
        self.ports = ServicePorts(
            settings, self.permit, self.bus, prepare=self._before_serving
        )
        self.node_api = node_app()
        self.health = Health(self.scheduler, self.bus)
        self.backups = Backups(
            settings, self.ports, self.permit, self.bus, self.scheduler, self.health
        )
        self.renewal = NodeCertificateRenewer(settings)
        self.trust_migration = TrustMigration(settings, self.renewal)
        self.support = Support(settings, self.status)
        self.names = ExtraNamesReader(settings)
        self.renewal.more_names = self.names.read
        self.watch = AlertMonitor(settings)
        self.watch.sources += core_sources(settings.node_address, self.health.failing)
        self._api = NodeApi(settings, self.node_api)
        self._controller: RoleController | None = None
        self._is_started = False

    @property
    def context(self) -> NodeContext:
        """Return the parts that plugins may use."""
        return NodeContext(
            settings=self.settings,
            bus=self.bus,
            scheduler=self.scheduler,
            health=self.health,
            database=self.mongod,
            service_ports=self.ports,
            permit=self.permit,
            node_api=self.node_api,
            reserve_slots=self._api.reserve_slots,
            support=self.support,
            alerts=self.watch,
            cluster_poll=self.cluster_poll,
            trust_migration=self.trust_migration,
        )

    def _before_serving(self) -> None:
        """Complete a restore and upgrade the data; raise DatabaseError.

        Called while the ports are closed.
        """
        self.backups.before_serving()
        upgrade_if_needed(self.backups.database)

    def _prepare_database(self, change: RoleChanged) -> None:
        """Create missing indexes in the background, on a primary."""
        if change.new is Role.PRIMARY:
            threading.Thread(target=self._ensure_indexes, daemon=True).start()

    def _ensure_indexes(self) -> None:
        credentials = credentials_for(self.settings, "console")
        client = connect(
            self.settings, credentials, app_name="indexes", timeout_ms=INDEX_TIMEOUT_MS
        )
        with client:
            try:
                ensure_indexes(client["twistlock"])
            except PyMongoError as error:
                log.warning("indexes are missing until the next start: %s", error)

    def start_database(self, is_cancelled: Callable[[], bool]) -> None:
        """Start mongod and wait until it answers; `Mongod` restarts one that fails.

        Args:
            is_cancelled: Returns whether to stop waiting.

        Raises:
            DatabaseError: It failed, did not answer in time, or *is_cancelled*.

        """
        self.mongod.start()
        failures = self.mongod.failures

        def has_failed() -> bool:
            return is_cancelled() or self.mongod.failures > failures

        wait_until_answering(
            self.settings,
            DATABASE_START_TIMEOUT_S,
            self.mongod,
            is_cancelled=has_failed,
        )

    def open_api(self) -> None:
        """Open the node API, which also answers while the database does not.

        So the other nodes and the command line can read the reason.
        """
        self._add_jobs()
        self._add_routes()
        self._api.open()

    def start(self, controller: RoleController | None) -> None:
        """Start *controller* and the jobs, each once; call it after `open_api`.

        Without a controller the service ports stay closed until there is one.
        """
        if controller is not None and self._controller is None:
            self._controller = controller
            controller.start()
        if not self._is_started:
            self._is_started = True
            self.scheduler.start()
            log.info("node %s started", self.settings.node_address)

    def _add_jobs(self) -> None:
        self.bus.subscribe(RoleChanged, self._prepare_database)
        self.bus.subscribe(RoleChanged, self.watch.on_role_changed)
        CoreChecks(self.settings, self.mongod, self.ports).add_to(self.health)
        self.scheduler.every(2.0, "server-checks", self.ports.checks.run)
        self.scheduler.every(60.0, "log-rotation", self.mongod.rotate)
        rotate_own = partial(setup.rotate_log, self.settings.folders)
        self.scheduler.every(60.0, "console-log-rotation", rotate_own)
        poll = self.cluster_poll
        self.scheduler.every(poll.interval_s, "cluster-poll", poll.poll)
        self.backups.start()
        self.scheduler.every(
            CERTIFICATE_CHECK_INTERVAL_S, "renewal", self.renewal.renew_if_due
        )
        advance = self.trust_migration.advance
        self.scheduler.every(CERTIFICATE_CHECK_INTERVAL_S, "trust-phase", advance)
        close_silent = self.mongod.close_silent_connections
        self.scheduler.every(HANDSHAKE_CHECK_INTERVAL_S, "handshakes", close_silent)

    def _add_routes(self) -> None:
        self.node_api.register_blueprint(
            node_routes(self.settings, self.ports, self.health, self.backups)
        )
        self.node_api.add_url_rule("/v1/status", view_func=self.status)
        self.node_api.add_url_rule("/v1/support", view_func=self.support.collect)
        self.node_api.add_url_rule(
            "/v1/certificates/renew", view_func=self.renew_certificate, methods=["POST"]
        )
        self.node_api.add_url_rule(TRUST_PHASE_PATH, view_func=self.trust_phase)

    def status(self) -> dict[str, object]:
        """Return the state of this node, for `twistlock-console status`."""
        return {
            "address": self.settings.node_address,
            "version": __version__,
            "running": True,
            "ready": self.mongod.is_prepared,
            "serving": self.ports.is_open,
            "epoch": self.permit.epoch,
            "pid": os.getpid(),
            "pids": {"mongod": self.mongod.pid, **self.ports.pids()},
            "certificateExpires": self.renewal.expires(),
            "failing": dict(self.health.failing),
        }

    def trust_phase(self) -> dict[str, object]:
        """Return the settled phase of the trust migration, for the other nodes."""
        return {"phase": int(self.trust_migration.settled_phase())}

    def renew_certificate(self) -> dict[str, object]:
        """Renew this node's certificate, for `twistlock-console certs renew`."""
        certificate = self.renewal.renew("on request")
        expires = certificate.not_valid_after_utc.isoformat(timespec="seconds")
        return asdict(RenewedCertificate(sorted(names_in(certificate)), expires))

    def stop(self, controller: RoleController | None) -> None:
        """Stop everything, the role first; continue when a step fails."""
        for step in (
            self.scheduler.stop,
            self.watch.stop,
            self.names.close,
            self.backups.stop,
            controller.stop if controller else self.permit.revoke,
            self.ports.close_all,
            self.cluster_poll.close,
            self._api.close,
            self.mongod.stop,
        ):
            try:
                step()
            except ConsoleError as error:
                log.error("a step of the shutdown failed: %s", error)  # noqa: TRY400
        log.info("node %s stopped", self.settings.node_address)
