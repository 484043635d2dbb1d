"""One simulated run: a seed, its faults, and the rules that must hold throughout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from plugins.ha.consensus.lease_duration import LeaseBounds
from plugins.ha.consensus.state import Timing
from tests.simulation.beats import HEARTBEAT
from tests.simulation.fault_kinds import begin, draw
from tests.simulation.faults import Fault, Stage
from tests.simulation.mongod import Mongod
from tests.simulation.node import Node
from tests.simulation.world import MILLISECOND, SECOND, Network, Violated, World

FAULTS_FROM = 3 * SECOND
FAULTS_SPAN = 4 * SECOND
RECOVERED_WITHIN = 30 * SECOND
# A node whose ports failed again and again rests up to a minute.
RECOVERED_AFTER_REST = 100 * SECOND
STABLE = SECOND // 2
DRIFT = 0.10
#: How the ttl is chosen: never, as nodes do it, or at will. No choice may break a rule.
LEASES = ("fixed", "adaptive", "random")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run depends on."""

    seed: int
    faults: tuple[Fault, ...]
    ttls: tuple[int, int, int]
    rates: tuple[float, float, float]
    patient: bool
    lease: str = "fixed"

    @classmethod
    def drawn(cls, seed: int, kinds: Sequence[str] = ()) -> "Plan":
        """The plan that *seed* stands for, of certain *kinds* of faults or of all."""
        chance = Random(f"plan {seed}")  # noqa: S311  it must be repeatable
        same = chance.choice((1000, 1500, 1500, 3000))
        mixed = chance.random() < 0.25
        ttls = tuple(
            (chance.choice((1000, 1500, 3000)) if mixed else same) * MILLISECOND
            for _ in range(3)
        )
        rates = tuple(1 + chance.choice((-DRIFT, 0, DRIFT)) for _ in range(3))
        faults = draw(seed, chance.randrange(1, 7), FAULTS_SPAN, kinds)
        patient = chance.random() < 0.2
        return cls(seed, faults, ttls, rates, patient, chance.choice(LEASES))  # type: ignore[arg-type]

    @classmethod
    def scripted(
        cls, seed: int, script: Sequence[Fault], ttl: int, lease: str = "fixed"
    ) -> "Plan":
        """These faults, each a little later as *seed* has it, and perfect clocks."""
        chance = Random(f"script {seed}")  # noqa: S311  it must be repeatable
        faults = tuple(
            replace(f, at=f.at + chance.randrange(SECOND // 5)) for f in script
        )
        ttls, rates = (ttl, ttl, ttl), (1.0, 1.0, 1.0)
        return cls(seed, faults, ttls, rates, patient=True, lease=lease)


class Run:
    """Three nodes in one world, and an eye on the rules."""

    def __init__(self, plan: Plan, *, trace: bool = False) -> None:
        self.plan = plan
        self.world = World(plan.seed)
        self.world.trace = [] if trace else None
        self.network = Network(self.world)
        self.nodes = [self._node(number) for number in range(3)]
        self.epoch = 0
        self.server: tuple[int, int] | None = None
        self.servings = 0
        self._wire()

    def _node(self, number: int) -> Node:
        mongod = Mongod(self.world, self.network, number)
        timing = Timing(self._bounds(number), 700 * MILLISECOND, HEARTBEAT)
        node = Node(self.world, self.network, mongod, timing, self.plan.rates[number])
        node.random_ttl = self.plan.lease == "random"
        if self.plan.patient:
            node.lease.patience_factor = 10
        return node

    def _bounds(self, number: int) -> LeaseBounds:
        ttl = self.plan.ttls[number]
        if self.plan.lease == "fixed":
            return LeaseBounds.fixed(ttl)
        # Calm is short: a run lasts for seconds, and the lease must fall in it, too.
        return LeaseBounds(ttl // 2, ttl, ttl * 4, SECOND // 2, SECOND // 4)

    def _wire(self) -> None:
        for node in self.nodes:
            node.peers = [other for other in self.nodes if other is not node]
            node.mongod.peers = [other.mongod for other in node.peers]
            node.ports.opened = self._opened(node)
        for node in self.nodes:
            node.mongod.start()
            node.start()

    def _opened(self, node: Node) -> Callable[[int], None]:
        def opened(epoch: int) -> None:
            if not node.ports.serving():
                return
            self.world.note(node.address, f"serves under epoch {epoch}")
            who = (node.number, node.node_process.incarnation)
            if epoch < self.epoch or (epoch == self.epoch and who != self.server):
                raise Violated(f"{node.address} serves under epoch {epoch} again")
            if epoch <= node.observation.last_renounced_epoch:
                raise Violated(f"{node.address} serves under epoch {epoch}, renounced")
            self.servings += (epoch, who) != (self.epoch, self.server)
            self.epoch, self.server = epoch, who

        return opened

    def until(self, end: int) -> None:
        """Run up to the true time *end*; raises Violated."""
        world, nodes = self.world, self.nodes
        while world.now < end:
            world.step()
            if sum(node.ports.server is not None for node in nodes) > 1:
                self._check()

    def _check(self) -> None:
        serving = [node.address for node in self.nodes if node.ports.serving()]
        if len(serving) > 1:
            self.world.note("*", f"{serving} serve at once")
            raise Violated(f"{' and '.join(serving)} serve at the same instant")

    def play(self) -> None:
        """Form, suffer the faults, heal, and serve again; raises Violated."""
        ends = self.schedule()
        self.until(FAULTS_FROM + FAULTS_SPAN)
        for end in ends:
            self.until(max(end, self.world.now))
        healed = self.world.now
        self.world.note("*", "all faults have ended")
        sick = any("ports" in f.kind or "servers" in f.kind for f in self.plan.faults)
        limit = RECOVERED_AFTER_REST if sick else RECOVERED_WITHIN
        self._recover(healed + limit)

    def schedule(self) -> list[int]:
        """Have the faults happen; gives when they end, in order."""
        stage = Stage(self.network, self.nodes)
        for fault in self.plan.faults:
            self.world.at(FAULTS_FROM + fault.at, partial(self._strike, stage, fault))
        return sorted(FAULTS_FROM + f.at + f.length for f in self.plan.faults)

    def _strike(self, stage: Stage, fault: Fault) -> None:
        self.world.note("*", str(fault))
        end = begin(fault, stage)
        if end is not None:
            self.world.after(fault.length, end)

    def _recover(self, limit: int) -> None:
        """Somebody serves before *limit*, and goes on for a while."""
        while self.world.now < limit:
            self.until(self.world.now + SECOND // 4)
            before = self.server
            if any(node.serves() for node in self.nodes):
                self.until(self.world.now + STABLE)
                if self.server == before and any(n.serves() for n in self.nodes):
                    return
        reasons = "; ".join(f"{node.address}: {node.reason}" for node in self.nodes)
        raise Violated(f"no node serves long after the faults have ended: {reasons}")
