"""A simulated node: the real decision, transitions and heartbeats in a simulated shell.

What `Keeper`, `LeaseWork`, `PortWork`, `StepWork`, `MemberWatch` and `Heartbeats`
do with threads is done here with timers, one thing at a time, in the same order.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from plugins.ha import actions as do
from plugins.ha import decision, heartbeats, transitions
from plugins.ha.lease import LeaseDocument
from plugins.ha.observation import (
    DEAD_MEMBER,
    Member,
    Observation,
    Timing,
    Update,
)
from plugins.ha.observation import Ports as PortState
from tests.simulation.lease_asker import LeaseAsker
from tests.simulation.mongod import Mongod
from tests.simulation.server import Permit, Ports
from tests.simulation.world import (
    MILLISECOND,
    SECOND,
    Network,
    Process,
    Violated,
    World,
)

HEARTBEAT = 200 * MILLISECOND
HELLO = 250 * MILLISECOND
SPIN = 40

Job = Callable[[Callable[[], object]], object]


class Worker:
    """Does one job after the other; a job calls what it is given when it is done."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._busy = False

    def submit(self, job: Job) -> None:
        """Do *job* after those that wait."""
        self._jobs.append(job)
        self._next()

    def _next(self) -> None:
        if not self._busy and self._jobs:
            self._busy = True
            self._jobs.popleft()(self._done)

    def _done(self) -> None:
        self._busy = False
        self._next()


