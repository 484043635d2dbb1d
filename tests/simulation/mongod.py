"""A model of MongoDB's replication, as far as the lease depends on it.

Terms, votes, an oplog that secondaries follow, commitment by a majority in the
current term, rollback, and an old primary that goes on believing that it is one.
"""

from collections.abc import Callable, Sequence
from functools import partial

from plugins.ha.consensus.lease import LeaseDocument
from plugins.ha.consensus.state import Member
from tests.simulation import elections, oplog, replication
from tests.simulation.elections import ELECTION_TIMEOUT
from tests.simulation.oplog import FIRST, Entry
from tests.simulation.world import SECOND, Network, Process, World

HEARTBEAT = SECOND // 2
STEPPED_DOWN = 10 * SECOND
MAJORITY = 2


Outcome = Callable[[bool | None], object]
"""Called with True (a majority stored it), False (not as expected) or None (error)."""


class Mongod:
    """One member; *peers* is filled once all are made."""

    def __init__(self, world: World, network: Network, number: int) -> None:
        self.world = world
        self.network = network
        self.number = number
        self.process = Process(world)
        self.peers: Sequence[Mongod] = ()
        self.changed: Callable[[], object] = lambda: None
        self.tip = FIRST
        self.term = 0
        self.voted_in = 0
        self.stubborn = False
        self.hidden = False
        self.slowness = 0
        self._forget()

    def _forget(self) -> None:
        """Lose what is only in memory."""
        self.state = "SECONDARY"
        self.writable = False
        self.primary: int | None = None
        self.source: int | None = None
        self.heard = dict.fromkeys(range(3), self.world.now)
        self.stored: dict[int, Entry] = {}
        self.pending: list[tuple[Entry, Outcome]] = []
        self.barred_until = 0
        self.stand_at = self.world.now + ELECTION_TIMEOUT

    # What the node asks of its own member.

    def hello(self) -> Member:
        """Its role, in the node's terms."""
        primary = None if self.primary is None else f"n{self.primary}"
        # Elected and not writable yet, MongoDB still calls itself a secondary.
        elected = self.state == "PRIMARY" and not self.writable
        state = "SECONDARY" if elected else self.state
        return Member(state, self.writable, primary)

    def read(self, done: Callable[[LeaseDocument | None], object]) -> None:
        """Give what this member holds, be it acknowledged or not."""
        done(None if self.state == "ROLLBACK" else self.tip.document)

    def write(
        self, expected: LeaseDocument, wanted: LeaseDocument, done: Outcome
    ) -> None:
        """Store *wanted* in place of *expected*; *done* learns what came of it."""
        found = self.tip.document
        if not self.writable:
            done(None)
        elif not oplog.matches(found, expected):
            done(False)
        else:
            self.append(wanted)
            self.pending.append((self.tip, done))
            self.acknowledge()

    def step_up(self) -> None:
        """Stand for election now, as `replSetStepUp` does: without a dry run."""
        if self.state == "SECONDARY" and self.world.now >= self.barred_until:
            elections.stand(self)

    def step_down(self) -> None:
        """Make way for the most recent secondary in reach."""
        if self.state != "PRIMARY":
            return
        self._to_secondary("steps down")
        self.barred_until = self.world.now + STEPPED_DOWN
        fit = [p for p in self.peers if self.stored.get(p.number) is self.tip]
        if fit:
            self.send(fit[0], fit[0].step_up)

    # Life.

    def start(self) -> None:
        """Run; the oplog and the vote have survived."""
        self.process.start()
        self._forget()
        self.changed()
        self.process.receive(self._tick)

    def kill(self) -> None:
        """End without a word."""
        self.process.kill()
        self._forget()
        self.changed()

    def _tick(self) -> None:
        for peer in self.peers:
            replication.tell(self, peer)
        now = self.world.now
        if self.primary not in (None, self.number):
            self._miss(self.primary, now)
        if self.state == "PRIMARY" and not self.stubborn and self._alone(now):
            self._to_secondary("sees no majority")
        if self.state == "SECONDARY" and now >= max(self.stand_at, self.barred_until):
            elections.dry_run(self)
        self.process.after(HEARTBEAT, self._tick)

    def _miss(self, primary: int, now: int) -> None:
        if self.heard[primary] < now - 3 * HEARTBEAT:
            self.primary = None
            self.changed()

    def _alone(self, now: int) -> bool:
        limit = now - ELECTION_TIMEOUT
        return all(self.heard[peer.number] < limit for peer in self.peers)

    def send(self, peer: "Mongod", call: Callable[[], object]) -> None:
        arrive = partial(peer.process.receive, call)
        self.network.send("mongod", self.number, peer.number, arrive)

    # Writes and roles.

    def append(self, document: LeaseDocument) -> None:
        self.tip = Entry(self.term, self.tip.index + 1, document, self.tip)
        for peer in self.peers:
            replication.tell(self, peer)

    def acknowledge(self) -> None:
        """Answer the writes that a majority has stored."""
        waiting = []
        for entry, done in self.pending:
            if 1 + sum(t.follows(entry) for t in self.stored.values()) >= MAJORITY:
                done(True)
            else:
                waiting.append((entry, done))
        self.pending = waiting

    def new_term(self, term: int) -> None:
        self.term = term
        if self.state == "PRIMARY":
            self._to_secondary(f"hears of term {term}")

    def _to_secondary(self, why: str) -> None:
        self.world.note(f"mongod{self.number}", why)
        self.primary = None
        self.writable = False
        self.stand_at = self.world.now + ELECTION_TIMEOUT
        pending, self.pending = self.pending, []
        self.be("SECONDARY")
        for _, done in pending:
            done(None)

    def be(self, state: str) -> None:
        self.state = state
        self.changed()
