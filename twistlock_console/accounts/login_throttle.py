"""How long the next login must wait after failed ones, decided from values alone.

Failures are counted three times. By *pair*, an account and the address or device that
tries it: few are free, then waits grow, and at last the pair is locked for a while. By
*address* over all accounts, with more patience, because a load balancer shows many
people as one address. And by *account* over all addresses, against guesses that are
sent from many places.

The two wide counts would let an attacker shut others out. So they do not hold for who
is known: for a device that logged in to this account before, and for an address from
which somebody did. Who is known waits for failures of their own alone.
"""

import ipaddress
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LOCKED = timedelta(minutes=15)
LONGEST_WAIT = timedelta(seconds=30)
#: Failures are forgotten this long after the last one's wait.
FORGET_AFTER = timedelta(minutes=15)


class Scope(StrEnum):
    """What failures are counted by."""

    PAIR = "pair"
    ADDRESS = "address"
    ACCOUNT = "account"


#: So many failures in a row cost no waiting.
FREE = {Scope.PAIR: 5, Scope.ADDRESS: 20, Scope.ACCOUNT: 50}
#: So many lock it. An account as a whole is never locked.
LOCKS = {Scope.PAIR: 20, Scope.ADDRESS: 100}


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed logins in a row, and the instant before which none is accepted."""

    count: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Origin:
    """Who tries to log in to which account; *device* is "" for an unknown one."""

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
    """Give *address*, or its network where one host has a whole network (IPv6)."""
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
    """Whole seconds until the next attempt is accepted; 0 means at once.

    A wait longer than the longest we ever demand comes from a clock that has
    stepped, or another node's: it is void.
    """
    if seen is None or not now < seen.until <= now + LOCKED:
        return 0
    return math.ceil((seen.until - now).total_seconds())


def fewer(seen: Failures, less: int, scope: Scope, now: datetime) -> Failures:
    """Take *less* failures out of the count; those that are left may go on to wait."""
    count = max(0, seen.count - less)
    return Failures(count, now if count < FREE[scope] else seen.until)


def one_more(seen: Failures | None, scope: Scope, now: datetime) -> Failures:
    """Count one more failure; the wait grows 1, 2, 4, ... 30 seconds, then LOCKED."""
    count = (seen.count if seen else 0) + 1
    over = count - FREE[scope]
    if over < 0:
        return Failures(count, now)
    if count >= LOCKS.get(scope, math.inf):
        return Failures(count, now + LOCKED)
    wait = timedelta(seconds=2 ** min(over, 5))
    return Failures(count, now + min(wait, LONGEST_WAIT))
