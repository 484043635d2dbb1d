"""Fair queueing: share each write to the database among Defenders, by bytes.

The algorithm is DRR (Shreedhar and Varghese, 1995): for each write every batch of
documents gets the same credit of bytes, and takes documents while it has credit. A
large document that exceeds it reduces the credit for the next write. So a Defender with
few documents gets all of them into the next write, however many others have.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bson.raw_bson import RawBSONDocument

MAX_WRITE_DOCUMENTS = 4000
MAX_WRITE_BYTES = 4 * 1024 * 1024
MAX_SHARE_BYTES = 128 * 1024
"""The share of one batch in a write, even if it is alone: a write must end soon."""
MIN_SHARE_BYTES = 32 * 1024
SLOW_WRITE_S = 0.1
FAST_WRITE_S = 0.05


@dataclass(slots=True, eq=False)
class Batch:
    """Documents that are stored in order, in one write or in several."""

    documents: Sequence[RawBSONDocument]
    taken: int = 0
    credit: int = 0
    is_wanted: bool = True

    @property
    def is_taken(self) -> bool:
        """Return whether all documents were taken."""
        return self.taken >= len(self.documents)


B = TypeVar("B", bound=Batch)


@dataclass(frozen=True, slots=True)
class Portion(Generic[B]):
    """The documents from *first* up to *last* (excluded) of *batch*.

    *is_last* if no more follow.
    """

    batch: B
    first: int
    last: int
    is_last: bool


@dataclass(slots=True)
class Limits:
    """Limits of a write, in all and per batch; a *smallest* share is never divided."""

    documents: int = MAX_WRITE_DOCUMENTS
    bytes: int = MAX_WRITE_BYTES
    share: int = MAX_SHARE_BYTES
    smallest: int = MIN_SHARE_BYTES


@dataclass(slots=True)
class FairQueue(Generic[B]):
    """The batches that wait, and the order of their documents; event loop only."""

    limits: Limits = field(default_factory=Limits)
    _waiting: deque[B] = field(default_factory=deque)

    def __len__(self) -> int:
        """Return how many batches wait."""
        return len(self._waiting)

    def adapt(self, seconds: float) -> None:
        """Reduce the shares after a slow write, and enlarge them after a quick one.

        Batches that are smaller than a share are not affected.
        """
        limits = self.limits
        if seconds > SLOW_WRITE_S:
            limits.share = max(MIN_SHARE_BYTES, limits.share // 2)
        elif seconds < FAST_WRITE_S:
            limits.share = min(MAX_SHARE_BYTES, limits.share * 5 // 4)

    def put(self, batch: B) -> None:
        """Queue *batch* behind the others."""
        self._waiting.append(batch)

    def take(self) -> list[Portion[B]]:
        """Return the documents of the next write; empty only if none wait."""
        portions: list[Portion[B]] = []
        while self._waiting and not portions:
            portions = self._take_shares()
        return portions

    def _take_shares(self) -> list[Portion[B]]:
        """Give each batch its share once, while the write is not full."""
        fair = self.limits.bytes // len(self._waiting)
        share = max(self.limits.smallest, min(self.limits.share, fair))
        portions: list[Portion[B]] = []
        documents_left = self.limits.documents
        bytes_left = self.limits.bytes
        for _ in range(len(self._waiting)):
            if documents_left <= 0 or bytes_left <= 0:
                break
            batch = self._waiting.popleft()
            if not batch.is_wanted:
                continue
            batch.credit += share
            first, before = batch.taken, batch.credit
            _spend(batch, documents_left)
            if batch.taken > first or batch.is_taken:
                portions.append(Portion(batch, first, batch.taken, batch.is_taken))
                documents_left -= batch.taken - first
                bytes_left -= before - batch.credit
            if not batch.is_taken:
                self._waiting.append(batch)
        return portions


def _spend(batch: Batch, documents_left: int) -> None:
    """Take at most *documents_left* documents of *batch*, while it has credit."""
    while batch.credit > 0 and not batch.is_taken and documents_left > 0:
        batch.credit -= len(batch.documents[batch.taken].raw)
        batch.taken += 1
        documents_left -= 1
