"""Command our own member, and watch its role.

`ReplicaSet` is the one place that sends replica-set commands. `MemberMonitor` is a
thread that sits in an awaitable `hello`: MongoDB answers it as soon as the role
changes, which is ten to twenty milliseconds after an election.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from pymongo.errors import PyMongoError

from plugins.ha.consensus import transitions
from plugins.ha.consensus.state import DEAD_MEMBER, Member, Update
from plugins.ha.replication.collections import Client, Document
from plugins.ha.replication.member_state import HelloResponse, SetConfig
from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.events.cluster_status import ClusterStatus

HELLO_AWAIT_MS = 250
RETRY_INTERVAL_S = 0.05
#: For so long our member does not stand again. Short: another failure may follow, for
#: which it is the best standby; long enough for the others, who stand within 0.1 s.
STEP_DOWN_S = 3
log = logging.getLogger(__name__)


class ReplicaSet:
    """Commands to our own member over *client*, a direct connection.

    Every method raises DatabaseError when the member refuses or does not answer
    within the client's timeout.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def status(self) -> ClusterStatus:
        """Return the replica set as our member sees it."""
        return ClusterStatus.from_answer(self.raw_status(), self.config())

    def raw_status(self) -> Document:
        """Return the whole answer of replSetGetStatus."""
        return dict(self._run({"replSetGetStatus": 1}))

    def hello(
        self, after: Mapping[str, object] | None = None, wait_ms: int = 0
    ) -> HelloResponse:
        """Return our member's role; with *after*, await a change for *wait_ms*."""
        command: Document = {"hello": 1}
        if after is not None:
            command |= {"topologyVersion": after, "maxAwaitTimeMS": wait_ms}
        return HelloResponse.from_answer(self._run(command))

    def read_clock(self) -> int:
        """Return the wall clock of our member, in nanoseconds since 1970."""
        local_time: datetime = self._run({"hello": 1})["localTime"]
        return round(local_time.timestamp() * SECOND)

    def step_up(self) -> None:
        """Have our member stand for election now."""
        self._run({"replSetStepUp": 1})

    def step_down(self) -> None:
        """Have our member give up being primary, to the most recent standby."""
        command = {
            "replSetStepDown": STEP_DOWN_S,
            "secondaryCatchUpPeriodSecs": 1,
            "force": True,
        }
        self._run(command)

    def kill_pending_step_downs(self) -> int:
        """End what our member was told to step down by and still waits; say how many.

        It waits by its wall clock: set back meanwhile, that keeps it for as long in
        between, neither primary nor standby, where it hears of no election.
        """
        waiting = {"currentOp": 1, "command.replSetStepDown": {"$exists": True}}
        found = self._run(waiting)["inprog"]
        for operation in found:
            self._run({"killOp": 1, "op": operation["opid"]})
        return len(found)

    def sync_from(self, host: str) -> None:
        """Have our member read the oplog of *host* ("address:port") from now on."""
        self._run({"replSetSyncFrom": host})

    def drop_connections(self, host: str) -> None:
        """Have our member give up what it waits for from *host* ("address:port")."""
        self._run({"dropConnections": 1, "hostAndPort": [host]})

    def config(self) -> SetConfig:
        """Return the replica set's configuration document."""
        config: SetConfig = self._run({"replSetGetConfig": 1})["config"]
        return config

    def is_config_committed(self) -> bool:
        """Return whether a majority has our configuration; only a primary can tell."""
        command = {"replSetGetConfig": 1, "commitmentStatus": True}
        return bool(self._run(command)["commitmentStatus"])

    def reconfigure(self, config: SetConfig, *, force: bool = False) -> None:
        """Install *config*, one version on."""
        document = {**config, "version": config["version"] + 1}
        self._run({"replSetReconfig": document, "force": force})

    def _run(self, command: Document) -> Document:
        name = next(iter(command))
        try:
            return self._client.admin.command(command)
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"{name} failed: {why}") from error


class MemberMonitor:
    """Posts what `hello` tells; *running* says whether our mongod's process lives."""

    def __init__(
        self,
        replica_set: ReplicaSet,
        running: Callable[[], bool],
        submit: Callable[[Update], None],
    ) -> None:
        self._replica_set = replica_set
        self._running = running
        self._submit = submit
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hello", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._stopped.set()

    def database_ended(self) -> None:
        """Note at once that our mongod's process is gone."""
        self._report(DEAD_MEMBER, None)

    def _run(self) -> None:
        answer: HelloResponse | None = None
        while not self._stopped.is_set():
            after, started_at = (
                answer.topology_version if answer else None,
                boottime_ns(),
            )
            try:
                answer = self._replica_set.hello(after, HELLO_AWAIT_MS)
                self._report(answer.member, answer.optime)
                if answer.topology_version == after:
                    # Outside a set a member answers at once, though nothing changed.
                    spent_ms = (boottime_ns() - started_at) // MILLISECOND
                    self._stopped.wait(max(HELLO_AWAIT_MS - spent_ms, 0) / 1000)
            except DatabaseError as error:
                log.debug("%s", error)
                answer = None
                self._report(None if self._running() else DEAD_MEMBER, None)
                self._stopped.wait(RETRY_INTERVAL_S)

    def _report(self, member: Member | None, optime: tuple[int, int] | None) -> None:
        now = boottime_ns()
        self._submit(
            lambda observation: transitions.member_polled(
                observation, member, optime, now
            )
        )
