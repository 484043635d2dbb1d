"""A bounded queue for Argon2, the most expensive work that a stranger can cause.

One hash takes 64 MiB and a tenth of a second of four cores. So one runs at a time, on
a thread of low priority, a few callers wait, and further callers get Busy at once.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from twistlock_console.common.errors import Busy

#: Hashes at a time; a second one would take memory and save hardly any time.
SLOTS = 1
#: Callers that wait, each on a thread of its own.
MAX_WAITING = 7
#: Places that only logins may take: calls with HTTP Basic leave them free.
LOGIN_PLACES = 4
MAX_WAIT_S = 8.0
RETRY_AFTER_S = 2
#: Of 19: other work of this host gets about three times the processor time.
NICENESS = 5
SENTENCE = "the Console is checking as many passwords as it can; try again in a moment"
T = TypeVar("T")


class HashQueue:
    """Bounds the hashes of one process and their callers; every thread may use it."""

    def __init__(
        self,
        slots: int = SLOTS,
        max_waiting: int = MAX_WAITING,
        max_wait_s: float = MAX_WAIT_S,
        login_places: int = 0,
    ) -> None:
        self._slots = slots
        self._places = slots + max_waiting
        self._login_places = login_places
        self._max_wait_s = max_wait_s
        self.reset()

    def reset(self) -> None:
        """Forget callers and threads, as a forked process must: it has none of them."""
        self._running = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(
            self._slots, "argon2", initializer=_lower_priority
        )

    @property
    def running(self) -> int:
        """Return how many callers hold a slot."""
        return self._running

    @property
    def waiting(self) -> int:
        """Return how many callers wait for one."""
        return len(self._waiting)

    @contextmanager
    def slot(self, *, is_login: bool = False) -> Iterator[None]:
        """Hold one slot, in order of arrival.

        Raises Busy when too many callers wait, or when this one waited too long.
        """
        self._take(self._places if is_login else self._places - self._login_places)
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def run(self, work: Callable[[], T]) -> T:
        """Return what *work* gives, done at low priority; call it with a slot held."""
        return self._threads.submit(work).result()

    def _take(self, places: int) -> None:
        ticket = object()
        with self._changed:
            if self._is_free() and not self._waiting:
                self._running += 1
                return
            if self._running + len(self._waiting) >= places:
                raise Busy(SENTENCE, RETRY_AFTER_S)
            self._waiting.append(ticket)
            came = self._changed.wait_for(
                lambda: self._is_free() and self._waiting[0] is ticket,
                self._max_wait_s,
            )
            self._waiting.remove(ticket)
            self._changed.notify_all()
            if not came:
                raise Busy(SENTENCE, RETRY_AFTER_S)
            self._running += 1

    def _is_free(self) -> bool:
        return self._running < self._slots


def _lower_priority() -> None:
    # Of this thread alone, and of the threads that Argon2 starts from it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
