"""What can be done to hosts, as steps of a scenario.

Each function gives a step. *who* is "primary", "standby", "other" (the second
standby), "standbys", "all", or a host's name; roles are those at the beginning.
"""

import signal
import time
from collections.abc import Callable
from signal import SIGCONT, SIGKILL, SIGSTOP

from tests.faults.stage import Stage
from tests.hosts.cluster import Cluster
from twistlock_console.clock import boottime_ns

Step = Callable[[Stage], None]


def end(what: str, number: signal.Signals = SIGKILL, who: str = "primary") -> Step:
    """Send a signal to one process: "node", "mongod", "management", "defenders"."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.host.signal(stage.pids[node.host.name][what], number)

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


def unplug(who: str = "primary") -> Step:
    """Take the network away."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            stage.cluster.laboratory.set_cable(node.host, "down")

    return step


def plug(who: str = "primary") -> Step:
    """Give it back."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            stage.cluster.laboratory.set_cable(node.host, "up")

    return step


def firewall(how: str, who: str, whom: str) -> Step:
    """On *who*, do what the firewall's method *how* does to the addresses of *whom*."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            for other in stage.nodes(whom):
                if other is not node:
                    getattr(node.host.firewall, how)(other.address)

    return step


def block_port(port: int, who: str = "primary") -> Step:
    """Drop what goes to *port*, both ways."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.host.firewall.block_port(port)

    return step


def lose(part: float, who: str = "all") -> Step:
    """Lose that part of all packets that come in."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.host.firewall.lose(part)

    return step


def start(who: str = "primary") -> Step:
    """Start the node anew, once the old process is gone."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.wait_ended()
            node.start()

    return step


def switch_over(target: str | None = None) -> Step:
    """Ask for a switchover over the API."""

    def step(stage: Stage) -> None:
        body = {"address": stage.nodes(target)[0].address} if target else {}
        path = "/high-availability/switchover"
        stage.cluster.api.call(stage.primary.address, "POST", path, body)

    return step


def heal(cluster: Cluster) -> None:
    """Undo whatever was done, and start what has ended, as systemd would."""
    for node in cluster.nodes.values():
        node.host.firewall.clear()
        cluster.laboratory.set_cable(node.host, "up")
        node.host.signal_all(SIGCONT)
    for node in cluster.nodes.values():
        node.start()
