"""Group commit: what many Defenders sent is stored by one write at a time.

What arrives while one write runs goes into the next, so that the wait for a majority
is shared. `fair_queue` divides each write among those that wait.

All messages that a write completes are acknowledged before the next begins. So the
Defenders answer while the databases work, and neither waits for the other.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bson.raw_bson import RawBSONDocument
from pymongo.errors import PyMongoError

from twistlock_console.defenders.event_quota import DroppedEvents, EventQuota
from twistlock_console.servers.defenders.fair_queue import Batch, FairQueue, Portion

DOCUMENT_OVERHEAD_BYTES = 256
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
log = logging.getLogger(__name__)

Store = Callable[[list[RawBSONDocument], list[DroppedEvents]], Awaitable[Sequence[int]]]
"""Stores documents and counts dropped events; returns which documents were there."""


def _acknowledge_nothing() -> None:
    """Acknowledge nothing: the Defender left."""


@dataclass(slots=True, eq=False)
class PendingWrite(Batch):
    """Documents of one message; *acknowledge* is called when a majority has them.

    It must not fail, since everybody waits. *dropped* is counted with them.
    """

    defender: str = ""
    acknowledge: Callable[[], None] = _acknowledge_nothing
    dropped: DroppedEvents | None = None

    @property
    def memory(self) -> int:
        """Return about how many bytes the documents take."""
        return sum(len(each.raw) + DOCUMENT_OVERHEAD_BYTES for each in self.documents)

    def abandon(self) -> None:
        """Acknowledge nothing, and drop what is not being written yet."""
        self.is_wanted, self.acknowledge = False, _acknowledge_nothing
        self.documents, self.taken = (), 0


@dataclass(frozen=True, slots=True)
class _Write:
    """What one write stores: the portions, their documents, what is dropped."""

    portions: list[Portion[PendingWrite]]
    documents: list[RawBSONDocument]
    dropped: list[DroppedEvents]


class GroupCommit:
    """Stores with *store*, and charges *quota* with what is stored and dropped.

    *stored* and *duplicates* count events.
    """

    def __init__(self, store: Store, quota: EventQuota) -> None:
        self._store = store
        self._quota = quota
        self._queue: FairQueue[PendingWrite] = FairQueue()
        self._some = asyncio.Event()
        self.stored = 0
        self.duplicates = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._queue)

    def keep(self, pending: PendingWrite) -> PendingWrite:
        """Have *pending* stored soon, and acknowledged then."""
        self._queue.put(pending)
        self._some.set()
        return pending

    async def run(self) -> None:
        """Write for ever; while the database is away, the same again and again."""
        while True:
            await self._some.wait()
            if portions := self._queue.take():
                await self._write(_collect(portions))
            else:
                self._some.clear()

    async def _write(self, write: _Write) -> None:
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                duplicates = await self._store(write.documents, write.dropped)
                break
            except PyMongoError as error:
                log.warning("Defenders keep their events for now: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._queue.adapt(time.monotonic() - began)
        self.duplicates += len(duplicates)
        self.stored += len(write.documents)
        self._charge(write, frozenset(duplicates))
        for dropped in write.dropped:
            self._quota.count_dropped(dropped)
        for portion in write.portions:
            if portion.batch.is_wanted and portion.is_last:
                portion.batch.acknowledge()

    def _charge(self, write: _Write, duplicates: frozenset[int]) -> None:
        start = 0
        for portion in write.portions:
            end = start + portion.last - portion.first
            size = sum(len(each.raw) for each in write.documents[start:end])
            for index in duplicates:
                if start <= index < end:
                    size -= len(write.documents[index].raw)
            self._quota.charge(portion.batch.defender, size)
            start = end


def _collect(portions: list[Portion[PendingWrite]]) -> _Write:
    documents: list[RawBSONDocument] = []
    dropped: list[DroppedEvents] = []
    for portion in portions:
        documents += portion.batch.documents[portion.first : portion.last]
        if portion.is_last and portion.batch.dropped:
            dropped.append(portion.batch.dropped)
    return _Write(portions, documents, dropped)
