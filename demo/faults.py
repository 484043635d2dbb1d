"""What can be done to the nodes: killed, frozen, cut off, and helped up again."""

from collections.abc import Callable
from dataclasses import dataclass

from demo.cluster import Cluster, DemoNode
from demo.console_api import ConsoleApi
from demo.console_lines import Order, Verb
from demo.formation import API
from demo.network import Network
from demo.writer import Writer
from twistlock_console.common.errors import ConsoleError

HARMING = (Verb.KILL, Verb.FREEZE, Verb.CUT)
SWITCHOVER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Faults:
    """Acts on *cluster*, and lets *writer* measure what users notice of it."""

    cluster: Cluster
    network: Network
    api: ConsoleApi
    writer: Writer

    def make(self, order: Order) -> str:
        """Carry out *order*; returns what was done, raises ConsoleError if not."""
        # A switchover is measured from the last stored write: it begins with
        # preparations, during which the old primary goes on serving.
        if order.verb in HARMING and order.address == self.writer.count().by:
            self.writer.expect_fault()
        try:
            if order.verb is Verb.SWITCHOVER:
                return self._switch_over(order.address)
            return self._do(order.verb, self.cluster.nodes[order.address])
        except ConsoleError:
            self.writer.forget_fault()
            raise

    def _do(self, verb: Verb, node: DemoNode) -> str:
        at = node.address
        doing: dict[Verb, tuple[Callable[[], None], str]] = {
            Verb.KILL: (node.kill, "is killed, with all its processes"),
            Verb.START: (node.start, "is starting"),
            Verb.FREEZE: (node.freeze, "is frozen"),
            Verb.THAW: (node.thaw, "goes on"),
            Verb.CUT: (
                lambda: self.network.cut(at),
                "is cut off from the other nodes; users still reach it",
            ),
            Verb.HEAL: (
                lambda: self.network.heal(at),
                "reaches the other nodes again",
            ),
        }
        act, done = doing[verb]
        act()
        return f"{at} {done}."

    def _switch_over(self, address: str) -> str:
        body = {"address": address} if address else {}
        self.api.post(f"{API}/switchover", body, seconds=SWITCHOVER_SECONDS)
        return f"The switchover to {address or 'the best standby'} has begun."
