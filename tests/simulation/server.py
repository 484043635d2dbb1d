"""A model of the service servers: the ports, and the permit that fences them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.simulation.world import MILLISECOND, Process, World

# An idle server looks at its permit this often; one that works, at each request.
PERMIT_CHECK_INTERVAL = 20 * MILLISECOND


class Permit:
    """What the node process shares with its servers: an epoch and a deadline."""

    def __init__(self) -> None:
        self.epoch = 0
        self.deadline = 0

    def grant(self, epoch: int, deadline: int) -> None:
        """Allow serving under *epoch* until the node's clock shows *deadline*."""
        self.epoch = epoch
        self.deadline = deadline


@dataclass(slots=True)
class Server:
    """The servers of one opening; *until* is when they notice that they must end."""

    epoch: int
    listens: bool = False
    until: int | None = None


class Ports:
    """The service ports of one node; *lost* is told when the servers end by themselves.

    *brain* is the node process: the servers die with it, and go on while it is frozen.
    """

    fenced = True

    def __init__(
        self,
        world: World,
        node_process: Process,
        clock: Callable[[], int],
        permit: Permit,
    ) -> None:
        self._world = world
        self._node_process = node_process
        self._clock = clock
        self.permit = permit
        self.lost: Callable[[], object] = lambda: None
        self.opened: Callable[[int], object] = lambda epoch: None
        self.sick = False
        self.stuck = False
        self.slowness = 0
        self.server: Server | None = None

    def serving(self) -> bool:
        """Whether somebody could be served here at this instant."""
        server = self.server
        if server is None or not server.listens:
            return False
        if server.until is not None and self._world.now < server.until:
            return True
        return not self.fenced or self._allowed(server)

    def _allowed(self, server: Server) -> bool:
        permit = self.permit
        return self._clock() < permit.deadline and permit.epoch == server.epoch

    def open(self, done: Callable[[bool], object]) -> None:
        """Start servers; *done* learns whether they listen."""
        server = self.server = Server(self.permit.epoch)
        first = self._world.between(5, 60) * MILLISECOND + self._delay()
        self._world.after(first, partial(self._listen, server))
        later = first + self._world.between(1, 20) * MILLISECOND
        self._node_process.after(later, lambda: done(self.server is server))

    def _listen(self, server: Server) -> None:
        if server is not self.server:
            return
        if self.sick or (self.fenced and not self._allowed(server)):
            self.server = None
            return
        server.listens = True
        self.opened(server.epoch)
        self._watch(server)

    def _watch(self, server: Server) -> None:
        """Look at the permit every so often, as the servers' own thread does."""
        if server is not self.server or not self.fenced:
            return
        if not self._allowed(server) and not self.stuck:
            self.end()
        else:
            self._world.after(PERMIT_CHECK_INTERVAL, partial(self._watch, server))

    def revoked(self) -> None:
        """The permit was taken back: a request that passed the check may still end."""
        server = self.server
        if server is not None and server.until is None and self._allowed(server):
            server.until = self._world.now + self._world.between(
                0, PERMIT_CHECK_INTERVAL
            )

    def end(self) -> None:
        """The servers end by themselves, or are killed by someone else."""
        if self.server is not None:
            self.server = None
            self._node_process.receive(self.lost)

    def close(self, *, drain: bool, done: Callable[[bool], object]) -> None:
        """Stop the servers; *done* learns whether the ports refuse."""
        limit = 2000 if self.stuck else 1000 if drain else 50
        delay = self._world.between(1, limit) * MILLISECOND + self._delay()

        def closed() -> None:
            if not self.stuck:
                self.server = None
            done(not self.stuck)

        self._node_process.after(delay, closed)

    def _delay(self) -> int:
        return self._world.between(0, self.slowness) if self.slowness else 0
