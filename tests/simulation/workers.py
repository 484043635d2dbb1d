"""The workers of a simulated node: they do what the real `ActionExecutor` has done."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from plugins.ha.consensus import transitions
from plugins.ha.consensus.lease import LeaseDocument
from plugins.ha.consensus.state import (
    AcquireLease,
    Action,
    ClosePorts,
    OpenPorts,
    ReadLease,
    ReleaseLease,
    RenewLease,
    RenounceLease,
    ReopenServers,
    StepDown,
    StepUp,
    TransferRole,
)
from tests.simulation.world import MILLISECOND

if TYPE_CHECKING:
    from tests.simulation.node import Node

Done = Callable[[], object]
Job = Callable[[Done], object]


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


class Workers:
    """Three workers of *node*: one for the lease, one for ports, one for steps."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._lease, self._ports, self._steps = Worker(), Worker(), Worker()

    def perform(self, action: Action) -> None:  # noqa: C901  a table
        """Have *action* done; the node is told what came of it."""
        node, lease = self._node, self._node.lease
        match action:
            case ReadLease():
                self._lease.submit(lease.read)
            case AcquireLease(expected, ttl):
                token = f"{node.number}-{node.world.steps}"
                wanted = expected.acquired_by(node.address, ttl, token)
                self._lease.submit(partial(lease.write, expected, wanted))
            case RenewLease(expected, ttl):
                self._lease.submit(
                    partial(lease.write, expected, expected.renewed(ttl))
                )
            case ReleaseLease(expected):
                self._lease.submit(partial(lease.release, expected))
            case TransferRole(expected, target):
                self._steps.submit(partial(self._hand_over, expected, target))
            case OpenPorts():
                self._ports.submit(self._open)
            case ReopenServers():
                raise AssertionError("a simulated node has one server")
            case ClosePorts(drain):
                self._ports.submit(partial(self._close, drain))
            case StepDown():
                self._steps.submit(partial(self._step, node.mongod.step_down))
            case StepUp():
                self._steps.submit(partial(self._step, node.mongod.step_up))
            case RenounceLease():
                pass

    def _open(self, done: Done) -> None:
        def ended(well: bool) -> None:
            done()
            if well:
                self._node.submit(transitions.ports_opened)
            else:
                self._node.ports_lost()

        self._node.ports.open(ended)

    def _close(self, drain: bool, done: Done) -> None:
        node = self._node

        def closed(well: bool) -> None:
            done()
            if well:
                node.submit(transitions.ports_closed)
            else:
                node.submit(
                    lambda observation: transitions.ports_close_failed(
                        observation, node.clock()
                    )
                )

        node.ports.close(drain=drain, done=closed)

    def _hand_over(
        self, expected: LeaseDocument, target: str | None, done: Done
    ) -> None:
        node = self._node
        peer = next((p for p in node.peers if p.address == target), None)

        def down() -> None:
            if peer is None or not self._reaches(peer):
                self._step(node.mongod.step_down, done)
                return
            order = partial(peer.mongod.process.receive, peer.mongod.step_up)
            arrive = partial(peer.node_process.receive, order)
            node.network.send("node", node.number, peer.number, arrive)
            self._step(lambda: None, done)

        node.lease.release(expected, down)

    def _reaches(self, peer: "Node") -> bool:
        passes, mine = self._node.network.passes, self._node.number
        there = passes("node", mine, peer.number)
        back = passes("node", peer.number, mine)
        return (
            there and back and peer.node_process.alive and not peer.node_process.frozen
        )

    def _step(self, order: Done, done: Done) -> None:
        node = self._node

        def stepped() -> None:
            done()
            node.submit(
                lambda observation: transitions.election_step_finished(
                    observation, node.clock()
                )
            )

        node.mongod.process.receive(order)
        node.node_process.after(node.world.between(5, 60) * MILLISECOND, stepped)
