"""A user who stores one thing after the other, and notices when that stops working."""

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

PAUSE_SECONDS = 0.02
START_SECONDS = 20.0
#: A longer silence between two stored writes counts as an outage.
OUTAGE_SECONDS = 1.0
#: A command that changed nothing in this time will not do so any more.
EXPECTED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Resumed:
    """Writes are stored again; times are boot-time nanoseconds."""

    before: str
    after: str
    began: int
    ended: int
    lost: int


class Writer:
    """Writes through *api* on a thread of its own; tells *on_resumed* of outages."""

    def __init__(self, api: ConsoleApi, on_resumed: Callable[[Resumed], None]) -> None:
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
        """Begin to write; returns when something is stored.

        Raises ConsoleError if nothing is within START_SECONDS.
        """
        self._thread.start()
        for _ in range(int(START_SECONDS / PAUSE_SECONDS)):
            if self._stored:
                return
            pause(PAUSE_SECONDS)
        raise ConsoleError(f"Nothing can be stored: {self._trouble}")

    def stop(self) -> None:
        """Write no more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._api.close()

    def expect_fault(self) -> None:
        """Measure the next outage from now on."""
        self._fault = boottime_ns()

    def forget_fault(self) -> None:
        """Nothing happened after all."""
        self._fault = 0

    def count(self) -> Writes:
        """Return what was stored so far."""
        since = boottime_ns() - SECOND
        rate = sum(at >= since for at in tuple(self._recent))
        return Writes(self._stored, rate, self._lost, self._by)

    def _run(self) -> None:
        while not self._ended.is_set():
            body = {"writer": self._name, "number": self._stored + 1}
            try:
                answer = self._api.post(PATH, body)
            except ConsoleError as error:
                # Whether it was stored is unknown: the same number is sent again.
                self._trouble = error
            else:
                self._on_stored(answer, boottime_ns())
            self._ended.wait(PAUSE_SECONDS)

    def _on_stored(self, answer: dict[str, Any], now: int) -> None:
        lost = max(0, self._stored - int(answer["before"]))
        before, self._by = self._by, str(answer["address"])
        last, self._last = self._last, now
        self._stored += 1
        self._lost += lost
        self._recent.append(now)
        if before is None:
            return
        if before != self._by or now - last > OUTAGE_SECONDS * SECOND:
            began, self._fault = self._fault or last, 0
            self._on_resumed(Resumed(before, self._by, began, now, lost))
        elif now - self._fault > EXPECTED_SECONDS * SECOND:
            self._fault = 0
