"""How slow this machine is right now, for tests that compare times.

A limit in seconds judges the machine as much as the product: beside other programs
everything takes longer. A limit therefore grows by what a fixed piece of work takes
longer in the same run than on a machine that does nothing else.
"""

import threading
import time

BURST_S = 0.02
PAUSE_S = 0.2


def measure_slowness() -> float:
    """Return how many seconds pass in one second of processor time of a thread.

    1.0 on an idle machine; 9 where this thread gets a ninth of a processor, or waits
    for other threads of this process.
    """
    began, spent = time.perf_counter(), time.thread_time()
    while time.thread_time() - spent < BURST_S:
        pass
    return max(1.0, (time.perf_counter() - began) / BURST_S)


class Pace:
    """Measures on a thread how slow the machine is, as long as the context lasts."""

    def __init__(self) -> None:
        self._found: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Pace":
        """Measure, and begin to measure again and again."""
        self._found.append(measure_slowness())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Measure for the last time."""
        self._over.set()
        self._thread.join()
        self._found.append(measure_slowness())

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            self._found.append(measure_slowness())

    @property
    def slowness(self) -> float:
        """Return the mean of what was measured; see `measure_slowness`."""
        return sum(self._found) / len(self._found)

    def limit(self, seconds: float) -> float:
        """Return how long may take here what takes *seconds* on an idle machine."""
        return seconds * self.slowness
