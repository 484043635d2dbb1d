"""The simulated world's time: one queue of what happens when, in one fixed order."""

import heapq
import random
from collections.abc import Callable

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

Call = Callable[[], object]


class Violated(Exception):
    """A rule of the protocol was broken."""


class World:
    """Runs calls at their true time, in nanoseconds; *seed* decides every chance."""

    def __init__(self, seed: int) -> None:
        self.now = 0
        self.steps = 0
        self.random = random.Random(seed)  # noqa: S311  it must be repeatable
        self.trace: list[str] | None = None
        self._queue: list[tuple[int, int, Call]] = []
        self._count = 0

    def at(self, when: int, call: Call) -> None:
        """Have *call* made at the true time *when*."""
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, call))

    def after(self, delay: int, call: Call) -> None:
        """Have *call* made *delay* from now."""
        self.at(self.now + delay, call)

    def step(self) -> None:
        """Go on to the next call, and make it."""
        self.now, _, call = heapq.heappop(self._queue)
        self.steps += 1
        call()

    def between(self, low: int, high: int) -> int:
        """A whole number by chance, from *low* up to below *high*."""
        return low + int(self.random.random() * (high - low))

    def note(self, who: str, what: str) -> None:
        """Write *what* happened into the trace, if one is kept."""
        if self.trace is not None:
            self.trace.append(f"{self.now / SECOND:10.4f} s  {who}  {what}")


class Process:
    """A process: frozen, what arrives waits for the thaw; dead, it is lost."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.alive = True
        self.incarnation = 0
        self._frozen = 0
        self._waiting: list[Call] = []

    @property
    def frozen(self) -> bool:
        """Whether its code does not run now."""
        return self._frozen > 0

    def receive(self, call: Call) -> None:
        """Make *call* in this process, as soon as it runs."""
        if not self.alive:
            return
        if self._frozen:
            self._waiting.append(call)
        else:
            call()

    def after(self, delay: int, call: Call) -> None:
        """Make *call* in this life of the process, *delay* from now at the earliest."""
        incarnation = self.incarnation

        def due() -> None:
            if self.incarnation == incarnation:
                self.receive(call)

        self._world.after(delay, due)

    def freeze(self) -> None:
        """Stop running; freezes add up."""
        self._frozen += 1

    def thaw(self) -> None:
        """Undo one freeze."""
        self._frozen -= 1
        if not self._frozen:
            waiting, self._waiting = self._waiting, []
            incarnation = self.incarnation
            for call in waiting:
                if self.incarnation == incarnation:
                    self.receive(call)

    def kill(self) -> None:
        """End, and forget what waits."""
        self.alive = False
        self.incarnation += 1
        self._waiting.clear()

    def start(self) -> None:
        """Begin a new life."""
        self.alive = True


class Network:
    """Carries messages between hosts, or loses, delays, repeats and reorders them.

    There are two planes, "node" and "mongo"; links are cut one way at a time.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._cuts: dict[tuple[str, int, int], int] = {}
        self.loss = 0.0
        self.repeated = 0.0
        self.delay = 0

    def cut(self, plane: str, source: int, target: int, *, by: int = 1) -> None:
        """Cut the way from *source* to *target*; with *by* -1, undo one cut."""
        key = (plane, source, target)
        self._cuts[key] = self._cuts.get(key, 0) + by

    def passes(self, plane: str, source: int, target: int) -> bool:
        """Whether the way from *source* to *target* is whole."""
        return not self._cuts.get((plane, source, target), 0)

    def send(self, plane: str, source: int, target: int, call: Call) -> None:
        """Make *call* at the other end, some time from now, if it arrives."""
        if not self.passes(plane, source, target):
            return
        chance = self._world.random.random
        if self.loss and chance() < self.loss:
            return
        self._carry(call)
        if self.repeated and chance() < self.repeated:
            self._carry(call)

    def _carry(self, call: Call) -> None:
        delay = self._world.between(MILLISECOND // 10, 2 * MILLISECOND)
        if self.delay and self._world.random.random() < 0.3:
            delay += self._world.between(0, self.delay)
        self._world.after(delay, call)
