"""A scenario, as a value: what is done, what must come of it, and how soon."""

from dataclasses import dataclass
from enum import StrEnum

from tests.faults.grounds import Ground
from tests.faults.steps import Step


class Expect(StrEnum):
    """What a fault must lead to."""

    MOVES = "another node serves"
    STAYS = "the same node serves, under the same epoch"
    SERVES = "some node serves"
    CLOSES = "no node serves until it is healed"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault. *cases* are its numbers in the list of faults.

    Time to service may be *budget* seconds of an idle machine (`Pace`). *watched* is
    how many seconds pass, at least, before it is healed. With *thaws* nothing that was
    asked of a frozen host may be answered after the thaw.
    """

    name: str
    cases: str
    steps: tuple[Step, ...]
    expect: Expect = Expect.MOVES
    budget: float = 10.0
    watched: float = 0.0
    thaws: bool = False
    ground: Ground = Ground.PLAIN
