"""Watches our own member's role: a thread that sits in an awaitable `hello`.

MongoDB answers such a hello as soon as the role changes, which is ten to twenty
milliseconds after an election.
"""

import logging
import threading
from collections.abc import Callable

from plugins.ha.consensus import transitions
from plugins.ha.consensus.state import DEAD_MEMBER, Member, Update
from plugins.ha.replication.hello import HelloAnswer
from plugins.ha.replication.replica_set import ReplicaSet
from twistlock_console.common.clock import MILLISECOND, boottime_ns
from twistlock_console.common.errors import DatabaseError

AWAIT_MS = 250
RETRY_SECONDS = 0.05
log = logging.getLogger(__name__)


class MemberWatch:
    """Posts what `hello` tells; *running* says whether our mongod's process lives."""

    def __init__(
        self,
        replica_set: ReplicaSet,
        running: Callable[[], bool],
        post: Callable[[Update], None],
    ) -> None:
        self._replica_set = replica_set
        self._running = running
        self._post = post
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hello", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End within a second."""
        self._ended.set()

    def database_ended(self) -> None:
        """Our mongod's process is gone: do not wait for a silence to tell."""
        self._tell(DEAD_MEMBER, None)

    def _run(self) -> None:
        answer: HelloAnswer | None = None
        while not self._ended.is_set():
            after, began = answer.topology_version if answer else None, boottime_ns()
            try:
                answer = self._replica_set.hello(after, AWAIT_MS)
                self._tell(answer.member, answer.optime)
                if answer.topology_version == after:
                    # Outside a set a member answers at once, though nothing changed.
                    spent = (boottime_ns() - began) // MILLISECOND
                    self._ended.wait(max(AWAIT_MS - spent, 0) / 1000)
            except DatabaseError as error:
                log.debug("%s", error)
                answer = None
                self._tell(None if self._running() else DEAD_MEMBER, None)
                self._ended.wait(RETRY_SECONDS)

    def _tell(self, member: Member | None, optime: tuple[int, int] | None) -> None:
        now = boottime_ns()
        self._post(lambda seen: transitions.member_seen(seen, member, optime, now))
