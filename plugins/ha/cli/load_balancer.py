"""Provide `twistlock-console loadbalancer …`: the file for a load balancer."""

from pathlib import Path

import click

from plugins.ha.load_balancer.files import for_cluster
from plugins.ha.load_balancer.templates import LoadBalancerKind
from plugins.ha.messages import ClusterResponse
from plugins.ha.settings import HaSettings
from twistlock_console.cli.options import (
    config_option,
    print_line,
    settings_of_running_node,
)
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.client import NodeClient


@click.command(
    "loadbalancer", help="Print the file for a load balancer of this cluster."
)
@click.argument("kind", type=click.Choice([kind.value for kind in LoadBalancerKind]))
@config_option
def command(kind: str, config: Path) -> None:
    """Print the configuration of a load balancer of *kind*."""
    settings = settings_of_running_node(config)
    if not HaSettings.of(settings).enabled:
        raise Refused(
            "One node needs no load balancer; set HIGH_AVAILABILITY_ENABLED=true first."
        )
    with NodeClient(settings, settings.node_address) as client:
        cluster = ClusterResponse.from_answer(client.get("/v1/ha/cluster"))
    print_line(
        for_cluster(LoadBalancerKind(kind), settings, cluster.joined_addresses), end=""
    )
