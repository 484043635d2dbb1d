"""Execute the actions of a decision, and report their outcome.

Three worker threads, one kind of action each: a database that hangs never keeps a port
open, and a slow port never delays the renewal of the lease. Each action calls the
database or the ports once, and returns the transition of the observation.
"""

import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from plugins.ha.consensus import transitions
from plugins.ha.consensus.lease import REQUEST_FRACTION, LeaseDocument
from plugins.ha.consensus.state import (
    AcquireLease,
    Action,
    ClosePorts,
    Observation,
    OpenPorts,
    ReadLease,
    ReleaseLease,
    RenewLease,
    RenounceLease,
    ReopenServers,
    StepDown,
    StepUp,
    TransferRole,
    Update,
)
from plugins.ha.consensus.transitions import ServerFailure
from plugins.ha.replication.collections import LeaseStore
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError, DatabaseError
from twistlock_console.events.types import ListenerFailed
from twistlock_console.node_api.client import NodeClient
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.system.processes import abort_process

DRAIN_GRACE_S = 1.0
STEP_UP_PATH = "/v1/ha/step-up"
log = logging.getLogger(__name__)


class ActionExecutor:
    """Executes actions: those of *lease*, *ports* and *steps* in a thread each."""

    def __init__(
        self,
        lease: "LeaseActions",
        ports: "PortActions",
        steps: "ElectionActions",
    ) -> None:
        self._lease = lease
        self._ports = ports
        self._steps = steps
        self._lease_worker = ThreadPoolExecutor(1, "lease")
        self._port_worker = ThreadPoolExecutor(1, "ports")
        self._step_worker = ThreadPoolExecutor(1, "steps")

    def execute(self, action: Action, submit: Callable[[Update], None]) -> None:
        """Start *action* on its worker; *submit* gets the transition when it ended."""

        def run() -> None:
            try:
                submit(self._do(action))
            except Exception:
                # The action would count as pending for ever. A restart is faster, and
                # another node takes over meanwhile.
                abort_process(f"unexpected error in {action}")

        self._worker(action).submit(run)

    def stop(self) -> None:
        """Accept no more actions, and do not wait for the running ones."""
        for worker in (self._lease_worker, self._port_worker, self._step_worker):
            worker.shutdown(wait=False, cancel_futures=True)

    def _worker(self, action: Action) -> ThreadPoolExecutor:
        match action:
            case OpenPorts() | ReopenServers() | ClosePorts():
                return self._port_worker
            case StepDown() | StepUp() | TransferRole():
                return self._step_worker
            case _:
                return self._lease_worker

    def _do(self, action: Action) -> Update:  # noqa: C901, PLR0911  a table
        match action:
            case ReadLease():
                return self._lease.read()
            case AcquireLease(expected, ttl):
                return self._lease.acquire(expected, ttl)
            case RenewLease(expected, ttl):
                return self._lease.renew(expected, ttl)
            case ReleaseLease(expected):
                return self._lease.release(expected)
            case OpenPorts():
                return self._ports.open()
            case ReopenServers():
                return self._ports.reopen()
            case ClosePorts(drain):
                return self._ports.close(drain=drain)
            case TransferRole(expected, target):
                self._lease.release(expected)
                return self._steps.step_down(target)
            case StepDown():
                return self._steps.step_down(None)
            case StepUp():
                return self._steps.step_up()
            case RenounceLease():
                return lambda observation: observation


