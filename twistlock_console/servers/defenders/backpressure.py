"""Limits the bytes that unfinished and unprocessed messages of all Defenders take.

Above the limit, connections that hold much are not read any more: TCP makes their
Defenders wait, whose events stay in their outboxes. Well above it none is read. If what
is held cannot become less by itself, since it consists of parts of messages, or if it
does not for too long, the connection that holds most is closed.
"""

import time
from collections.abc import Callable
from typing import Protocol

LIMIT_BYTES = 32 * 1024 * 1024
SMALL_BYTES = 64 * 1024
"""A connection that holds less is still read somewhat above the limit."""
RESUMED_AT_ONCE = 32
STUCK_AFTER_S = 10.0
"""Above the limit for so long: connections are closed until it is kept."""


class Source(Protocol):
    """A connection, as far as it is used here.

    *held* counts all bytes that it holds; *incomplete* those of them that belong to a
    message that has not arrived whole.
    """

    held: int
    incomplete: int

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read again."""

    def abort(self, reason: str) -> None:
        """Close the connection at once."""


class Intake:
    """Adds up what all connections hold; runs on the event loop alone.

    *total* and *incomplete* are sums over all connections.
    """

    def __init__(
        self,
        limit: int = LIMIT_BYTES,
        small: int = SMALL_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._small = small
        self._clock = clock
        self._held: dict[Source, tuple[int, int]] = {}
        self._paused: dict[Source, None] = {}
        self._exceeded_since: float | None = None
        self.total = 0
        self.incomplete = 0

    @property
    def paused(self) -> list[Source]:
        """Return the connections that are not read now."""
        return list(self._paused)

    @property
    def holding(self) -> list[Source]:
        """Return the connections that hold anything."""
        return list(self._held)

    def update(self, source: Source) -> None:
        """Take over what *source* holds now; it may be paused or closed for it."""
        before, part = self._held.pop(source, (0, 0))
        self.total += source.held - before
        self.incomplete += source.incomplete - part
        if source.held:
            self._held[source] = (source.held, source.incomplete)
        if source.held > before and self._must_wait(source):
            self._paused[source] = None
            source.pause_reading()
        self._relieve()

    def discard(self, source: Source) -> None:
        """Forget *source*, which ended."""
        self._forget(source)
        self._relieve()

    def check(self) -> None:
        """Close connections if the limit is exceeded for too long, else read more.

        Call it every second or so.
        """
        since = self._exceeded_since
        if since is not None and self._clock() - since > STUCK_AFTER_S:
            self._close_greediest(self._limit, "the memory for messages is used up")
        self._relieve()

    def _must_wait(self, source: Source) -> bool:
        if self.total > self._limit * 5 // 4:
            return True
        return self.total > self._limit and source.held > self._small

    def _relieve(self) -> None:
        if self.total > self._limit * 3 // 2:
            self._close_greediest(self._limit * 5 // 4, "too many unfinished messages")
        if self.total > self._limit and self.total == self.incomplete:
            self._close_greediest(self._limit, "too many unfinished messages")
        if self.total > self._limit:
            if self._exceeded_since is None:
                self._exceeded_since = self._clock()
            return
        self._exceeded_since = None
        self._resume_some()

    def _close_greediest(self, target: int, reason: str) -> None:
        while self.total > target and self._held:
            source = max(self._held, key=lambda each: (each.incomplete, each.held))
            self._forget(source)
            source.abort(reason)

    def _forget(self, source: Source) -> None:
        held, part = self._held.pop(source, (0, 0))
        self.total -= held
        self.incomplete -= part
        self._paused.pop(source, None)

    def _resume_some(self) -> None:
        """Read some again; all of them together would exceed the limit at once."""
        for source in list(self._paused)[:RESUMED_AT_ONCE]:
            del self._paused[source]
            source.resume_reading()
