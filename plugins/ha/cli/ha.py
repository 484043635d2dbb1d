"""`twistlock-console ha …`: the cluster from the command line of any of its nodes."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from plugins.ha.cli.recover import recover
from plugins.ha.membership.join_client import fingerprint_of
from twistlock_console.cli.audit import record_command
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings, load_settings


def add_to(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", config: Path
) -> None:
    """Add the commands."""
    ha = commands.add_parser(
        "ha", help="the cluster: status, apply, remove, switchover"
    )
    verbs = ha.add_subparsers(required=True, metavar="VERB")
    status = verbs.add_parser("status", help="show the nodes and who serves")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=_status)
    apply = verbs.add_parser("apply", help="admit the hosts that ask to join")
    apply.set_defaults(run=_apply)
    shown = verbs.add_parser("fingerprint", help="show that of this host's key")
    shown.set_defaults(run=_fingerprint)
    remove = verbs.add_parser("remove", help="remove a node")
    remove.add_argument("address")
    remove.set_defaults(run=_remove)
    switchover = verbs.add_parser("switchover", help="let another node serve")
    switchover.add_argument("address", nargs="?")
    switchover.set_defaults(run=_switchover)
    recovery = verbs.add_parser(
        "recover", help="make this node a cluster of one when the others are lost"
    )
    recovery.add_argument("--force", action="store_true", help="do it")
    recovery.set_defaults(run=recover)
    for verb in (status, recovery, shown, apply, remove, switchover):
        verb.add_argument("--config", type=Path, default=config, metavar="FILE")


def _status(options: argparse.Namespace) -> None:
    settings = _settings(options)
    with NodeClient(settings, settings.node_address) as client:
        cluster: dict[str, Any] = client.get("/v1/ha/cluster")
    if options.json:
        print(json.dumps(cluster))  # noqa: T201
        return
    print(f"epoch {cluster['epoch']}, {cluster['primary'] or 'nobody'} serves")  # noqa: T201
    for node in cluster["nodes"]:
        reason = "; ".join(filter(None, (node["reason"], node["takeover"])))
        print(f"{node['address']:<16} {node['state']:<13} {reason}")  # noqa: T201
    print(f"failures that can be survived now: {cluster['failuresSurvived']}")  # noqa: T201


def _fingerprint(options: argparse.Namespace) -> None:
    print(fingerprint_of(_settings(options)))  # noqa: T201


def _apply(options: argparse.Namespace) -> None:
    settings = _settings(options)
    answer = _order(settings, "apply", {})
    told = f"admitted {', '.join(answer['admitted'])} to the cluster"
    record_command(settings, "ha apply", told)
    print(f"Admitted {', '.join(answer['admitted'])}.")  # noqa: T201


def _remove(options: argparse.Namespace) -> None:
    settings = _settings(options)
    _order(settings, "remove", {"address": options.address})
    record_command(settings, "ha remove", f"removed the node {options.address}")
    print(f"Removed {options.address}.")  # noqa: T201


def _switchover(options: argparse.Namespace) -> None:
    settings = _settings(options)
    where = options.address or "the best standby"
    # Before it: while the role changes hands there is nobody to write it down.
    record_command(settings, "ha switchover", f"asked for a switchover to {where}")
    _order(settings, "switchover", {"address": options.address})
    print("The switchover has begun; see `twistlock-console ha status`.")  # noqa: T201


def _settings(options: argparse.Namespace) -> Settings:
    return load_settings(options.config, os.environ, on_this_host=False)


def _order(settings: Settings, verb: str, body: object) -> Any:
    """Have the serving node do it, whichever node this is."""
    with NodeClient(settings, settings.node_address) as client:
        primary = client.get("/v1/ha/cluster")["primary"]
    if primary is None:
        raise Refused("No node serves now; see `twistlock-console ha status`.")
    with NodeClient(settings, primary, timeout=15.0) as client:
        return client.post(f"/v1/ha/{verb}", body)
