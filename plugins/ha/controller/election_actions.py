"""Steps of our member, up to be primary or down from it."""

import logging
from collections.abc import Callable

from plugins.ha.consensus import transitions
from plugins.ha.consensus.observation import Update
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient

STEP_UP_PATH = "/v1/ha/step-up"
log = logging.getLogger(__name__)


class StepWork:
    """Steps the member of *replica_set*; *client_of* reaches a peer's node API."""

    def __init__(
        self, replica_set: ReplicaSet, client_of: Callable[[str], NodeClient]
    ) -> None:
        self._replica_set = replica_set
        self._client_of = client_of

    def up(self) -> Update:
        """Have our member stand for election."""
        try:
            self._replica_set.step_up()
        except ConsoleError as error:
            log.info("not elected: %s", error)
        return _stepped()

    def down(self, target: str | None) -> Update:
        """Have our member make way, for *target* if one is named."""
        try:
            if target is None or not self._elect(target):
                self._step_down()
        except ConsoleError as error:
            log.warning("our member may still be primary: %s", error)
        return _stepped()

    def _step_down(self) -> None:
        """Have it make way; what keeps it from that for too long is ended, once."""
        try:
            self._replica_set.step_down()
        except ConsoleError as error:
            if not self._replica_set.give_up_stepping_down():
                raise
            log.warning("our member steps down again, from the beginning: %s", error)
            self._replica_set.step_down()

    def _elect(self, target: str) -> bool:
        """Have *target* stand for election; our member follows its higher term."""
        try:
            with self._client_of(target) as client:
                client.post(STEP_UP_PATH)
        except ConsoleError as error:
            log.warning("%s did not take over: %s", target, error)
            return False
        return True


def _stepped() -> Update:
    now = boottime_ns()
    return lambda seen: transitions.stepped(seen, now)
