"""Create and check Argon2 hashes of passwords through one bounded queue.

Argon2 is the most expensive work that a client without an account can cause: one hash
takes 64 MiB and a tenth of a second of four cores. So one hash runs at a time, on a
thread of low priority; a bounded number of callers wait (backpressure), and further
ones get Busy.

A program that uses HTTP Basic sends its password with every request. So correct
passwords are cached for a minute, as keyed digests in memory, and are valid only while
the user's stored hash is the same.
"""

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cachetools import TTLCache

from twistlock_console.accounts.login_throttle import (
    HashCaller,
    HashOrder,
    HashQueueFull,
)
from twistlock_console.accounts.users import User
from twistlock_console.common import clock
from twistlock_console.common.errors import Busy
from twistlock_console.common.opaque_string import candidate_forms, opaque_string

#: A second concurrent hash would take memory and save hardly any time.
MAX_CONCURRENT_HASHES = 1
#: Waiting logins; each holds one of the threads that are reserved for logins.
LOGIN_PLACES = 100
#: Other waiting callers, such as calls with HTTP Basic. With the one whose hash runs
#: they hold at most eight of the sixteen threads that answer requests.
OTHER_PLACES = 7
MAX_WAIT_S = 8.0
RETRY_AFTER_S = 2
#: The nice value, of 19: other work of the host gets three times the processor time.
NICENESS = 5
QUEUE_FULL_MESSAGE = (
    "the Console is checking as many passwords as it can; try again in a moment"
)
T = TypeVar("T")
# 64 MiB and three passes each (RFC 9106, second choice).
_hasher = PasswordHasher()
#: An account that is logged in, or a command.
TRUSTED_CALLER = HashCaller()
CACHE_TTL_NS = 60 * clock.SECOND
MAX_CACHED = 256


class HashQueue:
    """Bounds the concurrent hashes of one process and their waiting callers.

    Any thread may use it.
    """

    def __init__(
        self,
        slots: int = MAX_CONCURRENT_HASHES,
        login_places: int = LOGIN_PLACES,
        other_places: int = OTHER_PLACES,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        self._slots = slots
        self._places = login_places, other_places
        self._max_wait_s = max_wait_s
        self.reset()

    def reset(self) -> None:
        """Reset queue and threads: a forked process has inherited neither."""
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
        """Return how many callers wait for a slot."""
        return len(self._order)

    @contextmanager
    def slot(self, caller: HashCaller) -> Iterator[None]:
        """Wait for the turn of *caller* and hold one slot.

        Raises:
            Busy: too many callers wait, or this one waited longer than the timeout.

        """
        self._take(caller)
        try:
            yield
        finally:
            self._release()

    def run(self, work: Callable[[], T]) -> T:
        """Run *work* on the low-priority thread; the caller holds a slot."""
        return self._threads.submit(work).result()

    def _take(self, caller: HashCaller) -> None:
        ticket = _Ticket()
        with self._lock:
            if self._running < self._slots:
                self._running += 1
                return
            try:
                displaced = self._order.add(caller, ticket)
            except HashQueueFull:
                raise Busy(QUEUE_FULL_MESSAGE, RETRY_AFTER_S) from None
        if displaced:
            displaced.called.set()
        ticket.called.wait(self._max_wait_s)
        with self._lock:
            self._order.remove(ticket)
            if not ticket.has_slot:
                raise Busy(QUEUE_FULL_MESSAGE, RETRY_AFTER_S)

    def _release(self) -> None:
        with self._lock:
            if (following := self._order.take()) is None:
                self._running -= 1
                return
            following.has_slot = True
        following.called.set()


class _Ticket:
    """A waiting caller; *called* is set when it got a slot or was displaced."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.has_slot = False


def _lower_priority() -> None:
    # This affects this thread and the threads that Argon2 starts from it.
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


queue = HashQueue()


os.register_at_fork(after_in_child=queue.reset)


class Match(Enum):
    """The result of a password check."""

    NO = "it is another password"
    YES = "it is the password"
    EARLIER_FORM = "it is the password, stored as it was typed: hash it again"


def hash_password(password: str, caller: HashCaller = TRUSTED_CALLER) -> str:
    """Return the hash to store for *password*. Raises Busy."""
    with queue.slot(caller):
        return hash_in_slot(password)


def hash_in_slot(password: str) -> str:
    """Return the hash to store for *password*; the caller holds a slot."""
    return queue.run(lambda: _hasher.hash(opaque_string(password)))


def matches(stored: str | None, password: str) -> bool:
    """Return whether *password* matches the hash *stored*. Raises Busy."""
    with queue.slot(TRUSTED_CALLER):
        return match_in_slot(stored, password) is not Match.NO


def match_in_slot(stored: str | None, password: str) -> Match:
    """Compare *password* with the hash *stored*; the caller holds a slot.

    If *stored* is None, the same work is done, so that the time taken does not reveal
    which users exist.
    """
    return queue.run(lambda: _match(stored, password))


def _match(stored: str | None, password: str) -> Match:
    """Compare the normal form, then the typed form, which earlier releases stored."""
    form, *typed = candidate_forms(password)
    if _verify(stored, form):
        return Match.YES
    found = [_verify(stored, each) for each in typed]
    return Match.EARLIER_FORM if any(found) else Match.NO


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _hasher.verify(stored or _placeholder(), password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _placeholder() -> str:
    return _hasher.hash("no account has this password")


class PasswordCache:
    """Caches correct passwords for a minute as keyed digests. Any thread may use it."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._digests = TTLCache[bytes, None](
            MAX_CACHED, CACHE_TTL_NS, timer=lambda: clock.boottime_ns()
        )
        self._lock = threading.Lock()

    def contains(self, user: User, password: str) -> bool:
        """Return whether the cache has this password for the user's present hash."""
        digest = self._digest(user, password)
        with self._lock:
            return digest in self._digests

    def add(self, user: User, password: str) -> None:
        """Add a password that was checked and is correct."""
        digest = self._digest(user, password)
        with self._lock:
            self._digests[digest] = None

    def _digest(self, user: User, password: str) -> bytes:
        message = "\0".join([user.username, user.password_hash, password])
        return hmac.digest(self._key, message.encode(), hashlib.sha256)
