"""`twistlock-console loadbalancer …`: the file for a load balancer of this cluster."""

import argparse
import os
from pathlib import Path
from typing import Any

from plugins.ha.load_balancer.files import for_cluster
from plugins.ha.load_balancer.templates import Kind
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import load_settings


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    command = commands.add_parser(
        "loadbalancer", help="print the file for a load balancer of this cluster"
    )
    command.add_argument("kind", type=Kind, choices=list(Kind), metavar="KIND")
    command.add_argument("--config", type=Path, default=config, metavar="FILE")
    command.set_defaults(run=_print)


def _print(options: argparse.Namespace) -> None:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    if not settings.high_availability_enabled:
        raise Refused(
            "One node needs no load balancer; set HIGH_AVAILABILITY_ENABLED=true first."
        )
    with NodeClient(settings, settings.node_address) as client:
        cluster: dict[str, Any] = client.get("/v1/ha/cluster")
    print(for_cluster(options.kind, settings, cluster["nodes"]), end="")  # noqa: T201
