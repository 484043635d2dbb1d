"""Changes of the register, gathered and written together a few times a second."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

EVERY_SECONDS = 0.25
MOST = 1000
log = logging.getLogger(__name__)


class Ledger:
    """Of several changes of the same thing only the last is written, with *write*."""

    def __init__(self, write: Callable[[list[UpdateOne]], Awaitable[None]]) -> None:
        self._write = write
        self._changes: dict[tuple[str, str], UpdateOne] = {}

    def note(self, defender: str, thing: str, change: UpdateOne) -> None:
        """Have *change* written soon, in the place of one of the same *thing*."""
        self._changes.pop((defender, thing), None)
        self._changes[defender, thing] = change

    async def run(self) -> None:
        """Write for ever; what could not be written is tried again."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            taken = dict(list(self._changes.items())[:MOST])
            for key in taken:
                del self._changes[key]
            if taken:
                await self._try(taken)

    async def _try(self, taken: dict[tuple[str, str], UpdateOne]) -> None:
        try:
            await self._write(list(taken.values()))
        except PyMongoError as error:
            log.warning("the register of Defenders waits: %s", error)
            # What was noted meanwhile is newer, and comes behind what was not.
            older = {k: v for k, v in taken.items() if k not in self._changes}
            self._changes = {**older, **self._changes}
