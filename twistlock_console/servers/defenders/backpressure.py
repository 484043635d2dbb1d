"""Bounds the memory that unfinished messages take, of all Defenders together.

While the database is slow and much has arrived, whoever sends more is not read any
more: TCP tells the Defender to wait, and its events stay in its outbox. When nothing
waits for the database, some are always read: else parts of messages might fill the
memory, and none would ever be whole.
"""

from collections import deque
from typing import Protocol

LIMIT = 64 * 1024 * 1024
"""Bytes that may be unfinished before reading stops."""
AT_ONCE = 32
"""Connections that are read again at a time."""


class Source(Protocol):
    """A connection's transport, as far as it is used here."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Read again."""


class Intake:
    """Counts bytes from their arrival until their message was dealt with."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._paused: deque[Source] = deque()
        self._storing = 0
        self.unfinished = 0

    @property
    def is_full(self) -> bool:
        """Whether more should not be read now."""
        return self._storing > 0 and self.unfinished > self._limit

    @property
    def paused(self) -> list[Source]:
        """Who is not read now."""
        return list(self._paused)

    def received(self, source: Source, size: int) -> None:
        """Count *size* bytes more from *source*, which may be paused for it."""
        self.unfinished += size
        if self.is_full:
            source.pause_reading()
            self._paused.append(source)

    def begins(self) -> None:
        """Note that a message begins to wait for the database."""
        self._storing += 1

    def ends(self) -> None:
        """Note that it does not wait any more."""
        self._storing -= 1

    def finished(self, size: int) -> None:
        """Forget *size* bytes that were dealt with, or whose Defender left."""
        self.unfinished -= size
        if self._paused and not self.is_full:
            for _ in range(min(AT_ONCE, len(self._paused))):
                self._paused.popleft().resume_reading()
