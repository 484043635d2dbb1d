"""What can be done to processes and roles, as steps of a scenario.

Each function gives a step. *who* is "primary", "standby", "other" (the second
standby), "standbys", "all", or a host's name; roles are those at the beginning.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.faults.stage import Stage
from tests.hosts.cluster import Cluster
from tests.hosts.node import HostedNode
from tests.hosts.waiting import wait_for
from twistlock_console.common.clock import boottime_ns

FILLER = "filler"
Step = Callable[[Stage], None]


def end(what: str, number: signal.Signals = SIGKILL, who: str = "primary") -> Step:
    """Send a signal to one process: "node", "mongod", "management", "defenders"."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.host.signal(stage.pids[node.host.name][what], number)

    return step


def go_on(what: str, who: str = "primary") -> Step:
    """Let a stopped process go on, unless the product has ended it by now."""

    def step(stage: Stage) -> None:
        with suppress(RuntimeError):
            end(what, SIGCONT, who)(stage)

    return step


def end_all(who: str = "primary", number: signal.Signals = SIGKILL) -> Step:
    """Send a signal to every process of the host at once."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.host.signal_all(number)

    return step


def freeze(who: str = "primary") -> Step:
    """Stop every process of the host; its kernel goes on."""
    return end_all(who, SIGSTOP)


def thaw(who: str = "primary") -> Step:
    """Let them go on, and note when."""

    def step(stage: Stage) -> None:
        stage.thawed_at = boottime_ns()
        end_all(who, SIGCONT)(stage)

    return step


def pause(seconds: float) -> Step:
    """Let time pass."""
    return lambda _stage: time.sleep(seconds)


def start(who: str = "primary") -> Step:
    """Start the node anew, once the old process is gone."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.wait_ended()
            node.start()

    return step


def end_each_time(what: str, times: int, who: str = "primary") -> Step:
    """Kill a service server as soon as it is there, while the node has the role."""

    def step(stage: Stage) -> None:
        (node,) = stage.nodes(who)
        for _ in range(times):
            try:
                pid = wait_for(lambda: _pid(node, what), 3, f"{what} to run")
            except TimeoutError:
                return
            with suppress(RuntimeError):
                node.host.signal(pid, SIGKILL)

    return step


def switch_over(target: str | None = None) -> Step:
    """Ask for a switchover over the API."""

    def step(stage: Stage) -> None:
        body = {"address": stage.nodes(target)[0].address} if target else {}
        path = "/high-availability/switchover"
        stage.cluster.api.call(stage.primary.address, "POST", path, body)

    return step


def try_switch_over(target: str) -> Step:
    """The same, where it may be refused because another is under way."""

    def step(stage: Stage) -> None:
        with suppress(ConnectionError):
            switch_over(target)(stage)

    return step


def heal(cluster: Cluster) -> None:
    """Undo whatever was done, and start what has ended, as systemd would."""
    for node in cluster.nodes.values():
        node.host.firewall.clear()
        cluster.laboratory.set_cable(node.host, "up")
        node.host.signal_all(SIGCONT)
        if node.clock:
            node.clock.set("+0")
        for folder in (node.settings.folders.database, node.settings.folders.log):
            node.host.run("rm", "-f", str(folder / FILLER))
    for node in cluster.nodes.values():
        node.start()


def _pid(node: HostedNode, what: str) -> int:
    return int(node.try_ask("/v1/status").get("pids", {}).get(what, 0))
