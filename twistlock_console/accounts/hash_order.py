"""The order in which callers of the hash queue get their turn, and who gives way.

Pure. Callers that are known come first, but every third turn is for the others: many
logins of one that is known must not starve a first login. Among equals the address
comes first that had its last turn longest ago. Logins and other checks of passwords
have separate places. Where all are taken, a caller displaces one whose address has more
than its share.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
#: Addresses whose last turn is remembered.
MAX_ADDRESSES = 1024
#: Of so many turns one is for callers that are not known, if any waits.
TURNS_PER_STRANGER = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller of the hash queue.

    *address* is where it comes from; *is_known* if the account was logged in to from
    there before, or is logged in now; *is_login* if it has a thread for logins.
    """

    address: str = ""
    is_known: bool = True
    is_login: bool = False


class NoPlace(Exception):
    """All places are taken, and nobody in them has more than its share."""


@dataclass(slots=True)
class HashOrder(Generic[T]):
    """Items that wait, each with its caller; so many *login_places* and others."""

    login_places: int
    other_places: int
    _waiting: list[tuple[Caller, T]] = field(default_factory=list)
    _turns: dict[str, int] = field(default_factory=dict)
    _turn: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, caller: Caller, item: T) -> T | None:
        """Let *item* wait; return one that gives way to it, if one has to.

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
        is_for_stranger = (self._turn + 1) % TURNS_PER_STRANGER == 0
        chosen = min(self._waiting, key=lambda one: self._rank(one, is_for_stranger))
        self._waiting.remove(chosen)
        self._turn += 1
        if len(self._turns) >= MAX_ADDRESSES:
            self._turns.clear()
        self._turns[chosen[0].address] = self._turn
        return chosen[1]

    def remove(self, item: T) -> None:
        """Let *item* wait no more, if it does."""
        self._waiting = [one for one in self._waiting if one[1] is not item]

    def _rank(self, one: tuple[Caller, T], is_for_stranger: bool) -> tuple[bool, int]:
        caller, _ = one
        is_later = caller.is_known == is_for_stranger
        return is_later, self._turns.get(caller.address, 0)


def _choose_victim(caller: Caller, group: list[tuple[Caller, T]]) -> tuple[Caller, T]:
    """Return who gives way to *caller*: the latest of the address with most items.

    Callers that are known give way to none; raises NoPlace.
    """
    strangers = [one for one in group if not one[0].is_known]
    counts = Counter(one[0].address for one in strangers)
    address, most = max(counts.items(), key=lambda each: each[1], default=("", 0))
    if most == 0 or (not caller.is_known and most <= counts[caller.address] + 1):
        raise NoPlace
    return next(one for one in reversed(strangers) if one[0].address == address)
