"""Finding the Console that serves: all its addresses are tried, no dead one waited for.

A new attempt begins as soon as one fails, or a moment after the last began. The first
Console that greets us with an epoch we may obey wins; the other attempts end.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from twistlock_defender.common.clock import boottime
from twistlock_defender.link.backoff import Target, due, in_turn, pause

STAGGER_SECONDS = 0.25
T = TypeVar("T")


class Names(Protocol):
    """Where the addresses come from."""

    async def targets(self) -> list[Target]:
        """All addresses that are known now."""


class Dialer(Generic[T]):
    """Tries what *names* gives with *attempt*, which tells of its failures itself.

    *discard* takes what a second successful attempt gave, and what *stands* no more:
    several may succeed at once, and one of them may outdate another.
    """

    def __init__(
        self,
        names: Names,
        attempt: Callable[[Target], Awaitable[T | None]],
        stands: Callable[[T], bool],
        discard: Callable[[T], object],
    ) -> None:
        self._names = names
        self._attempt = attempt
        self._stands = stands
        self._discard = discard
        self._began: dict[asyncio.Task[T | None], tuple[Target, float]] = {}

    async def dial(self, round_: int) -> T:
        """Give what the first successful attempt gave, however long that takes.

        *round_* says how many rounds failed just before.
        """
        try:
            while True:
                if (found := await self._round()) is not None:
                    return found
                seconds = pause(round_, random.random())  # noqa: S311  no secret
                if (found := await self._settle(seconds, every=True)) is not None:
                    return found
                round_ += 1
        finally:
            await self._end_others()

    async def _round(self) -> T | None:
        targets = await self._names.targets()
        ages: dict[Target, list[float]] = {}
        for target, began in self._began.values():
            ages.setdefault(target, []).append(boottime() - began)
        chances = [random.random() for _ in targets]  # noqa: S311  no secret
        for target in due(in_turn(targets, chances), ages):
            task = asyncio.ensure_future(self._attempt(target))
            self._began[task] = (target, boottime())
            if (found := await self._settle(STAGGER_SECONDS)) is not None:
                return found
        return None

    async def _end_others(self) -> None:
        for task in self._began:
            task.cancel()
        results = await asyncio.gather(*self._began, return_exceptions=True)
        self._began.clear()
        for result in results:
            if result is not None and not isinstance(result, BaseException):
                self._discard(result)

    async def _settle(self, seconds: float, *, every: bool = False) -> T | None:
        """Wait for a success; without *every* until one attempt has ended."""
        end = boottime() + seconds
        while (left := end - boottime()) > 0:
            if not self._began:
                await asyncio.sleep(left if every else 0)
                return None
            done, _ = await asyncio.wait(
                self._began, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del self._began[task]
                if (found := task.result()) is not None:
                    if self._stands(found):
                        return found
                    self._discard(found)
            if done and not every:
                return None
        return None
