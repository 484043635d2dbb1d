"""Watches the nodes from outside: their roles, and the phases of each failover."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.events import NODES, Event, Failover, RoleSeen
from demo.state import State
from demo.writer import Resumed
from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient

LOOK_SECONDS = 0.2
ANSWER_SECONDS = 0.5
RECORD_TRIES = 15
SILENT = RoleSeen("", "UNAVAILABLE", "it does not answer")


@dataclass(frozen=True, slots=True)
class Times:
    """When it began and ended on the wall clock that all nodes of a demo share."""

    began: datetime
    ended: datetime


def record_of(
    history: list[Mapping[str, Any]], address: str, times: Times
) -> Mapping[str, Any] | None:
    """Return the record of *address* becoming primary within *times*, if any."""
    return next(
        (
            record
            for record in history
            if record["address"] == address
            and record["to"] == "primary"
            and times.began <= datetime.fromisoformat(record["time"]) <= times.ended
        ),
        None,
    )


def failover_from(
    resumed: Resumed, record: Mapping[str, Any] | None, times: Times
) -> Failover:
    """Return the failover with its phases: those on record, and those around them."""
    seconds = (resumed.ended - resumed.began) / SECOND
    phases: dict[str, float] = {}
    if record is not None:
        recorded = {name: float(took) for name, took in record["phases"].items()}
        # The product begins with the last good answer, we with the fault.
        recorded.pop("noticed", None)
        opened = datetime.fromisoformat(record["time"])
        first_write = max(0.0, (times.ended - opened).total_seconds())
        noticed = max(0.0, seconds - sum(recorded.values()) - first_write)
        phases = {"noticed": noticed, **recorded, "firstWrite": first_write}
    return Failover(
        before=resumed.before,
        after=resumed.after,
        seconds=round(seconds, 3),
        lost=resumed.lost,
        reason=str(record["reason"]) if record else "",
        phases={name: round(took, 3) for name, took in phases.items()},
    )


class Watcher:
    """Asks each node on a thread of its own; *tell* hears of what changed."""

    def __init__(self, state: State, tell: Callable[[Event], None]) -> None:
        self._state = state
        self._tell = tell
        self._ended = threading.Event()
        self._roles: dict[str, RoleSeen] = {}

    def start(self) -> None:
        """Begin to look; each node has been asked once when it returns."""
        for address in NODES:
            self._look(self._client(address))
            threading.Thread(
                target=self._watch, args=[address], name=f"watch-{address}", daemon=True
            ).start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    def role(self, address: str) -> RoleSeen:
        """Return the role that the node at *address* last reported."""
        return self._roles.get(address, SILENT)

    def story(self, resumed: Resumed) -> None:
        """Find out how the failover went, and tell; returns at once."""
        age = timedelta(milliseconds=(boottime_ns() - resumed.began) / MILLISECOND)
        now = datetime.now(UTC)
        threading.Thread(
            target=self._find, args=[resumed, Times(now - age, now)], daemon=True
        ).start()

    def _client(self, address: str) -> NodeClient:
        return NodeClient(self._state.settings(address), address)

    def _watch(self, address: str) -> None:
        with self._client(address) as client:
            while not self._ended.wait(LOOK_SECONDS):
                self._look(client)

    def _look(self, client: NodeClient) -> None:
        try:
            answer = client.get("/v1/ha/heartbeat", timeout=ANSWER_SECONDS)
            role, reason = _role_of(answer), str(answer["reason"])
        except ConsoleError:
            role, reason = SILENT.role, SILENT.reason
        seen, before = RoleSeen(client.address, role, reason), self.role(client.address)
        self._roles[client.address] = seen
        if role != before.role and not self._ended.is_set():
            self._tell(seen)

    def _find(self, resumed: Resumed, times: Times) -> None:
        record = None
        with self._client(resumed.after) as client:
            for _ in range(RECORD_TRIES):
                try:
                    history = client.get("/v1/ha/cluster", timeout=1.0)["history"]
                except ConsoleError:
                    history = []
                record = record_of(history, resumed.after, times)
                if record or self._ended.wait(LOOK_SECONDS):
                    break
        self._tell(failover_from(resumed, record, times))


def _role_of(testimony: dict[str, Any]) -> str:
    if testimony["holding"]:
        return "PRIMARY"
    # Elected by MongoDB, and about to take the lease.
    state = str(testimony["state"])
    return "ELECTED" if state == "PRIMARY" else state
