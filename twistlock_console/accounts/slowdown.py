"""How long the next login must wait after failed ones, decided from values alone.

An account is counted together with the address that tries it, so a stranger
elsewhere cannot keep its owner out. An address is counted over all accounts too, with
more patience, because a load balancer may show many people as one address.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LONGEST_WAIT = timedelta(seconds=30)
#: Failures are forgotten this long after the last one.
FORGET_AFTER = timedelta(minutes=15)


class Scope(StrEnum):
    """What failures are counted by."""

    ACCOUNT = "account"
    ADDRESS = "address"


#: So many failures in a row cost no waiting.
FREE = {Scope.ACCOUNT: 5, Scope.ADDRESS: 20}


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed logins in a row, and the instant before which none is accepted."""

    count: int
    until: datetime


def wait_seconds(seen: Failures | None, now: datetime) -> int:
    """Whole seconds until the next attempt is accepted; 0 means at once.

    A wait longer than the longest we ever demand comes from a clock that has
    stepped, or another node's: it is void.
    """
    if seen is None or not now < seen.until <= now + LONGEST_WAIT:
        return 0
    return math.ceil((seen.until - now).total_seconds())


def one_more(seen: Failures | None, scope: Scope, now: datetime) -> Failures:
    """Count one more failure: 1, 2, 4, ... seconds after the free ones, 30 at most."""
    count = (seen.count if seen else 0) + 1
    over = count - FREE[scope]
    if over < 0:
        return Failures(count, now)
    wait = timedelta(seconds=2 ** min(over, 5))
    return Failures(count, now + min(wait, LONGEST_WAIT))
