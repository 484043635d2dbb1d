"""Throttle logins: exponential backoff after failures, fair order of hashes. Pure.

Failures are counted in three scopes. *pair* is an account and the address or device
that tries it: few failures are free, then the wait grows, and finally the pair is
locked for a while. *address* counts over all accounts, with higher limits, because a
load balancer shows many people as one address. *account* counts over all addresses,
against guesses from many addresses.

The two wide scopes would let an attacker lock others out. So they do not apply to known
origins: a device or an address that has logged in to the account before waits for
failures of its own pair alone.

In the hash queue, known callers come first, but every third turn is for unknown ones:
many logins of a known caller must not starve a first login. Among equals, the address
whose last turn is longest ago comes first. Logins and other password checks have
separate places. If all are taken, a new caller displaces one whose address has more
than its share.
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
#: Failures are deleted this long after the wait of the last one.
FAILURE_RETENTION = timedelta(minutes=15)
T = TypeVar("T")
#: Addresses whose last turn is remembered.
MAX_ADDRESSES = 1024
#: One of this many turns is for an unknown caller, if any waits.
TURNS_PER_UNKNOWN_CALLER = 3


class Scope(StrEnum):
    """The scopes in which failures are counted."""

    PAIR = "pair"
    ADDRESS = "address"
    ACCOUNT = "account"


#: Failures in a row that cause no wait.
FREE_FAILURES = {Scope.PAIR: 5, Scope.ADDRESS: 20, Scope.ACCOUNT: 50}


#: Failures in a row that lock; an account as a whole is never locked.
LOCK_THRESHOLDS = {Scope.PAIR: 20, Scope.ADDRESS: 100}


@dataclass(frozen=True, slots=True)
class Failures:
    """The number of failed logins in a row, and until when no login is accepted."""

    count: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a login to an account; *device* is "" if the browser is unknown."""

    username: str
    address: str
    device: str = ""

    def keys(self, *, known: bool) -> dict[str, Scope]:
        """Return the keys of the counts for this origin, each with its scope.

        A *known* origin is counted by its pair alone.
        """
        place = network_of(self.address)
        pair = f"{self.device or place}:{self.username}"
        keys = {f"{Scope.PAIR}:{pair}": Scope.PAIR}
        if not known:
            keys[f"{Scope.ADDRESS}:{place}"] = Scope.ADDRESS
            keys[f"{Scope.ACCOUNT}:{self.username}"] = Scope.ACCOUNT
        return keys


def network_of(address: str) -> str:
    """Return *address*, or for IPv6 its /64 network, which one host may own."""
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

    A wait longer than LOCK_DURATION comes from a clock that has stepped, or from the
    clock of another node, and is ignored.
    """
    if seen is None or not now < seen.until <= now + LOCK_DURATION:
        return 0
    return math.ceil((seen.until - now).total_seconds())


def subtract_failures(
    seen: Failures, less: int, scope: Scope, now: datetime
) -> Failures:
    """Subtract *less* failures; keep the wait if more than the free ones remain."""
    count = max(0, seen.count - less)
    return Failures(count, now if count < FREE_FAILURES[scope] else seen.until)


def add_failure(seen: Failures | None, scope: Scope, now: datetime) -> Failures:
    """Add one failure; the backoff grows 1, 2, 4, … 30 s, then the scope is locked."""
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

    Attributes:
        address: the network address of the caller.
        is_known: the origin has logged in to the account before, or is logged in.
        is_login: the caller waits on a thread that is reserved for logins.

    """

    address: str = ""
    is_known: bool = True
    is_login: bool = False


class HashQueueFull(Exception):
    """All places are taken, and no address in the queue has more than its share."""


@dataclass(slots=True)
class HashOrder(Generic[T]):
    """The queue of waiting items in fair order, with separate places for logins."""

    login_places: int
    other_places: int
    _waiting: list[tuple[HashCaller, T]] = field(default_factory=list)
    _turns: dict[str, int] = field(default_factory=dict)
    _turn: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, caller: HashCaller, item: T) -> T | None:
        """Add *item* to the queue; return the item that it displaces, if any.

        Raises:
            HashQueueFull: all places are taken, and no item may be displaced.

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
        """Remove and return the next item; None if the queue is empty."""
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
        """Remove *item* from the queue, if it is there."""
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
    """Return the item that *caller* displaces: the latest of the busiest address.

    Known callers are never displaced.

    Raises:
        HashQueueFull: no item may be displaced.

    """
    strangers = [one for one in group if not one[0].is_known]
    counts = Counter(one[0].address for one in strangers)
    address, most = max(counts.items(), key=lambda each: each[1], default=("", 0))
    if most == 0 or (not caller.is_known and most <= counts[caller.address] + 1):
        raise HashQueueFull
    return next(one for one in reversed(strangers) if one[0].address == address)
