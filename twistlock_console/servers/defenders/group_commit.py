"""Group commit: what many Defenders sent is stored by one write at a time.

What arrives while one write runs goes into the next, so that the wait for a majority
is shared. Each Defender has one message here at most, first come, first served: who
sends much waits as long as who sends little.

All of one write are acknowledged before the next begins. So the Defenders answer while
the databases work, and neither waits for the other.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

MOST = 4000
"""Documents in one write, about."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
log = logging.getLogger(__name__)

Documents = Sequence[RawBSONDocument]
Store = Callable[[list[RawBSONDocument]], Awaitable[int]]


@dataclass(slots=True)
class Parcel:
    """Documents of one message; *acknowledge* is called when a majority has them.

    It must not fail, since everybody waits.
    """

    documents: Documents
    acknowledge: Callable[[], None]
    wanted: bool = True

    def abandon(self) -> None:
        """Acknowledge nothing, and drop what is not being written yet."""
        self.wanted, self.documents, self.acknowledge = False, (), _nobody


def _nobody() -> None:
    """Acknowledge nothing; who left is not kept in memory."""


class GroupCommit:
    """Stores with *store*, which gives how many documents were there before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[Parcel] = deque()
        self._some = asyncio.Event()
        self.stored = 0
        self.duplicates = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, documents: Documents, acknowledge: Callable[[], None]) -> Parcel:
        """Have *documents* stored soon, and *acknowledge* called then."""
        parcel = Parcel(documents, acknowledge)
        self._waiting.append(parcel)
        self._some.set()
        return parcel

    async def run(self) -> None:
        """Write for ever; while the database is away, the same again and again."""
        while True:
            await self._some.wait()
            if parcels := self._take():
                await self._write(parcels)
            else:
                self._some.clear()

    def _take(self) -> list[Parcel]:
        parcels: list[Parcel] = []
        count = 0
        while self._waiting and count < MOST:
            parcel = self._waiting.popleft()
            if parcel.wanted:
                parcels.append(parcel)
                count += len(parcel.documents)
        return parcels

    async def _write(self, parcels: list[Parcel]) -> None:
        documents = [each for parcel in parcels for each in parcel.documents]
        pause = FIRST_PAUSE
        while True:
            try:
                self.duplicates += await self._store(documents)
                break
            except PyMongoError as error:
                log.warning("Defenders keep their events for now: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self.stored += len(documents)
        for parcel in parcels:
            if parcel.wanted:
                parcel.acknowledge()