class LeaseActions:
    """Reads and writes the lease in *store*, for the node at *self_address*.

    *ttl* is in nanoseconds. *observe_write* is called with the seconds of each write
    that a majority acknowledged. Only the lease worker uses it.
    """

    def __init__(
        self,
        self_address: str,
        ttl: int,
        store: LeaseStore,
        observe_write: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._me = self_address
        self._ttl = ttl
        self._store = store
        self._observe_write = observe_write

    def read(self) -> Update:
        """Read the lease from our own member."""
        try:
            document = self._store.read(self._timeout_s)
        except DatabaseError as error:
            log.debug("%s", error)
            return transitions.lease_request_finished
        now = boottime_ns()

        def update(observation: Observation) -> Observation:
            read = transitions.lease_observed(observation, document, now)
            return transitions.lease_request_finished(read)

        return update

    def acquire(self, expected: LeaseDocument, ttl: int) -> Update:
        """Acquire the lease with a new epoch for *ttl*, if it is still *expected*."""
        acquired = expected.acquired_by(self._me, ttl, secrets.token_hex(8))
        return self._write(expected, acquired)

    def renew(self, expected: LeaseDocument, ttl: int) -> Update:
        """Renew the lease of this node for *ttl*, if it is still *expected*."""
        return self._write(expected, expected.renewed(ttl))

    def release(self, expected: LeaseDocument) -> Update:
        """Mark the lease as released; if that fails, it expires by itself."""
        try:
            self._store.replace(expected, expected.as_released(), self._timeout_s)
        except DatabaseError as error:
            log.info("releasing the lease failed, it expires by itself: %s", error)
        return lambda observation: observation

    def _write(self, expected: LeaseDocument, wanted: LeaseDocument) -> Update:
        sent_at, self._ttl = boottime_ns(), wanted.ttl
        try:
            stored = self._store.replace(expected, wanted, self._timeout_s)
        except DatabaseError as error:
            log.info("%s", error)
            stored = False
        now = boottime_ns()
        if not stored:
            # It may have been stored all the same: read the lease as it is now.
            read = self.read()
            return lambda observation: read(
                transitions.lease_write_failed(observation, sent_at, now)
            )
        self._observe_write((now - sent_at) / SECOND)

        def update(observation: Observation) -> Observation:
            held = transitions.lease_acknowledged(observation, wanted, sent_at, now)
            return transitions.lease_request_finished(held)

        return update

    @property
    def _timeout_s(self) -> float:
        """Return the timeout of one request."""
        return self._ttl / SECOND * REQUEST_FRACTION


class ElectionActions:
    """Steps the member of *replica_set* up or down.

    *client_of* returns a client of the node API at an address.
    """

    def __init__(
        self, replica_set: ReplicaSet, client_of: Callable[[str], NodeClient]
    ) -> None:
        self._replica_set = replica_set
        self._client_of = client_of

    def step_up(self) -> Update:
        """Make our member stand for election."""
        try:
            self._replica_set.step_up()
        except ConsoleError as error:
            log.info("not elected: %s", error)
        return _step_finished()

    def step_down(self, target: str | None) -> Update:
        """Step our member down, in favour of *target* if one is named."""
        try:
            if target is None or not self._elect_peer(target):
                self._step_down()
        except ConsoleError as error:
            log.warning(
                "stepping down failed, our member may still be primary: %s", error
            )
        return _step_finished()

    def _step_down(self) -> None:
        """Step down; end operations that block it for too long, and try once more."""
        try:
            self._replica_set.step_down()
        except ConsoleError as error:
            if not self._replica_set.kill_pending_step_downs():
                raise
            log.warning("stepping our member down again: %s", error)
            self._replica_set.step_down()

    def _elect_peer(self, target: str) -> bool:
        """Make *target* stand for election; our member follows its higher term."""
        try:
            with self._client_of(target) as client:
                client.post(STEP_UP_PATH)
        except ConsoleError as error:
            log.warning("%s did not take over: %s", target, error)
            return False
        return True


def _step_finished() -> Update:
    now = boottime_ns()
    return lambda observation: transitions.election_step_finished(observation, now)


class PortActions:
    """Opens and closes the service *ports*."""

    def __init__(self, ports: ServicePorts) -> None:
        self._ports = ports

    def open(self) -> Update:
        """Open the ports and check that they answer.

        A server that fails is reported through `server_failed`, like one that ended.
        """
        try:
            self._ports.open_all()
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the message says it all
            if not self._ports.is_open:
                return _server_failed(
                    ServerFailure("every server", str(error)), others_run=False
                )
        self._ports.checks.require_answers()
        return transitions.ports_opened

    def reopen(self) -> Update:
        """Open the closed servers; the others go on."""
        try:
            self._ports.open_all()
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the message says it all
        self._ports.checks.require_answers()
        closed = self._ports.closed()
        return lambda observation: transitions.servers_reopened(observation, closed)

    def server_failed(self, failure: ListenerFailed) -> Update:
        """Return the transition for a server that ended, or could not be opened."""
        found = ServerFailure(failure.name, failure.reason)
        return _server_failed(found, others_run=self._ports.is_open)

    def poll_servers(self) -> Update:
        """Return the transition for the servers that are closed when it is applied."""
        now, ports = boottime_ns(), self._ports
        return lambda observation: transitions.servers_polled(
            observation, ports.closed(), now
        )

    def close(self, *, drain: bool) -> Update:
        """Close the ports; *drain* lets requests in flight finish in DRAIN_GRACE_S.

        While a port still answers the node acquires no lease, and closes again.
        """
        try:
            self._ports.close_all(grace=DRAIN_GRACE_S if drain else 0.0)
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the message says it all
            now = boottime_ns()
            return lambda observation: transitions.ports_close_failed(observation, now)
        return transitions.ports_closed


def _server_failed(failure: ServerFailure, *, others_run: bool) -> Update:
    now = boottime_ns()
    return lambda observation: transitions.server_failed(
        observation, failure, now, others_run=others_run
    )
