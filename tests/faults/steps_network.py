"""What can be done to the network, as steps of a scenario; see `steps`."""

from tests.faults.stage import Stage
from tests.faults.steps import Step, pause


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


def flap(seconds: float, half: float = 1.0, who: str = "primary") -> Step:
    """Cut the network and mend it, for *half* seconds each, over and over."""

    def step(stage: Stage) -> None:
        for _ in range(round(seconds / (2 * half))):
            for change in (unplug(who), pause(half), plug(who), pause(half)):
                change(stage)

    return step


def firewall(how: str, who: str, whom: str) -> Step:
    """On *who*, do what the firewall's method *how* does to the addresses of *whom*."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            for other in stage.nodes(whom):
                if other is not node:
                    getattr(node.host.firewall, how)(other.address)

    return step


def rule(*rule: str, who: str = "primary") -> Step:
    """Add a rule of iptables for what comes in from other hosts."""

    def step(stage: Stage) -> None:
        for node in stage.nodes(who):
            node.host.firewall.rule("INPUT", "!", "-i", "lo", *rule)

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
