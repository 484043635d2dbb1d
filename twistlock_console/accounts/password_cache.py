"""Passwords that were right a moment ago, so that each API call need not hash them.

A program that uses HTTP Basic sends its password with every request, and one argon2
check costs a tenth of a second. What is kept is a keyed digest, in memory only, and
it counts only while the user's stored hash is the same.
"""

import hashlib
import hmac
import secrets
from threading import Lock

from twistlock_console.accounts.users import User
from twistlock_console.common import clock

KEEP_NS = 60 * clock.SECOND
MOST = 256


class Remembered:
    """The right passwords of the last minute; 256 at most."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._until: dict[bytes, int] = {}
        self._lock = Lock()

    def knows(self, user: User, password: str) -> bool:
        """Tell whether this password was right for the same stored hash."""
        with self._lock:
            until = self._until.get(self._digest(user, password), 0)
        return clock.boottime_ns() < until

    def add(self, user: User, password: str) -> None:
        """Remember that this password was right just now."""
        now = clock.boottime_ns()
        with self._lock:
            if len(self._until) >= MOST:
                self._until.clear()
            self._until[self._digest(user, password)] = now + KEEP_NS

    def _digest(self, user: User, password: str) -> bytes:
        message = "\0".join([user.username, user.password_hash, password])
        return hmac.digest(self._key, message.encode(), hashlib.sha256)
