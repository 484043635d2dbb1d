"""Argon2 hashes of passwords, all made and checked through one bounded queue."""

import os
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from twistlock_console.accounts.hash_queue import HashQueue

# 64 MiB and three passes each (RFC 9106, second choice).
_hasher = PasswordHasher()
queue = HashQueue()
os.register_at_fork(after_in_child=queue.reset)


def hash_password(password: str) -> str:
    """Return the text to store for *password*; raises Busy."""
    with queue.slot():
        return queue.run(lambda: _hasher.hash(password))


def matches(stored: str | None, password: str) -> bool:
    """Return whether *password* is the one *stored*; raises Busy."""
    with queue.slot():
        return matches_in_slot(stored, password)


def matches_in_slot(stored: str | None, password: str) -> bool:
    """Return whether *password* is the one *stored*; the caller holds a slot.

    Without a stored hash the same work is done, so that the time taken does not
    tell which users exist.
    """
    return queue.run(lambda: _verify(stored, password))


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _hasher.verify(stored or _placeholder(), password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _placeholder() -> str:
    return _hasher.hash("no account has this password")
