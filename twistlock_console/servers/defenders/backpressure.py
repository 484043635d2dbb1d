"""Backpressure: limit the memory of messages that were not processed yet.

Above half of the limit, connections that hold much are paused: TCP makes their
Defenders wait, and the events stay in the Defenders' outboxes. Small messages are still
read. If then most of the memory is taken by incomplete messages, a few of the paused
connections are read, so that their messages become complete; they are closed if that
takes too long.

At the limit all are paused. Above it, and if the memory is not freed for too long, the
connection with the largest incomplete message is closed.
"""

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

LIMIT_BYTES = 24 * 1024 * 1024
SMALL_BYTES = 320 * 1024
"""A connection that holds less is read up to the limit; Defenders send 256 KiB."""
RESUME_BATCH_SIZE = 32
MAX_COMPLETING = 8
"""Connections that may complete a large message while others are paused."""
COMPLETION_TIMEOUT_S = 5.0
STUCK_AFTER_S = 10.0
"""Connections are closed after so long at the limit."""


class LimitedSource(Protocol):
    """A connection whose memory is limited.

    *held* counts all bytes that it holds; *incomplete* those of them that belong to a
    message that has not arrived completely.
    """

    held: int
    incomplete: int

    def pause_reading(self) -> None:
        """Stop reading."""

    def resume_reading(self) -> None:
        """Continue reading."""

    def abort(self, reason: str) -> None:
        """Close the connection at once."""


S = TypeVar("S", bound=LimitedSource)


class ReadLimiter(Generic[S]):
    """Pauses, resumes and closes connections by the memory they hold; event loop only.

    *total* and *incomplete* are sums over all connections, in bytes. A connection that
    holds at most *small* bytes is read until the *limit* is reached.
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
        """Return the connections that are paused."""
        return [*self._paused_small, *self._paused_large]

    @property
    def holding(self) -> list[S]:
        """Return the connections that hold any bytes."""
        return list(self._held)

    def update(self, source: S) -> None:
        """Update the bytes that *source* holds; pause or close it if too many."""
        before, part = self._held.pop(source, (0, 0))
        self.total += source.held - before
        self.incomplete += source.incomplete - part
        if source.held:
            self._held[source] = (source.held, source.incomplete)
        if not source.incomplete:
            self._completing.pop(source, None)
        if source.held > before and self._must_pause(source):
            source.pause_reading()
            self._paused_large[source] = None
        if source in self._paused_large and source.held <= self._small:
            del self._paused_large[source]
            self._paused_small[source] = None
        self._apply_limits()

    def discard(self, source: S) -> None:
        """Forget *source*, which ended."""
        self._forget(source)
        self._apply_limits()

    def check(self) -> None:
        """Close connections that hold memory for too long; call it every second."""
        now = self._clock()
        for source, since in list(self._completing.items()):
            if now - since > COMPLETION_TIMEOUT_S:
                self._close(source, "a large message took too long")
        if self._full_since is not None and now - self._full_since > STUCK_AFTER_S:
            self._close_largest("the memory for messages is used up")
        self._apply_limits()

    def _must_pause(self, source: S) -> bool:
        if self.total > self._limit:
            return True
        is_large = self.total > self._threshold and source.held > self._small
        return is_large and source not in self._completing

    def _apply_limits(self) -> None:
        can_progress = self.total - self.incomplete > self._threshold // 8
        if self.total > self._limit * 5 // 4 or not can_progress:
            self._close_largest("too many unfinished messages")
        if self.total > self._limit:
            if self._full_since is None:
                self._full_since = self._clock()
            return
        self._full_since = None
        _resume(self._paused_small, RESUME_BATCH_SIZE)
        if self.total <= self._threshold:
            _resume(self._paused_large, RESUME_BATCH_SIZE)
        elif not can_progress:
            self._complete_some()

    def _complete_some(self) -> None:
        """Resume the connections paused for longest, to complete their messages."""
        free = MAX_COMPLETING - len(self._completing)
        waiting = list(self._paused_large)[:free]
        for source in waiting:
            self._completing[source] = self._clock()
        _resume(self._paused_large, len(waiting))

    def _close_largest(self, reason: str) -> None:
        """Close those with the largest incomplete messages until the limit is kept."""
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
    """Resume the first *count*; all of them together would fill the memory at once."""
    for source in list(paused)[:count]:
        del paused[source]
        source.resume_reading()