class Node:
    """One node, with its member, its ports and a clock that runs at its own *rate*."""

    def __init__(
        self, world: World, network: Network, mongod: Mongod, timing: Timing, rate: float
    ) -> None:
        self.world = world
        self.network = network
        self.number = mongod.number
        self.address = f"n{mongod.number}"
        self.mongod = mongod
        self.timing = timing
        self.brain = Process(world)
        self.ports = Ports(world, self.brain, self.clock, Permit())
        self.peers: Sequence[Node] = ()
        self._rate = rate
        self._offset = world.between(SECOND, 1000 * SECOND)
        self.ports.lost = self._ports_lost
        mongod.changed = self._member_changed
        self._begin_life()

    def _begin_life(self) -> None:
        self.seen = Observation(self.address, self.number, self.timing)
        self.reason = "starting"
        self.lease = LeaseAsker(self)
        self._lease_work, self._port_work, self._step_work = (
            Worker(),
            Worker(),
            Worker(),
        )
        self._wakes = 0
        self._silences = 0

    def clock(self) -> int:
        """This node's boot-time clock; it goes on while the node is frozen."""
        return self._offset + int(self.world.now * self._rate)

    # Life.

    def start(self) -> None:
        """Start the node process and its database."""
        self.brain.start()
        self._begin_life()
        if not self.mongod.process.alive:
            self.mongod.start()
        self.brain.receive(self._run)

    def _run(self) -> None:
        self.brain.after(self.world.between(0, SECOND), self._set_peers)
        self.brain.after(1, self._watch)
        self.brain.after(self.world.between(0, HEARTBEAT), self._sight)
        for peer in self.peers:
            self._beat(peer)
        self._decide()

    def kill(self) -> None:
        """The node process ends, and its servers and its database with it."""
        self.world.note(self.address, "is killed")
        self.brain.kill()
        self.ports.permit = Permit()
        self.ports.server = None
        self.mongod.kill()

    def _set_peers(self) -> None:
        members = {peer.address: peer.number for peer in self.peers}
        self.post(lambda seen: transitions.peers_set(seen, self.number, members))

    # The keeper.

    def post(self, update: Update) -> None:
        """Replace the observation by *update* of it, then decide."""
        self._change(update(self.seen))
        self._decide()

    def _decide(self) -> None:
        for _ in range(SPIN):
            now = self.clock()
            found = decision.decide(self.seen, now)
            self.reason = found.reason
            for action in found.actions:
                self.world.note(self.address, f"{found.reason}: {action}")
                self._change(transitions.begun(self.seen, action, found.reason, now))
                self._perform(action)
            self._be_honest()
            if not found.actions:
                self._wake(found.wake_at - now)
                return
        raise Violated(f"{self.address} decides without end: {self.reason}")

    def _be_honest(self) -> None:
        server = self.ports.server
        if self.seen.ports is PortState.CLOSED and server and server.listens:
            raise Violated(f"{self.address} says that open ports are closed")

    def _wake(self, wait: int) -> None:
        self._wakes += 1
        number = self._wakes

        def due() -> None:
            if number == self._wakes:
                self._decide()

        if wait < 1000 * SECOND:
            self.brain.after(max(int(wait / self._rate) + 1, MILLISECOND), due)

    def _change(self, seen: Observation) -> None:
        before, self.seen = self.seen, seen
        if seen.hold is None:
            if before.hold is not None:
                self.ports.revoked()
            self.ports.permit.deadline = 0
        elif seen.hold is not before.hold:
            self.ports.permit.grant(seen.hold.document.epoch, seen.hold.deadline)

    # The workers.

    def _perform(self, action: do.Action) -> None:  # noqa: C901  a table
        lease, ports, steps = self._lease_work, self._port_work, self._step_work
        match action:
            case do.ReadLease():
                lease.submit(self.lease.read)
            case do.TakeLease(expected):
                wanted = expected.taken_by(self.address, self.timing.ttl)
                lease.submit(partial(self.lease.write, expected, wanted))
            case do.RenewLease(expected):
                lease.submit(partial(self.lease.write, expected, expected.renewed()))
            case do.ReleaseLease(expected):
                lease.submit(partial(self.lease.release, expected))
            case do.HandOver(expected, target):
                steps.submit(partial(self._hand_over, expected, target))
            case do.OpenPorts():
                ports.submit(self._open)
            case do.ClosePorts(drain):
                ports.submit(partial(self._close, drain))
            case do.StepDown():
                steps.submit(partial(self._step, self.mongod.step_down))
            case do.StepUp():
                steps.submit(partial(self._step, self.mongod.step_up))
            case do.DropLease():
                pass

    def _open(self, done: Callable[[], object]) -> None:
        def ended(well: bool) -> None:
            done()
            if well:
                self.post(transitions.ports_opened)
            else:
                self._ports_lost()

        self.ports.open(ended)

    def _close(self, drain: bool, done: Callable[[], object]) -> None:
        def closed() -> None:
            done()
            self.post(transitions.ports_closed)

        self.ports.close(drain=drain, done=closed)

    def _ports_lost(self) -> None:
        self.post(lambda seen: transitions.ports_failed(seen, self.clock()))

    def _hand_over(
        self, expected: LeaseDocument, target: str | None, done: Callable[[], object]
    ) -> None:
        peer = next((p for p in self.peers if p.address == target), None)

        def down() -> None:
            if peer is None or not self._reaches(peer):
                self._step(self.mongod.step_down, done)
                return
            order = partial(peer.mongod.process.receive, peer.mongod.step_up)
            arrive = partial(peer.brain.receive, order)
            self.network.send("node", self.number, peer.number, arrive)
            self._step(lambda: None, done)

        self.lease.release(expected, down)

    def _reaches(self, peer: "Node") -> bool:
        there = self.network.passes("node", self.number, peer.number)
        back = self.network.passes("node", peer.number, self.number)
        return there and back and peer.brain.alive and not peer.brain.frozen

    def _step(self, order: Callable[[], object], done: Callable[[], object]) -> None:
        def stepped() -> None:
            done()
            self.post(lambda seen: transitions.stepped(seen, self.clock()))

        self.mongod.process.receive(order)
        self.brain.after(self.world.between(5, 60) * MILLISECOND, stepped)

    # What it learns.

    def _member_changed(self) -> None:
        if not self.mongod.process.alive:
            self.brain.after(MILLISECOND, partial(self._tell, DEAD_MEMBER, None))
            return
        self.brain.after(self.world.between(1, 20) * MILLISECOND, self._hello)

    def _hello(self) -> None:
        mongod = self.mongod
        if not mongod.process.alive or mongod.process.frozen:
            return
        self._silences = 0
        member, optime = mongod.hello(), mongod.tip.optime
        if member != self.seen.member or optime != self.seen.optime:
            self._tell(member, optime)

    def _tell(self, member: Member | None, optime: tuple[int, int] | None) -> None:
        now = self.clock()
        self.post(lambda seen: transitions.member_seen(seen, member, optime, now))

    def _watch(self) -> None:
        """The awaitable `hello`, which gives up after a second of silence."""
        self._silences += 1
        self._hello()
        if self._silences > SECOND // HELLO and self.mongod.process.alive:
            self._tell(None, None)
        self.brain.after(HELLO, self._watch)

    def _sight(self) -> None:
        """The poll of the lease in our own member."""

        def seen_now(document: LeaseDocument | None) -> None:
            if document is not None and self.lease.differs(document):
                now = self.clock()
                self.post(lambda seen: transitions.lease_sighted(seen, document, now))

        self.lease.ask(self.mongod.read, SECOND // 2, seen_now)
        self.brain.after(self.timing.ttl // 12, self._sight)

    def _beat(self, peer: "Node") -> None:
        """One heartbeat, and the next once it is answered or given up."""
        sent_at, life, open_ = self.clock(), self.brain.life, [True]

        def finish(update: Update | None) -> None:
            if open_ and self.brain.life == life:
                open_.clear()
                if update is not None:
                    self.post(update)
                spent = self.clock() - sent_at
                wait = max(HEARTBEAT - spent, 10 * MILLISECOND)
                self.brain.after(wait, partial(self._beat, peer))

        def answer() -> None:
            told = heartbeats.testimony(peer.seen, peer.reason, peer.clock())
            update = lambda seen: heartbeats._heard(seen, peer.address, told, sent_at)  # noqa: E731, SLF001
            self._reply(peer, partial(finish, update))

        def arrive() -> None:
            if peer.brain.alive:
                peer.brain.receive(answer)
            else:
                refused = lambda seen: heartbeats._refused(seen, peer.address, sent_at)  # noqa: E731, SLF001
                self._reply(peer, partial(finish, refused))

        self.network.send("node", self.number, peer.number, arrive)
        self.brain.after(SECOND, partial(finish, None))

    def _reply(self, peer: "Node", call: Callable[[], object]) -> None:
        arrive = partial(self.brain.receive, call)
        self.network.send("node", peer.number, self.number, arrive)

    def serves(self) -> bool:
        """Whether it serves users, in its own opinion too."""
        return self.ports.serving() and self.seen.ports is PortState.OPEN
