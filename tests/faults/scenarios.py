"""The scenarios, as data: what is done, what must come of it, and how soon.

`CHOSEN` is played by `make test`; `ALL` by `make chaos`. Budgets are generous, since
the machine that runs this may be small and busy; the table shows what was measured.
"""

from dataclasses import dataclass
from enum import StrEnum
from signal import SIGSTOP, SIGTERM

from tests.faults import steps as do
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

    Time to service may be *budget* seconds. *watched* is how many seconds pass, at
    least, before it is healed. With *thaws* nothing that was asked of a frozen host
    may be answered after the thaw.
    """

    name: str
    cases: str
    steps: tuple[Step, ...]
    expect: Expect = Expect.MOVES
    budget: float = 10.0
    watched: float = 0.0
    thaws: bool = False


CHOSEN = (
    Scenario("node process killed", "1, 14", (do.end("node"),)),
    Scenario("mongod killed", "2", (do.end("mongod"),)),
    Scenario("all processes killed", "3", (do.end_all(),)),
    Scenario(
        "host frozen 6 s, requests queued",
        "7, 8",
        (do.freeze(), do.pause(6), do.thaw(), do.pause(2)),
        thaws=True,
    ),
    Scenario("node process hung", "5", (do.end("node", SIGSTOP),)),
    Scenario("mongod hung", "6", (do.end("mongod", SIGSTOP),)),
    Scenario("link down", "19", (do.unplug(),)),
    Scenario(
        "cut from both peers, not from users",
        "18",
        (do.firewall("cut", "primary", "standbys"),),
    ),
    Scenario(
        "hears nobody of its peers, is heard",
        "20",
        (do.firewall("drop_from", "primary", "standbys"),),
    ),
    Scenario(
        "cut from one peer, both see the third",
        "21",
        (do.firewall("cut", "primary", "standby"),),
        expect=Expect.STAYS,
        watched=15,
    ),
    Scenario(
        "management server killed",
        "59",
        (do.end("management"),),
        expect=Expect.SERVES,
        watched=4,
    ),
    Scenario("switchover by API", "57", (do.switch_over(),), budget=5),
    Scenario("node process ended by SIGTERM", "4", (do.end("node", SIGTERM),)),
)

ALL = CHOSEN
