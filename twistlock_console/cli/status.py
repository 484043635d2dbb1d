"""`twistlock-console status`: what this host's node is doing, in one screen."""

from pathlib import Path
from typing import Any

import click

from twistlock_console.cli.options import (
    config_option,
    json_option,
    settings_of_running_node,
)
from twistlock_console.cli.output import print_json, print_line
from twistlock_console.common.errors import NodeUnreachable
from twistlock_console.node_api.client import NodeClient


@click.command("status", help="Show what this host's node is doing.")
@config_option
@json_option
def command(config: Path, *, as_json: bool) -> int:
    """Print the status; return 1 if the node does not run."""
    settings = settings_of_running_node(config)
    with NodeClient(settings, settings.node_address) as client:
        try:
            status: dict[str, Any] = client.get("/v1/status")
        except NodeUnreachable as error:
            status = {
                "address": settings.node_address,
                "running": False,
                "error": str(error),
            }
    if as_json:
        print_json(status)
    else:
        for name, value in status.items():
            print_line(f"{name:>10}  {value}")
    return 0 if status["running"] else 1
