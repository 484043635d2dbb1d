"""A simulated node: the real decision, transitions and heartbeats in a simulated shell.

What `ControlLoop`, the actions of the executor, `MemberMonitor` and `Heartbeats` do
with threads is done here with timers, one thing at a time, in the same order.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from plugins.ha.consensus import decision, transitions
from plugins.ha.consensus.lease import LeaseDocument
from plugins.ha.consensus.lease_duration import LeaseDuration
from plugins.ha.consensus.state import (
    DEAD_MEMBER,
    Member,
    Observation,
    Timing,
    Update,
)
from plugins.ha.consensus.state import Ports as PortState
from tests.simulation.beats import HEARTBEAT, Beat
from tests.simulation.lease_asker import LeaseAsker
from tests.simulation.mongod import Mongod
from tests.simulation.server import Permit, Ports
from tests.simulation.workers import Workers
from tests.simulation.world import (
    MILLISECOND,
    SECOND,
    Network,
    Process,
    Violated,
    World,
)

HELLO = 250 * MILLISECOND
SPIN = 40


class Node:
    """One node, with its member, its ports and a clock that runs at its own *rate*."""

    def __init__(
        self,
        world: World,
        network: Network,
        mongod: Mongod,
        timing: Timing,
        rate: float,
    ) -> None:
        self.world = world
        self.network = network
        self.number = mongod.number
        self.address = f"n{mongod.number}"
        self.mongod = mongod
        self.timing = timing
        self.node_process = Process(world)
        self.ports = Ports(world, self.node_process, self.clock, Permit())
        self.peers: Sequence[Node] = ()
        self.random_ttl = False
        self._rate = rate
        self._offset = world.between(SECOND, 1000 * SECOND)
        self.ports.lost = self.ports_lost
        mongod.changed = self._member_changed
        self._reset()

    def _reset(self) -> None:
        self.observation = Observation(self.address, self.number, self.timing)
        self.reason = "starting"
        self.lease = LeaseAsker(self)
        self.workers = Workers(self)
        self._wakes = 0
        self._silences = 0

    def clock(self) -> int:
        """This node's boot-time clock; it goes on while the node is frozen."""
        return self._offset + int(self.world.now * self._rate)

    # Life.

    def start(self) -> None:
        """Start the node process and its database."""
        self.node_process.start()
        self._reset()
        if not self.mongod.process.alive:
            self.mongod.start()
        self.node_process.receive(self._run)

    def _run(self) -> None:
        self.node_process.after(self.world.between(0, SECOND), self._set_peers)
        self.node_process.after(1, self._watch)
        self.node_process.after(self.world.between(0, HEARTBEAT), self._sight)
        for peer in self.peers:
            Beat(self, peer)
        self._decide()

    def kill(self) -> None:
        """The node process ends, and its servers and its database with it."""
        self.world.note(self.address, "is killed")
        self.node_process.kill()
        self.ports.permit = Permit()
        self.ports.server = None
        self.mongod.kill()

    def _set_peers(self) -> None:
        members = {peer.address: peer.number for peer in self.peers}
        self.submit(
            lambda observation: transitions.members_changed(
                observation, self.number, members
            )
        )

    # The control loop.

    def submit(self, update: Update) -> None:
        """Replace the observation by *update* of it, then decide."""
        self._change(update(self.observation))
        self._decide()

    def _choose_any_ttl(self, now: int) -> None:
        bounds = self.timing.lease
        ttl = self.world.random.choice((bounds.floor, bounds.start, bounds.ceiling))
        chosen = LeaseDuration(ttl, "drawn by the simulation", now)
        self.observation = replace(self.observation, lease_duration=chosen)

    def _decide(self) -> None:
        for _ in range(SPIN):
            now = self.clock()
            if self.random_ttl:
                self._choose_any_ttl(now)
            found = decision.decide(self.observation, now)
            self.reason = found.reason
            for action in found.actions:
                self.world.note(self.address, f"{found.reason}: {action}")
                self._change(
                    transitions.action_started(
                        self.observation, action, found.reason, now
                    )
                )
                self.workers.perform(action)
            self._be_honest()
            if not found.actions:
                self._wake(found.wake_at - now)
                return
        raise Violated(f"{self.address} decides without end: {self.reason}")

    def _be_honest(self) -> None:
        server = self.ports.server
        if self.observation.ports is PortState.CLOSED and server and server.listens:
            raise Violated(f"{self.address} says that open ports are closed")
        if (
            self.observation.held_lease is not None
            and self.clock() >= self.observation.held_lease.deadline
        ):
            raise Violated(f"{self.address} keeps a lease that ran out")

    def _wake(self, wait: int) -> None:
        self._wakes += 1
        number = self._wakes

        def due() -> None:
            if number == self._wakes:
                self._decide()

        if wait < 1000 * SECOND:
            self.node_process.after(max(int(wait / self._rate) + 1, MILLISECOND), due)

    def _change(self, observation: Observation) -> None:
        before, self.observation = self.observation, observation
        if observation.held_lease is None:
            if before.held_lease is not None:
                self.ports.revoked()
            self.ports.permit.deadline = 0
        elif observation.held_lease is not before.held_lease:
            self.ports.permit.grant(
                observation.held_lease.document.epoch, observation.held_lease.deadline
            )

    # What it learns.

    def ports_lost(self) -> None:
        """The servers did not start, or ended by themselves."""
        end = transitions.ServerFailure("management", "ended")
        now = self.clock()
        self.submit(lambda s: transitions.server_failed(s, end, now, others_run=False))

    def _member_changed(self) -> None:
        if not self.mongod.process.alive:
            self.node_process.after(MILLISECOND, partial(self._tell, DEAD_MEMBER, None))
            return
        self.node_process.after(self.world.between(1, 20) * MILLISECOND, self._hello)

    def _hello(self) -> None:
        mongod = self.mongod
        if not mongod.process.alive or mongod.process.frozen:
            return
        self._silences = 0
        member, optime = mongod.hello(), mongod.tip.optime
        if member != self.observation.member or optime != self.observation.optime:
            self._tell(member, optime)

    def _tell(self, member: Member | None, optime: tuple[int, int] | None) -> None:
        now = self.clock()
        self.submit(
            lambda observation: transitions.member_polled(
                observation, member, optime, now
            )
        )

    def _watch(self) -> None:
        """The awaitable `hello`, which gives up after a second of silence."""
        self._silences += 1
        self._hello()
        if self._silences > SECOND // HELLO and self.mongod.process.alive:
            self._tell(None, None)
        self.node_process.after(HELLO, self._watch)

    def _sight(self) -> None:
        """The poll of the lease in our own member."""

        def seen_now(document: LeaseDocument | None) -> None:
            if document is not None and self.lease.differs(document):
                now = self.clock()
                self.submit(
                    lambda observation: transitions.lease_observed(
                        observation, document, now
                    )
                )

        self.lease.ask(self.mongod.read, SECOND // 2, seen_now)
        self.node_process.after(self.timing.lease.start // 12, self._sight)

    def serves(self) -> bool:
        """Whether it serves users, in its own opinion too."""
        return self.ports.serving() and self.observation.ports is PortState.OPEN
