"""A bounded queue for Argon2, the most expensive work that a stranger can cause.

One hash takes 64 MiB and a tenth of a second of four cores. So one runs at a time, on
a thread of low priority, a bounded number of callers wait, and further ones get Busy.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from twistlock_console.accounts.hash_order import Caller, HashOrder, NoPlace
from twistlock_console.common.errors import Busy

#: Hashes at a time; a second one would take memory and save hardly any time.
SLOTS = 1
#: Logins that wait, each on one of the threads that are for logins alone.
LOGIN_PLACES = 100
#: Other callers that wait, such as calls with HTTP Basic. With one whose hash runs they
#: hold eight of the sixteen threads that answer requests, and never more.
OTHER_PLACES = 7
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
        login_places: int = LOGIN_PLACES,
        other_places: int = OTHER_PLACES,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._slots = slots
        self._places = login_places, other_places
        self._max_wait_s = max_wait_s
        self.reset()

    def reset(self) -> None:
        """Forget callers and threads, as a forked process must: it has none of them."""
        self._running = 0
        self._order: HashOrder[_Ticket] = HashOrder(*self._places)
        self._lock = threading.Lock()
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
        return len(self._order)

    @contextmanager
    def slot(self, caller: Caller) -> Iterator[None]:
        """Hold one slot for *caller* when its turn has come.

        Raises Busy when too many callers wait, or when this one waited too long.
        """
        self._take(caller)
        try:
            yield
        finally:
            self._release()

    def run(self, work: Callable[[], T]) -> T:
        """Return what *work* gives, done at low priority; call it with a slot held."""
        return self._threads.submit(work).result()

    def _take(self, caller: Caller) -> None:
        ticket = _Ticket()
        with self._lock:
            if self._running < self._slots:
                self._running += 1
                return
            try:
                displaced = self._order.add(caller, ticket)
            except NoPlace:
                raise Busy(SENTENCE, RETRY_AFTER_S) from None
        if displaced:
            displaced.called.set()
        ticket.called.wait(self._max_wait_s)
        with self._lock:
            self._order.remove(ticket)
            if not ticket.has_slot:
                raise Busy(SENTENCE, RETRY_AFTER_S)

    def _release(self) -> None:
        with self._lock:
            if (following := self._order.take()) is None:
                self._running -= 1
                return
            following.has_slot = True
        following.called.set()


class _Ticket:
    """A caller that waits; it is *called* when it has a slot, or lost its place."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.has_slot = False


def _lower_priority() -> None:
    # Of this thread alone, and of the threads that Argon2 starts from it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
