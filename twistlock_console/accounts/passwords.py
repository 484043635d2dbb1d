"""Argon2 hashes of passwords, all made and checked through one bounded queue."""

import os
from enum import Enum
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from twistlock_console.accounts.hash_order import Caller
from twistlock_console.accounts.hash_queue import HashQueue
from twistlock_console.common.opaque_string import forms_of, opaque_string

# 64 MiB and three passes each (RFC 9106, second choice).
_hasher = PasswordHasher()
queue = HashQueue()
os.register_at_fork(after_in_child=queue.reset)


class Match(Enum):
    """What a check of a password found."""

    NO = "it is another password"
    YES = "it is the password"
    EARLIER_FORM = "it is the password, stored as it was typed: hash it again"


#: An account that is logged in, or a command.
TRUSTED = Caller()


def hash_password(password: str, caller: Caller = TRUSTED) -> str:
    """Return the text to store for *password*; raises Busy."""
    with queue.slot(caller):
        return hash_in_slot(password)


def hash_in_slot(password: str) -> str:
    """Return the text to store for *password*; the caller holds a slot."""
    return queue.run(lambda: _hasher.hash(opaque_string(password)))


def matches(stored: str | None, password: str) -> bool:
    """Return whether *password* is the one *stored*; raises Busy."""
    with queue.slot(TRUSTED):
        return match_in_slot(stored, password) is not Match.NO


def match_in_slot(stored: str | None, password: str) -> Match:
    """Compare *password* with the one *stored*; the caller holds a slot.

    Without a stored hash the same work is done, so that the time taken does not
    tell which users exist.
    """
    return queue.run(lambda: _match(stored, password))


def _match(stored: str | None, password: str) -> Match:
    """Try the normal form, then what was typed: a release before stored that."""
    form, *typed = forms_of(password)
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
