"""Send commands to our own member, and monitor its role.

`ReplicaSet` is the one place that sends replica-set commands. `MemberMonitor` is a
thread that waits in an awaitable `hello`: MongoDB answers it as soon as the role
changes, ten to twenty milliseconds after an election.
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
#: How long our member does not stand for election again. Short: another failure may
#: follow, for which it is the best standby. Long enough for the others, which stand
#: within 0.1 s.
STEP_DOWN_S = 3
log = logging.getLogger(__name__)


class ReplicaSet:
    """Sends commands to our own member over *client*, a direct connection.

    Every method raises DatabaseError if the member refuses, or does not answer within
    the client's timeout. Any thread may use it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def status(self) -> ClusterStatus:
        """Return the replica set as our member sees it."""
        return ClusterStatus.from_answer(self.raw_status(), self.config())

    def raw_status(self) -> Document:
        """Return the whole answer to replSetGetStatus."""
        return dict(self._run({"replSetGetStatus": 1}))

    def hello(
        self, after: Mapping[str, object] | None = None, wait_ms: int = 0
    ) -> HelloResponse:
        """Return our member's role.

        With *after*, a topology version, wait up to *wait_ms* for another one.
        """
        command: Document = {"hello": 1}
        if after is not None:
            command |= {"topologyVersion": after, "maxAwaitTimeMS": wait_ms}
        return HelloResponse.from_answer(self._run(command))

    def read_clock(self) -> int:
        """Return the wall clock of our member, in nanoseconds since 1970."""
        local_time: datetime = self._run({"hello": 1})["localTime"]
        return round(local_time.timestamp() * SECOND)

    def step_up(self) -> None:
        """Make our member stand for election now."""
        self._run({"replSetStepUp": 1})

    def step_down(self) -> None:
        """Step our member down, in favour of the most recent standby."""
        command = {
            "replSetStepDown": STEP_DOWN_S,
            "secondaryCatchUpPeriodSecs": 1,
            "force": True,
        }
        self._run(command)

    def kill_pending_step_downs(self) -> int:
        """Kill pending step-down operations of our member; return how many.

        They wait by the wall clock: if it is set back, they keep the member for as long
        between the roles, neither primary nor standby, and it notices no election.
        """
        waiting = {"currentOp": 1, "command.replSetStepDown": {"$exists": True}}
        found = self._run(waiting)["inprog"]
        for operation in found:
            self._run({"killOp": 1, "op": operation["opid"]})
        return len(found)

    def sync_from(self, host: str) -> None:
        """Make our member read the oplog of *host* ("address:port") from now on."""
        self._run({"replSetSyncFrom": host})

    def drop_connections(self, host: str) -> None:
        """Drop our member's outgoing connections to *host* ("address:port")."""
        self._run({"dropConnections": 1, "hostAndPort": [host]})

    def config(self) -> SetConfig:
        """Return the replica set's configuration document."""
        config: SetConfig = self._run({"replSetGetConfig": 1})["config"]
        return config

    def is_config_committed(self) -> bool:
        """Return whether a majority has our configuration; only a primary knows."""
        command = {"replSetGetConfig": 1, "commitmentStatus": True}
        return bool(self._run(command)["commitmentStatus"])

    def reconfigure(self, config: SetConfig, *, force: bool = False) -> None:
        """Install *config* with the next version number."""
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
    """Submits our member's role from a thread of its own, whenever `hello` answers.

    *running* says whether the process of our mongod runs.
    """

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
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread within a second."""
        self._stopped.set()

    def database_ended(self) -> None:
        """Report at once that the process of our mongod ended."""
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
                    # Outside a replica set a member answers at once, without a change.
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
