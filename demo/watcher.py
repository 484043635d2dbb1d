"""Watch the nodes from outside: their roles, and the phases of each failover."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from demo.events import NODES, Event, Failover, RoleObserved
from demo.state import DemoState
from demo.writer import WritesResumed
from twistlock_console.common.clock import MILLISECOND, SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient

POLL_INTERVAL_S = 0.2
RESPONSE_TIMEOUT_S = 0.5
RECORD_TRIES = 15
SILENT = RoleObserved("", "UNAVAILABLE", "it does not answer")


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The start and end of a failover, on the wall clock that all nodes share."""

    began: datetime
    ended: datetime


def record_of(
    history: list[Mapping[str, Any]], address: str, times: TimeSpan
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
    resumed: WritesResumed, record: Mapping[str, Any] | None, times: TimeSpan
) -> Failover:
    """Return the failover with its phases: the recorded ones, and those around them."""
    seconds = (resumed.ended - resumed.began) / SECOND
    phases: dict[str, float] = {}
    if record is not None:
        recorded = {name: float(took) for name, took in record["phases"].items()}
        # The record starts with the last good answer, the demo with the fault.
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
    """Polls each node on a thread of its own; *tell* gets the changes."""

    def __init__(self, state: DemoState, tell: Callable[[Event], None]) -> None:
        self._state = state
        self._tell = tell
        self._ended = threading.Event()
        self._roles: dict[str, RoleObserved] = {}

    def start(self) -> None:
        """Start polling; each node was polled once when it returns."""
        for address in NODES:
            self._poll(self._client(address))
            threading.Thread(
                target=self._watch, args=[address], name=f"watch-{address}", daemon=True
            ).start()

    def stop(self) -> None:
        """Stop polling."""
        self._ended.set()

    def role(self, address: str) -> RoleObserved:
        """Return the role that the node at *address* last reported."""
        return self._roles.get(address, SILENT)

    def report_failover(self, resumed: WritesResumed) -> None:
        """Find the record of the failover and report it; return at once."""
        age = timedelta(milliseconds=(boottime_ns() - resumed.began) / MILLISECOND)
        now = datetime.now(UTC)
        threading.Thread(
            target=self._find_record,
            args=[resumed, TimeSpan(now - age, now)],
            daemon=True,
        ).start()

    def _client(self, address: str) -> NodeClient:
        return NodeClient(self._state.settings(address), address)

    def _watch(self, address: str) -> None:
        with self._client(address) as client:
            while not self._ended.wait(POLL_INTERVAL_S):
                self._poll(client)

    def _poll(self, client: NodeClient) -> None:
        try:
            answer = client.get("/v1/ha/heartbeat", timeout=RESPONSE_TIMEOUT_S)
            role, reason = _role_of(answer), str(answer["reason"])
        except ConsoleError:
            role, reason = SILENT.role, SILENT.reason
        seen, before = (
            RoleObserved(client.address, role, reason),
            self.role(client.address),
        )
        self._roles[client.address] = seen
        if role != before.role and not self._ended.is_set():
            self._tell(seen)

    def _find_record(self, resumed: WritesResumed, times: TimeSpan) -> None:
        record = None
        with self._client(resumed.after) as client:
            for _ in range(RECORD_TRIES):
                try:
                    history = client.get("/v1/ha/cluster", timeout=1.0)["history"]
                except ConsoleError:
                    history = []
                record = record_of(history, resumed.after, times)
                if record or self._ended.wait(POLL_INTERVAL_S):
                    break
        self._tell(failover_from(resumed, record, times))


def _role_of(heartbeat: dict[str, Any]) -> str:
    if heartbeat["holding"]:
        return "PRIMARY"
    # Elected by MongoDB, and about to acquire the lease.
    state = str(heartbeat["state"])
    return "ELECTED" if state == "PRIMARY" else state
