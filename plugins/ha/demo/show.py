"""The demo from its start to its end: makes the parts, and obeys commands."""

from collections.abc import Callable
from contextlib import ExitStack, suppress

from plugins.ha.demo.cluster import Cluster
from plugins.ha.demo.console_api import ConsoleApi
from plugins.ha.demo.console_lines import Order, Verb
from plugins.ha.demo.formation import API, Formation
from plugins.ha.demo.load_balancer import LoadBalancer
from plugins.ha.demo.network import Network
from plugins.ha.demo.state import USER, State
from plugins.ha.demo.values import (
    HTTPS_PORT,
    LOAD_BALANCER,
    NODES,
    WEBSOCKET_PORT,
    Event,
    Failover,
    NodeEnded,
    NodePicture,
    Picture,
    Progress,
)
from plugins.ha.demo.watcher import Watcher
from plugins.ha.demo.writer import Writer
from twistlock_console.errors import ConsoleError


class Show:
    """Everything of one demo; use it from the main thread, which owns the processes.

    *tell* may be called on any thread.
    """

    def __init__(self, state: State, tell: Callable[[Event], None]) -> None:
        self._state = state
        self._tell_face = tell
        self._network = Network()
        self._cluster = Cluster(state, self._network.groups)
        self._load_balancer = LoadBalancer(state)
        self._watcher = Watcher(state, self._tell)
        self._writer: Writer | None = None
        self._api: ConsoleApi | None = None
        self._password = ""
        self._balanced = False
        self._failover: Failover | None = None

    def open(self, pause: Callable[[float], None]) -> None:
        """Bring up nodes, load balancer and writer; returns when all are ready."""
        self._network.close()
        formation = Formation(
            self._cluster, self._state, pause, lambda step: self._tell(Progress(step))
        )
        if self._state.is_formed:
            self._password = formation.resume()
        else:
            self._password = formation.form()
        self._balanced = self._load_balancer.start(pause)
        entrance = self._entrance()
        self._api = ConsoleApi(entrance, self._state.ca_file, self._password)
        while not self._api.is_serving():
            pause(0.05)
        self._watcher.start()
        writes = ConsoleApi(entrance, self._state.ca_file, self._password)
        self._writer = Writer(writes, self._watcher.story)
        self._writer.start()
        self._state.describe(self.description())

    def close(self) -> None:
        """End everything; nothing of the demo runs when it returns."""
        with ExitStack() as steps:
            steps.callback(self._state.demo_file.unlink, missing_ok=True)
            steps.callback(self._network.close)
            steps.callback(self._load_balancer.stop)
            steps.callback(self._cluster.stop)
            if self._api:
                steps.callback(self._api.close)
            if self._writer:
                steps.callback(self._writer.stop)
            steps.callback(self._watcher.stop)

    def look_after_nodes(self) -> None:
        """Notice nodes that ended by themselves."""
        for node in self._cluster.nodes.values():
            code = node.ended()
            if code is not None:
                self._tell(NodeEnded(node.address, code))

    def description(self) -> dict[str, object]:
        """What demo.json says."""
        balancer = {
            "address": LOAD_BALANCER,
            "httpsPort": HTTPS_PORT,
            "websocketPort": WEBSOCKET_PORT,
        }
        nodes = self._cluster.nodes.values()
        return {
            "nodes": [{"address": node.address, "pid": node.pid} for node in nodes],
            "loadBalancer": balancer if self._balanced else None,
            "caFile": str(self._state.ca_file),
            "user": USER,
            "password": self._password,
        }

    def picture(self) -> Picture:
        """What there is to see now."""
        if self._writer is None:
            raise ConsoleError("The demo is not ready yet.")
        nodes = tuple(self._node_picture(address) for address in NODES)
        return Picture(self._entrance(), nodes, self._writer.count(), self._failover)

    def obey(self, order: Order) -> str:
        """Carry out *order*; returns what was done, raises ConsoleError if not."""
        if order.verb is Verb.SWITCHOVER:
            return self._switch_over(order.address)
        if order.verb in (Verb.KILL, Verb.FREEZE, Verb.CUT):
            self._expect_fault(order.address)
        done = self._do(order.verb, order.address)
        if order.verb is Verb.START:
            self._state.describe(self.description())
        return f"{order.address} {done}."

    def _do(self, verb: Verb, address: str) -> str:
        node = self._cluster.nodes[address]
        doing: dict[Verb, tuple[Callable[[], None], str]] = {
            Verb.KILL: (node.kill, "is killed, with all its processes"),
            Verb.START: (node.start, "is starting"),
            Verb.FREEZE: (node.freeze, "is frozen"),
            Verb.THAW: (node.thaw, "goes on"),
            Verb.CUT: (
                lambda: self._network.cut(address),
                "is cut off from the other nodes",
            ),
            Verb.HEAL: (
                lambda: self._network.heal(address),
                "reaches the other nodes again",
            ),
        }
        act, done = doing[verb]
        try:
            act()
        except ConsoleError:
            self._forget_fault()
            raise
        return done

    def _switch_over(self, address: str) -> str:
        if self._api is None:
            raise ConsoleError("The demo is not ready yet.")
        body = {"address": address} if address else {}
        self._expect_fault(self.picture().writes.by or "")
        try:
            self._api.post(f"{API}/switchover", body, seconds=5.0)
        except ConsoleError:
            self._forget_fault()
            raise
        return f"The switchover to {address or 'the best standby'} has begun."

    def _expect_fault(self, address: str) -> None:
        if self._writer and self._writer.count().by == address:
            self._writer.expect_fault()

    def _forget_fault(self) -> None:
        if self._writer:
            self._writer.forget_fault()

    def _tell(self, event: Event) -> None:
        if isinstance(event, Failover):
            self._failover = event
        with suppress(BrokenPipeError):
            self._tell_face(event)

    def _entrance(self) -> tuple[str, ...]:
        return (LOAD_BALANCER,) if self._balanced else NODES

    def _node_picture(self, address: str) -> NodePicture:
        node, seen = self._cluster.nodes[address], self._watcher.role(address)
        return NodePicture(
            address=address,
            pid=node.pid,
            process=node.condition,
            cut=address in self._network.cut_off,
            role=seen.role,
            reason=seen.reason,
        )
