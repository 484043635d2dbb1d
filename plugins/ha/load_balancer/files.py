"""Fill in the shipped examples of load balancers for this cluster."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from plugins.ha.load_balancer.templates import (
    EXAMPLE_NODES,
    FILES,
    LoadBalancedCluster,
    LoadBalancerKind,
    render,
)
from twistlock_console.common.errors import Refused
from twistlock_console.settings import Settings

IN_CHECKOUT = Path(__file__).parents[3] / "config/load-balancer"


def shipped(kind: LoadBalancerKind) -> Path:
    """Return the path of the example, in the checkout or beside this module."""
    if IN_CHECKOUT.exists():
        return IN_CHECKOUT / FILES[kind]
    return Path(str(files("plugins.ha") / "load_balancer" / FILES[kind]))


def for_cluster(
    kind: LoadBalancerKind, settings: Settings, addresses: Sequence[str]
) -> str:
    """Return the file of *kind* for the members at *addresses*.

    Raises:
        Refused: The cluster has no members, or too many.
    """
    if not 0 < len(addresses) <= len(EXAMPLE_NODES):
        raise Refused(
            f"The cluster has {len(addresses)} nodes now; ask again when it has one "
            "to three."
        )
    front = LoadBalancedCluster(
        nodes=tuple(addresses),
        name=next(iter(settings.console_san), settings.console_cn),
        api_port=settings.management_port_https,
        pages_port=settings.management_port_ui,
        defenders_port=settings.communication_port,
    )
    return render(shipped(kind).read_text(encoding="utf-8"), front)
