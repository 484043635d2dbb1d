"""Run the demo from start to end: create its parts, and execute commands."""

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
    ProgressReport,
)
from demo.faults import Faults, Network
from demo.formation import Formation
from demo.load_balancer import LoadBalancer
from demo.state import USER, DemoState
from demo.watcher import Watcher
from demo.writer import Writer
from twistlock_console.common.errors import ConsoleError

NOT_READY = "The demo is not ready yet."


class Demo:
    """Owns all parts of one demo; only the main thread uses it, and owns the processes.

    *tell* may be called on any thread.
    """

    def __init__(self, state: DemoState, tell: Callable[[Event], None]) -> None:
        self._state = state
        self._report_event = tell
        self._network = Network()
        self._cluster = Cluster(state, self._network.groups)
        self._load_balancer = LoadBalancer(state)
        self._watcher = Watcher(state, self._tell)
        self._writer: Writer | None = None
        self._api: ConsoleApi | None = None
        self._password = ""
        self._has_load_balancer = False
        self._failover: Failover | None = None

    def open(self, pause: Callable[[float], None]) -> None:
        """Bring up nodes, load balancer and writer; returns when all are ready."""
        self._network.close()
        formation = Formation(
            self._cluster,
            self._state,
            pause,
            lambda step: self._tell(ProgressReport(step)),
        )
        if self._state.is_formed:
            self._password = formation.resume()
        else:
            self._password = formation.form()
        self._has_load_balancer = self._load_balancer.start(pause)
        entrance = self._entrance()
        self._api = ConsoleApi(entrance, self._state.ca_file, self._password)
        self._watcher.start()
        writes = ConsoleApi(entrance, self._state.ca_file, self._password)
        self._writer = Writer(writes, self._watcher.report_failover)
        self._writer.start(pause)
        self._state.write_description(self.description())

    def close(self) -> None:
        """Stop everything; no process of the demo runs when it returns."""
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
        """Report nodes that ended by themselves."""
        for node in self._cluster.nodes.values():
            code = node.poll_exit()
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
            "loadBalancer": balancer if self._has_load_balancer else None,
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
        """Execute *command*; return what was done, or raise ConsoleError."""
        if self._writer is None or self._api is None:
            raise ConsoleError(NOT_READY)
        faults = Faults(self._cluster, self._network, self._api, self._writer)
        done = faults.execute(command)
        if command.verb is Verb.START:
            self._state.write_description(self.description())
        return done

    def _tell(self, event: Event) -> None:
        if isinstance(event, Failover):
            self._failover = event
        self._report_event(event)

    def _entrance(self) -> tuple[str, ...]:
        return (LOAD_BALANCER,) if self._has_load_balancer else NODES

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
