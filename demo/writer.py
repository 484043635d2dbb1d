"""Write through the API continuously, and measure each outage of it."""

import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.console_api import ConsoleApi
from demo.events import Writes
from demo.writes_api import PATH
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError

WRITE_INTERVAL_S = 0.02
START_TIMEOUT_S = 20.0
#: A longer silence between two stored writes counts as an outage.
MIN_OUTAGE_S = 1.0
#: A fault that caused no outage in this time will not cause one any more.
FAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class WritesResumed:
    """The end of an outage: writes are stored again; times in boot-time nanoseconds."""

    before: str
    after: str
    began: int
    ended: int
    lost: int


class Writer:
    """Writes through *api* on a thread of its own; calls *on_resumed* after outages."""

    def __init__(
        self, api: ConsoleApi, on_resumed: Callable[[WritesResumed], None]
    ) -> None:
        self._api = api
        self._on_resumed = on_resumed
        self._name = uuid.uuid4().hex
        self._recent: deque[int] = deque(maxlen=1000)
        self._stored = 0
        self._lost = 0
        self._by: str | None = None
        self._last = 0
        self._fault = 0
        self._trouble: ConsoleError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self, pause: Callable[[float], None]) -> None:
        """Start to write, and return after the first stored write.

        Raises:
            ConsoleError: No write was stored within START_TIMEOUT_S.
        """
        self._thread.start()
        for _ in range(int(START_TIMEOUT_S / WRITE_INTERVAL_S)):
            if self._stored:
                return
            pause(WRITE_INTERVAL_S)
        raise ConsoleError(f"Nothing can be stored: {self._trouble}")

    def stop(self) -> None:
        """Stop writing."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._api.close()

    def expect_fault(self) -> None:
        """Measure the next outage from now on."""
        self._fault = boottime_ns()

    def forget_fault(self) -> None:
        """Measure the next outage from its last stored write again."""
        self._fault = 0

    def count(self) -> Writes:
        """Return the counters so far."""
        since = boottime_ns() - SECOND
        rate = sum(at >= since for at in tuple(self._recent))
        return Writes(self._stored, rate, self._lost, self._by)

    def _run(self) -> None:
        while not self._ended.is_set():
            body = {"writer": self._name, "number": self._stored + 1}
            try:
                answer = self._api.post(PATH, body)
            except ConsoleError as error:
                # It may have been stored. Sending the same number again is idempotent.
                self._trouble = error
            else:
                self._on_stored(answer, boottime_ns())
            self._ended.wait(WRITE_INTERVAL_S)

    def _on_stored(self, answer: dict[str, Any], now: int) -> None:
        lost = max(0, self._stored - int(answer["before"]))
        before, self._by = self._by, str(answer["address"])
        last, self._last = self._last, now
        self._stored += 1
        self._lost += lost
        self._recent.append(now)
        if before is None:
            return
        if before != self._by or now - last > MIN_OUTAGE_S * SECOND:
            began, self._fault = self._fault or last, 0
            self._on_resumed(WritesResumed(before, self._by, began, now, lost))
        elif now - self._fault > FAULT_TIMEOUT_S * SECOND:
            self._fault = 0
