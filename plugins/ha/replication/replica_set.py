"""Our own member's replica-set commands: the one module that sends them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from plugins.ha.replication.hello import HelloAnswer
from twistlock_console.common.clock import SECOND
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError
from twistlock_console.events.cluster_status import ClusterStatus

#: For so long our member does not stand again. Short: another failure may follow, for
#: which it is the best standby; long enough for the others, who stand within 0.1 s.
STEP_DOWN_SECONDS = 3


class ReplicaSet:
    """Commands to our own member over *client*, a direct connection.

    Every method raises DatabaseError when the member refuses or does not answer
    within the client's timeout.
    """

    def __init__(self, client: MongoClient[dict[str, Any]]) -> None:
        self._client = client

    def status(self) -> ClusterStatus:
        """The replica set as our member sees it."""
        return ClusterStatus.from_answer(self.told_status(), self.config())

    def told_status(self) -> dict[str, Any]:
        """The same as MongoDB tells it, whole."""
        return dict(self._run({"replSetGetStatus": 1}))

    def hello(
        self, after: Mapping[str, Any] | None = None, wait_ms: int = 0
    ) -> HelloAnswer:
        """Our member's role; with *after*, the next change within *wait_ms*."""
        command: dict[str, Any] = {"hello": 1}
        if after is not None:
            command |= {"topologyVersion": after, "maxAwaitTimeMS": wait_ms}
        return HelloAnswer.from_answer(self._run(command))

    def clock(self) -> int:
        """The wall clock of our member, in nanoseconds since 1970."""
        told: datetime = self._run({"hello": 1})["localTime"]
        return round(told.timestamp() * SECOND)

    def step_up(self) -> None:
        """Have our member stand for election now."""
        self._run({"replSetStepUp": 1})

    def step_down(self) -> None:
        """Have our member give up being primary, to the most recent standby."""
        command = {
            "replSetStepDown": STEP_DOWN_SECONDS,
            "secondaryCatchUpPeriodSecs": 1,
            "force": True,
        }
        self._run(command)

    def give_up_stepping_down(self) -> int:
        """End what our member was told to step down by and still waits; say how many.

        It waits by its wall clock: set back meanwhile, that keeps it for as long in
        between, neither primary nor standby, where it hears of no election.
        """
        waiting = {"currentOp": 1, "command.replSetStepDown": {"$exists": True}}
        found = self._run(waiting)["inprog"]
        for operation in found:
            self._run({"killOp": 1, "op": operation["opid"]})
        return len(found)

    def follow(self, host: str) -> None:
        """Have our member read the oplog of *host* ("address:port") from now on."""
        self._run({"replSetSyncFrom": host})

    def drop_connections(self, host: str) -> None:
        """Have our member give up what it waits for from *host* ("address:port")."""
        self._run({"dropConnections": 1, "hostAndPort": [host]})

    def config(self) -> dict[str, Any]:
        """The replica set's configuration document."""
        answer = self._run({"replSetGetConfig": 1})
        return dict(answer["config"])

    def is_settled(self) -> bool:
        """Whether a majority has our configuration; only a primary can tell."""
        command = {"replSetGetConfig": 1, "commitmentStatus": True}
        return bool(self._run(command)["commitmentStatus"])

    def reconfigure(self, config: Mapping[str, Any], *, force: bool = False) -> None:
        """Install *config*, one version on."""
        document = {**config, "version": int(config["version"]) + 1}
        self._run({"replSetReconfig": document, "force": force})

    def _run(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        try:
            return self._client.admin.command(command)
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"{name} failed: {why}") from error
