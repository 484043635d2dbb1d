"""`twistlock-console status`: what this host's node is doing, in one screen."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from twistlock_console.common.errors import NodeUnreachable
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import load_settings


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the command."""
    status = commands.add_parser("status", help="show what this host's node is doing")
    status.add_argument("--config", type=Path, default=config, metavar="FILE")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    settings = load_settings(options.config, os.environ, on_this_host=False)
    with NodeClient(settings, settings.node_address) as client:
        try:
            told: dict[str, Any] = client.get("/v1/status")
        except NodeUnreachable as error:
            told = {
                "address": settings.node_address,
                "running": False,
                "error": str(error),
            }
    if options.json:
        print(json.dumps(told))  # noqa: T201
    else:
        for name, value in told.items():
            print(f"{name:>10}  {value}")  # noqa: T201
    return 0 if told["running"] else 1
