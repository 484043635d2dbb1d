"""The demo from its start to its end: makes the parts, and obeys commands."""

from collections.abc import Callable
from contextlib import ExitStack

from demo.cluster import Cluster
from demo.commands import Command, Verb
from demo.console_api import ConsoleApi
from demo.events import (
    HTTPS_PORT,
    LOAD_BALANCER,
    NODES,
    WEBSOCKET_PORT,
    DemoStatus,
    Event,
    Failover,
    NodeEnded,
    NodeStatus,
    Progress,
)
from demo.faults import Faults, Network
from demo.formation import Formation
from demo.load_balancer import LoadBalancer
from demo.state import USER, State
from demo.watcher import Watcher
from demo.writer import Writer
from twistlock_console.common.errors import ConsoleError

NOT_READY = "The demo is not ready yet."


class Demo:
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
        self._watcher.start()
        writes = ConsoleApi(entrance, self._state.ca_file, self._password)
        self._writer = Writer(writes, self._watcher.story)
        self._writer.start(pause)
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

    def check_nodes(self) -> None:
        """Notice nodes that ended by themselves."""
        for node in self._cluster.nodes.values():
            code = node.ended()
            if code is not None:
                self._tell(NodeEnded(node.address, code))

    def description(self) -> dict[str, object]:
        """Return the content of demo.json."""
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

    def status(self) -> DemoStatus:
        """Return the present state of nodes, writes and the last failover."""
        if self._writer is None:
            raise ConsoleError(NOT_READY)
        nodes = tuple(self._node_status(address) for address in NODES)
        return DemoStatus(self._entrance(), nodes, self._writer.count(), self._failover)

    def carry_out(self, command: Command) -> str:
        """Carry out *command*; return what was done, raise ConsoleError if not."""
        if self._writer is None or self._api is None:
            raise ConsoleError(NOT_READY)
        faults = Faults(self._cluster, self._network, self._api, self._writer)
        done = faults.make(command)
        if command.verb is Verb.START:
            self._state.describe(self.description())
        return done

    def _tell(self, event: Event) -> None:
        if isinstance(event, Failover):
            self._failover = event
        self._tell_face(event)

    def _entrance(self) -> tuple[str, ...]:
        return (LOAD_BALANCER,) if self._balanced else NODES

    def _node_status(self, address: str) -> NodeStatus:
        node, seen = self._cluster.nodes[address], self._watcher.role(address)
        return NodeStatus(
            address=address,
            pid=node.pid,
            process=node.condition,
            cut=address in self._network.cut_off,
            role=seen.role,
            reason=seen.reason,
        )
