"""The lines that came in and were not obeyed yet, and the wish to end."""

import queue
import signal
import threading
from types import FrameType

from twistlock_console.common.errors import Interrupted


class Lines:
    """A queue of command lines; a signal ends every wait."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ended = threading.Event()

    def end_on_signals(self) -> None:
        """End when a signal tells us to; for the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def put(self, line: str) -> None:
        """Add a command; any thread may."""
        self._waiting.put(line)

    def end(self) -> None:
        """End every wait, now and later; any thread may ask for it."""
        self._ended.set()

    def next(self, seconds: float) -> str | None:
        """The next command, None if there is none in time. Raises Interrupted."""
        if self._ended.is_set():
            raise Interrupted("the demo was told to end")
        try:
            return self._waiting.get(timeout=seconds)
        except queue.Empty:
            return None

    def pause(self, seconds: float) -> None:
        """Wait so long; raises Interrupted if a signal came."""
        if self._ended.wait(seconds):
            raise Interrupted("the demo was told to end")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.end()
