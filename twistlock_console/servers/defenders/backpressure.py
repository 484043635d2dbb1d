"""Limits the bytes that unfinished and unprocessed messages of all Defenders take.

Above half of the limit, connections that hold much are not read any more: TCP makes
their Defenders wait, whose events stay in their outboxes. Small messages go on. If then
most of what is held are parts of messages, a few of those connections are read all the
same, so that their messages become whole, or are closed if they do not soon.

At the limit none is read. Above it, and if what is held does not become less for too
long, the connection with the largest part of a message is closed.
"""

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

LIMIT_BYTES = 24 * 1024 * 1024
SMALL_BYTES = 320 * 1024
"""A connection that holds less is read up to the limit; Defenders send 256 KiB."""
RESUMED_AT_ONCE = 32
MAX_COMPLETING = 8
"""So many connections may complete a large message while others are paused."""
COMPLETION_TIMEOUT_S = 5.0
STUCK_AFTER_S = 10.0
"""At the limit for so long: connections are closed."""


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


S = TypeVar("S", bound=Source)


class ReadLimiter(Generic[S]):
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
        self._threshold = limit // 2
        self._small = small
        self._clock = clock
        self._held: dict[S, tuple[int, int]] = {}
        self._paused_small: dict[S, None] = {}
        self._paused_large: dict[S, None] = {}
        self._completing: dict[S, float] = {}
        self._full_since: float | None = None
        self.total = 0
        self.incomplete = 0

    @property
    def paused(self) -> list[S]:
        """Return the connections that are not read now."""
        return [*self._paused_small, *self._paused_large]

    @property
    def holding(self) -> list[S]:
        """Return the connections that hold anything."""
        return list(self._held)

    def update(self, source: S) -> None:
        """Take over what *source* holds now; it may be paused or closed for it."""
        before, part = self._held.pop(source, (0, 0))
        self.total += source.held - before
        self.incomplete += source.incomplete - part
        if source.held:
            self._held[source] = (source.held, source.incomplete)
        if not source.incomplete:
            self._completing.pop(source, None)
        if source.held > before and self._must_wait(source):
            source.pause_reading()
            self._paused_large[source] = None
        if source in self._paused_large and source.held <= self._small:
            del self._paused_large[source]
            self._paused_small[source] = None
        self._relieve()

    def discard(self, source: S) -> None:
        """Forget *source*, which ended."""
        self._forget(source)
        self._relieve()

    def check(self) -> None:
        """Close connections that keep memory from others; call it every second."""
        now = self._clock()
        for source, since in list(self._completing.items()):
            if now - since > COMPLETION_TIMEOUT_S:
                self._close(source, "a large message took too long")
        if self._full_since is not None and now - self._full_since > STUCK_AFTER_S:
            self._close_largest("the memory for messages is used up")
        self._relieve()

    def _must_wait(self, source: S) -> bool:
        if self.total > self._limit:
            return True
        is_large = self.total > self._threshold and source.held > self._small
        return is_large and source not in self._completing

    def _relieve(self) -> None:
        can_progress = self.total - self.incomplete > self._threshold // 8
        if self.total > self._limit * 5 // 4 or not can_progress:
            self._close_largest("too many unfinished messages")
        if self.total > self._limit:
            if self._full_since is None:
                self._full_since = self._clock()
            return
        self._full_since = None
        _resume(self._paused_small, RESUMED_AT_ONCE)
        if self.total <= self._threshold:
            _resume(self._paused_large, RESUMED_AT_ONCE)
        elif not can_progress:
            self._complete_some()

    def _complete_some(self) -> None:
        """Have the connections that wait for longest complete their messages."""
        free = MAX_COMPLETING - len(self._completing)
        waiting = list(self._paused_large)[:free]
        for source in waiting:
            self._completing[source] = self._clock()
        _resume(self._paused_large, len(waiting))

    def _close_largest(self, reason: str) -> None:
        """Close those with the largest parts of messages until the limit is kept."""
        while self.total > self._limit and self._held:
            self._close(
                max(self._held, key=lambda each: (each.incomplete, each.held)), reason
            )

    def _close(self, source: S, reason: str) -> None:
        self._forget(source)
        source.abort(reason)

    def _forget(self, source: S) -> None:
        held, part = self._held.pop(source, (0, 0))
        self.total -= held
        self.incomplete -= part
        self._paused_small.pop(source, None)
        self._paused_large.pop(source, None)
        self._completing.pop(source, None)


def _resume(paused: dict[S, None], count: int) -> None:
    """Read some again; all of them together would fill the memory at once."""
    for source in list(paused)[:count]:
        del paused[source]
        source.resume_reading()
