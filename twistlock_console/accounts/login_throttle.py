"""Decide how long a login waits, from values alone: after failures, and for its hash.

Failures are counted three times. By *pair*, an account and the address or device that
tries it: few are free, then waits grow, and at last the pair is locked for a while. By
*address* over all accounts, with more patience, because a load balancer shows many
people as one address. And by *account* over all addresses, against guesses that are
sent from many places.

The two wide counts would let an attacker shut others out. So they do not hold for who
is known: for a device that logged in to this account before, and for an address from
which somebody did. Who is known waits for failures of their own alone.

In the hash queue callers that are known come first, but every third turn is for the
others: many logins of one that is known must not starve a first login. Among equals the
address comes first that had its last turn longest ago. Logins and other checks of
passwords have separate places. Where all are taken, a caller displaces one whose
address has more than its share.
"""

import ipaddress
import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

LOCK_DURATION = timedelta(minutes=15)
MAX_BACKOFF = timedelta(seconds=30)
#: Failures are forgotten this long after the last one's wait.
FAILURE_RETENTION = timedelta(minutes=15)
T = TypeVar("T")
#: Addresses whose last turn is remembered.
MAX_ADDRESSES = 1024
#: Of so many turns one is for callers that are not known, if any waits.
TURNS_PER_UNKNOWN_CALLER = 3


class Scope(StrEnum):
    """The scopes in which failures are counted."""

    PAIR = "pair"
    ADDRESS = "address"
    ACCOUNT = "account"


#: So many failures in a row cost no waiting.
FREE_FAILURES = {Scope.PAIR: 5, Scope.ADDRESS: 20, Scope.ACCOUNT: 50}


#: So many lock it. An account as a whole is never locked.
LOCK_THRESHOLDS = {Scope.PAIR: 20, Scope.ADDRESS: 100}


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed logins in a row, and the instant before which none is accepted."""

    count: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a login to an account; *device* is "" for an unknown one."""

    username: str
    address: str
    device: str = ""

    def keys(self, *, known: bool) -> dict[str, Scope]:
        """By what the attempt is counted, if this origin is *known* or not."""
        place = network_of(self.address)
        pair = f"{self.device or place}:{self.username}"
        keys = {f"{Scope.PAIR}:{pair}": Scope.PAIR}
        if not known:
            keys[f"{Scope.ADDRESS}:{place}"] = Scope.ADDRESS
            keys[f"{Scope.ACCOUNT}:{self.username}"] = Scope.ACCOUNT
        return keys


def network_of(address: str) -> str:
    """Return *address*, or its network where one host has a whole one (IPv6)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def wait_seconds(seen: Failures | None, now: datetime) -> int:
    """Return whole seconds until the next attempt is accepted; 0 means at once.

    A wait longer than the longest we ever demand comes from a clock that has
    stepped, or another node's: it is void.
    """
    if seen is None or not now < seen.until <= now + LOCK_DURATION:
        return 0
    return math.ceil((seen.until - now).total_seconds())


def subtract_failures(
    seen: Failures, less: int, scope: Scope, now: datetime
) -> Failures:
    """Take *less* failures out of the count; those that are left may go on to wait."""
    count = max(0, seen.count - less)
    return Failures(count, now if count < FREE_FAILURES[scope] else seen.until)


def add_failure(seen: Failures | None, scope: Scope, now: datetime) -> Failures:
    """Count one more failure; the wait grows 1, 2, 4, ... 30 seconds, then LOCKED."""
    count = (seen.count if seen else 0) + 1
    over = count - FREE_FAILURES[scope]
    if over < 0:
        return Failures(count, now)
    if count >= LOCK_THRESHOLDS.get(scope, math.inf):
        return Failures(count, now + LOCK_DURATION)
    wait = timedelta(seconds=2 ** min(over, 5))
    return Failures(count, now + min(wait, MAX_BACKOFF))


@dataclass(frozen=True, slots=True)
class HashCaller:
    """A caller of the hash queue.

    *address* is where it comes from; *is_known* if the account was logged in to from
    there before, or is logged in now; *is_login* if it has a thread for logins.
    """

    address: str = ""
    is_known: bool = True
    is_login: bool = False


class HashQueueFull(Exception):
    """All places are taken, and nobody in them has more than its share."""


@dataclass(slots=True)
class HashOrder(Generic[T]):
    """Items that wait, each with its caller; so many *login_places* and others."""

    login_places: int
    other_places: int
    _waiting: list[tuple[HashCaller, T]] = field(default_factory=list)
    _turns: dict[str, int] = field(default_factory=dict)
    _turn: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, caller: HashCaller, item: T) -> T | None:
        """Add *item* to those that wait; return one that gives way, if one has to.

        Raises NoPlace.
        """
        group = [one for one in self._waiting if one[0].is_login == caller.is_login]
        places = self.login_places if caller.is_login else self.other_places
        victim = None
        if len(group) >= places:
            victim = _choose_victim(caller, group)
            self._waiting.remove(victim)
        self._waiting.append((caller, item))
        return victim[1] if victim else None

    def take(self) -> T | None:
        """Return the item whose turn it is; it does not wait any more."""
        if not self._waiting:
            return None
        is_for_stranger = (self._turn + 1) % TURNS_PER_UNKNOWN_CALLER == 0
        chosen = min(self._waiting, key=lambda one: self._rank(one, is_for_stranger))
        self._waiting.remove(chosen)
        self._turn += 1
        if len(self._turns) >= MAX_ADDRESSES:
            self._turns.clear()
        self._turns[chosen[0].address] = self._turn
        return chosen[1]

    def remove(self, item: T) -> None:
        """Remove *item* from those that wait, if it is there."""
        self._waiting = [one for one in self._waiting if one[1] is not item]

    def _rank(
        self, one: tuple[HashCaller, T], is_for_stranger: bool
    ) -> tuple[bool, int]:
        caller, _ = one
        is_later = caller.is_known == is_for_stranger
        return is_later, self._turns.get(caller.address, 0)


def _choose_victim(
    caller: HashCaller, group: list[tuple[HashCaller, T]]
) -> tuple[HashCaller, T]:
    """Return who gives way to *caller*: the latest of the address with most items.

    Callers that are known give way to none; raises NoPlace.
    """
    strangers = [one for one in group if not one[0].is_known]
    counts = Counter(one[0].address for one in strangers)
    address, most = max(counts.items(), key=lambda each: each[1], default=("", 0))
    if most == 0 or (not caller.is_known and most <= counts[caller.address] + 1):
        raise HashQueueFull
    return next(one for one in reversed(strangers) if one[0].address == address)
