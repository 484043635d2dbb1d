"""Argon2 hashes of passwords."""

from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# 64 MiB and three passes each (RFC 9106, second choice). Two at a time: a burst of
# logins must not take the memory or all cores that serve everyone else.
_hasher = PasswordHasher()
_turns = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """Give the text to store for *password*."""
    with _turns:
        return _hasher.hash(password)


def matches(stored: str | None, password: str) -> bool:
    """Tell whether *password* is the one *stored*.

    Without a stored hash the same work is done, so that the time taken does not
    tell which users exist.
    """
    with _turns:
        try:
            return _hasher.verify(stored or _nobodys(), password) and bool(stored)
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody has this password")
