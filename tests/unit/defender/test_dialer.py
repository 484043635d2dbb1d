"""Dialling: of all that is tried at once, one Console that may be obeyed wins."""

import asyncio
from pathlib import Path

from twistlock_defender.link.backoff import Target
from twistlock_defender.link.connection import HighestEpoch
from twistlock_defender.link.dialer import Dialer

OLD, NEW = Target("10.0.0.1", 8084, "console"), Target("10.0.0.2", 8084, "console")
EPOCHS = {OLD: 5, NEW: 6}
ROUNDS = 20
"""Chance says which of two is looked at first; so often it is each."""


class Names:
    """Two Consoles."""

    async def targets(self) -> list[Target]:
        """Both."""
        return [OLD, NEW]


def test_of_two_that_greet_at_once_the_later_epoch_wins(tmp_path: Path) -> None:
    """The earlier one was admitted a moment before, and is let go."""
    discarded: list[int] = []

    async def dial(epochs: HighestEpoch) -> int:
        trying: set[Target] = set()
        both, heard = asyncio.Event(), asyncio.Event()

        async def attempt(target: Target) -> int:
            trying.add(target)
            if len(trying) == len(EPOCHS):
                both.set()
            await both.wait()
            if target == NEW:
                await heard.wait()
            assert epochs.accept(EPOCHS[target])
            heard.set()
            return EPOCHS[target]

        dialer = Dialer(Names(), attempt, epochs.accept, discarded.append)
        return await dialer.dial(0)

    async def scene() -> list[int]:
        folders = (tmp_path / str(number) for number in range(ROUNDS))
        return await asyncio.gather(*(dial(HighestEpoch(path)) for path in folders))

    assert asyncio.run(scene()) == [EPOCHS[NEW]] * ROUNDS
    assert discarded == [EPOCHS[OLD]] * ROUNDS
