"""The lease requests of a simulated node, as `LeaseActions` makes them."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from plugins.ha.consensus import transitions
from plugins.ha.consensus.lease import REQUEST_FRACTION, LeaseDocument
from tests.simulation.world import MILLISECOND

if TYPE_CHECKING:
    from tests.simulation.node import Node

Done = Callable[[], object]


class LeaseAsker:
    """Asks the member of *node*; *lateness* is how late an answer may come."""

    lateness = 0
    patience_factor = REQUEST_FRACTION

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._ttl = node.timing.lease.start

    @property
    def _patience(self) -> int:
        return int(self._ttl * self.patience_factor)

    def differs(self, document: LeaseDocument) -> bool:
        """Whether *document* is news."""
        observed = self._node.observation.observed_lease
        return observed is None or observed.document != document

    def ask(
        self,
        question: Callable[[Callable[[Any], object]], object],
        patience: int,
        then: Callable[[Any], object],
    ) -> None:
        """Ask our member; *then* gets the answer, or None when it took too long."""
        node, open_ = self._node, [True]

        def finish(answer: Any) -> None:
            if open_:
                open_.clear()
                then(answer)

        def answered(answer: Any) -> None:
            node.node_process.after(self._transit(late=True), partial(finish, answer))

        incarnation = node.mongod.process.incarnation

        def arrive() -> None:
            if node.mongod.process.incarnation == incarnation:
                node.mongod.process.receive(partial(question, answered))

        node.node_process.after(self._transit(), arrive)
        node.node_process.after(patience, partial(finish, None))

    def _transit(self, *, late: bool = False) -> int:
        world = self._node.world
        delay = world.between(MILLISECOND // 10, MILLISECOND)
        if late and self.lateness and world.random.random() < 0.6:
            delay += world.between(0, self.lateness)
        return delay

    def read(self, done: Done) -> None:
        """Look at the lease in our own member."""

        def answered(document: LeaseDocument | None) -> None:
            now = self._node.clock()
            done()
            if document is None:
                self._node.submit(transitions.lease_request_finished)
                return
            self._node.submit(
                lambda observation: transitions.lease_request_finished(
                    transitions.lease_observed(observation, document, now)
                )
            )

        self.ask(self._node.mongod.read, self._patience, answered)

    def write(self, expected: LeaseDocument, wanted: LeaseDocument, done: Done) -> None:
        """Take or renew the lease."""
        sent_at, self._ttl = self._node.clock(), wanted.ttl

        def answered(stored: bool | None) -> None:
            now = self._node.clock()
            if not stored:
                self._node.submit(
                    lambda observation: transitions.lease_write_failed(
                        observation, sent_at, now
                    )
                )
                self.read(done)
                return
            done()
            self._node.submit(
                lambda observation: transitions.lease_request_finished(
                    transitions.lease_acknowledged(observation, wanted, sent_at, now)
                )
            )

        question = partial(self._node.mongod.write, expected, wanted)
        self.ask(question, self._patience, answered)

    def release(self, expected: LeaseDocument, done: Done) -> None:
        """Write that the lease is free."""
        question = partial(self._node.mongod.write, expected, expected.as_released())
        self.ask(question, self._patience, lambda _: done())
