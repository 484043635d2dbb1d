"""Looks at a volume that may never answer, and does not wait for it for long."""

import threading
from collections.abc import Callable
from typing import TypeVar

from twistlock_console.common.errors import ConsoleError

SECONDS = 4.0
T = TypeVar("T")


class Bounded:
    """Does one thing at a time with the volume called *what*, on a thread of its own.

    A network volume can hold a thread for ever. While it holds one, nothing else is
    begun, so that no more than that one is lost.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._turn = threading.Lock()

    def call(self, work: Callable[[], T], seconds: float = SECONDS) -> T:
        """Give what *work* gives; raises ConsoleError if that takes too long."""
        if not self._turn.acquire(timeout=seconds):
            raise self._slow(seconds)
        outcome: list[T] = []
        failure: list[Exception] = []

        def run() -> None:
            try:
                outcome.append(work())
            except Exception as error:
                failure.append(error)
            finally:
                self._turn.release()

        thread = threading.Thread(target=run, name="volume", daemon=True)
        thread.start()
        thread.join(seconds)
        if failure:
            raise failure[0]
        if not outcome:
            raise self._slow(seconds)
        return outcome[0]

    def _slow(self, seconds: float) -> ConsoleError:
        return ConsoleError(
            f"{self._what} did not answer within {seconds:g} s; look at its disk or "
            "its network"
        )
