"""Database access of the Defenders' server: from threads, with shared writes.

Events are stored by group commit: events that arrive while one write runs go into the
next, so that the wait for a majority is shared. `fair_queue` divides each write among
the Defenders that wait. All messages that a write completes are acknowledged before the
next begins: so the Defenders answer while the database works. While the database does
not answer, a write is repeated with exponential backoff; stores are idempotent.

Changes of the register are coalesced, and written a few times a second.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import PyMongoError

from twistlock_console.database.client import connect, credentials_for
from twistlock_console.defenders.event_quota import DroppedEvents, EventQuota
from twistlock_console.servers.defenders.fair_queue import Batch, FairQueue, Portion
from twistlock_console.settings import Settings

TIMEOUT_MS = 5000
DOCUMENT_OVERHEAD_BYTES = 256
MIN_BACKOFF_S = 0.05
MAX_BACKOFF_S = 2.0
REGISTER_INTERVAL_S = 0.25
MAX_REGISTER_CHANGES = 1000
log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Documents = Database[dict[str, object]]
Store = Callable[[list[RawBSONDocument], list[DroppedEvents]], Awaitable[Sequence[int]]]
"""Stores documents and counts dropped events; returns indexes of duplicates."""


class DatabaseExecutor:
    """Runs database functions on threads; create it in the process that uses it.

    Raises IdentityError if the database's password cannot be read.
    """

    def __init__(self, settings: Settings, threads: int = 3) -> None:
        self._client = connect(
            settings,
            credentials_for(settings, "console"),
            app_name="console-defenders",
            timeout_ms=TIMEOUT_MS,
        )
        options: CodecOptions[dict[str, object]] = CodecOptions(tz_aware=True)
        self._database = self._client.get_database("twistlock", codec_options=options)
        self._threads = ThreadPoolExecutor(threads, "database")

    async def run(
        self,
        act: Callable[Concatenate[Documents, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call *act* on a thread with the database and the arguments.

        Raises:
            PyMongoError: From *act*.

        """

        def call() -> T:
            return act(self._database, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def close(self) -> None:
        """Close without waiting: a server that stops has no right to write any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()


def _acknowledge_nothing() -> None:
    """Do nothing, instead of acknowledging: the Defender left."""


@dataclass(slots=True, eq=False)
class PendingWrite(Batch):
    """Documents of one message; *acknowledge* is called when a majority has them.

    It must not fail, since all Defenders wait. *dropped* is counted with them.
    """

    defender: str = ""
    acknowledge: Callable[[], None] = _acknowledge_nothing
    dropped: DroppedEvents | None = None

    @property
    def memory(self) -> int:
        """Return about how many bytes the documents take."""
        return sum(len(each.raw) + DOCUMENT_OVERHEAD_BYTES for each in self.documents)

    def cancel(self) -> None:
        """Drop the documents that are not being written yet; acknowledge nothing."""
        self.is_wanted, self.acknowledge = False, _acknowledge_nothing
        self.documents, self.taken = (), 0


@dataclass(frozen=True, slots=True)
class _Write:
    """One write: its portions, their documents, and the dropped events to count."""

    portions: list[Portion[PendingWrite]]
    documents: list[RawBSONDocument]
    dropped: list[DroppedEvents]


class GroupCommit:
    """Stores messages in shared writes, and charges *quota*; event loop only.

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

    def enqueue(self, pending: PendingWrite) -> PendingWrite:
        """Queue *pending* to be stored, and then acknowledged."""
        self._queue.put(pending)
        self._some.set()
        return pending

    async def run(self) -> None:
        """Write for ever; repeat a write, with backoff, while the database fails."""
        while True:
            await self._some.wait()
            if portions := self._queue.take():
                await self._write(_collect(portions))
            else:
                self._some.clear()

    async def _write(self, write: _Write) -> None:
        pause = MIN_BACKOFF_S
        while True:
            began = time.monotonic()
            try:
                duplicates = await self._store(write.documents, write.dropped)
                break
            except PyMongoError as error:
                log.warning("events are not stored; retrying: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_BACKOFF_S)
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


class RegisterWriter:
    """Coalesces changes per Defender and kind; only the latest goes to *write*."""

    def __init__(self, write: Callable[[list[UpdateOne]], Awaitable[None]]) -> None:
        self._write = write
        self._changes: dict[tuple[str, str], UpdateOne] = {}

    def put(self, defender: str, kind: str, change: UpdateOne) -> None:
        """Queue *change*; it replaces one of the same *kind* that waits."""
        self._changes.pop((defender, kind), None)
        self._changes[defender, kind] = change

    async def run(self) -> None:
        """Write for ever; changes whose write failed are written again."""
        while True:
            await asyncio.sleep(REGISTER_INTERVAL_S)
            taken = dict(list(self._changes.items())[:MAX_REGISTER_CHANGES])
            for key in taken:
                del self._changes[key]
            if taken:
                await self._try(taken)

    async def _try(self, taken: dict[tuple[str, str], UpdateOne]) -> None:
        try:
            await self._write(list(taken.values()))
        except PyMongoError as error:
            log.warning("the register of Defenders is not updated; retrying: %s", error)
            # Changes that came meanwhile are newer, and go behind the older ones.
            older = {k: v for k, v in taken.items() if k not in self._changes}
            self._changes = {**older, **self._changes}
