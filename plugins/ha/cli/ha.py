"""Provide `twistlock-console ha …`: operate the cluster from any of its nodes."""

from pathlib import Path

import click

from plugins.ha.membership.join_client import fingerprint_of
from plugins.ha.messages import (
    AddressBody,
    AdmittedResponse,
    ClusterResponse,
    RecoveryResponse,
    TargetBody,
)
from twistlock_console.cli.audit import record_command
from twistlock_console.cli.options import (
    config_option,
    json_option,
    print_json,
    print_line,
    print_row,
    settings_of_running_node,
)
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.node_api.messages import NodeMessage
from twistlock_console.settings import Settings

TIMEOUT_S = 15.0
RECOVERY_TIMEOUT_S = 60.0
WARNING = """\
This makes {address} the only node of its cluster, by force.

  - Excluded for good: {others}.
    If one of them returns, it is refused, and must be uninstalled and join again.
  - Lost: what the others stored and this node had not copied. The last that this
    node has is from {until}.
  - Do this only when the other hosts are destroyed or switched off. If they run, and
    only the network between you and them is cut, they serve as well, and what is
    written there cannot be brought together with what is written here.
"""


@click.group("ha", help="The cluster: its nodes and who serves.")
def command() -> None:
    """Group the commands of high availability."""


@command.command("status", help="Show the nodes and who serves.")
@json_option
@config_option
def status(config: Path, *, as_json: bool) -> None:
    """Print the cluster as this host's node sees it."""
    settings = settings_of_running_node(config)
    with NodeClient(settings, settings.node_address) as client:
        cluster = ClusterResponse.from_answer(client.get("/v1/ha/cluster"))
    if as_json:
        print_json(cluster.as_json())
        return
    print_line(f"epoch {cluster.epoch}, {cluster.primary or 'no node'} serves")
    for node in cluster.nodes:
        reason = "; ".join(filter(None, (node.reason, node.takeover)))
        print_row((node.address, node.state, reason), (16, 13))
    print_line(f"failures that can be survived now: {cluster.failures_survived}")


@command.command("apply", help="Admit the hosts that ask to join.")
@config_option
def apply(config: Path) -> None:
    """Ask the serving node to admit the waiting hosts."""
    settings = settings_of_running_node(config)
    answer = _post_to_serving_node(settings, "apply", NodeMessage())
    admitted = ", ".join(AdmittedResponse.from_answer(answer).admitted)
    record_command(settings, "ha apply", f"admitted {admitted} to the cluster")
    print_line(f"Admitted {admitted}.")


@command.command("fingerprint", help="Show the fingerprint of this host's key.")
@config_option
def fingerprint(config: Path) -> None:
    """Print the fingerprint that the page shows while this host waits."""
    print_line(fingerprint_of(settings_of_running_node(config)))


@command.command("remove", help="Remove a node.")
@click.argument("address")
@config_option
def remove(address: str, config: Path) -> None:
    """Ask the serving node to remove the node at *address*."""
    settings = settings_of_running_node(config)
    _post_to_serving_node(settings, "remove", AddressBody(address=address))
    record_command(settings, "ha remove", f"removed the node {address}")
    print_line(f"Removed {address}.")


@command.command("switchover", help="Let another node serve.")
@click.argument("address", required=False)
@config_option
def switchover(address: str | None, config: Path) -> None:
    """Start a switchover to *address*, or to the best standby."""
    settings = settings_of_running_node(config)
    where = address or "the best standby"
    # Recorded first: while the role changes, no node can store the record.
    record_command(settings, "ha switchover", f"asked for a switchover to {where}")
    _post_to_serving_node(settings, "switchover", TargetBody(address=address))
    print_line("The switchover has started; see `twistlock-console ha status`.")


def _post_to_serving_node(settings: Settings, verb: str, body: NodeMessage) -> object:
    """Send *body* to the serving node; return its response."""
    with NodeClient(settings, settings.node_address) as client:
        primary = ClusterResponse.from_answer(client.get("/v1/ha/cluster")).primary
    if primary is None:
        raise Refused("No node serves now; see `twistlock-console ha status`.")
    with NodeClient(settings, primary, timeout=TIMEOUT_S) as client:
        return client.post(f"/v1/ha/{verb}", body.as_json())


@command.command(
    "recover", help="Make this node a cluster of one when the others are lost."
)
@click.option("--force", is_flag=True, help="Do it.")
@config_option
def recover(config: Path, *, force: bool) -> None:
    """Show the plan, ask for confirmation, and start the forced recovery."""
    settings = settings_of_running_node(config)
    with NodeClient(
        settings, settings.node_address, timeout=RECOVERY_TIMEOUT_S
    ) as client:
        plan = RecoveryResponse.from_answer(client.get("/v1/ha/recovery"))
        address, others = plan.address, ", ".join(plan.others) or "no node"
        stored = plan.stored_until
        until = stored.isoformat(timespec="seconds") if stored else "an unknown time"
        print_line(WARNING.format(address=address, others=others, until=until))
        if not force:
            raise Refused("Nothing was changed; to do it, add --force.")
        _confirm(address)
        client.post("/v1/ha/recovery", AddressBody(address=address).as_json())
    print_line(f"{address} is the only node now and serves in a moment.")
    print_line("Let two new hosts join from its page, then click APPLY.")
    done = f"made {address} the only node, by force; excluded {others}"
    record_command(settings, "ha recover --force", done)


def _confirm(address: str) -> None:
    try:
        typed = input(f"Type the address of this node ({address}) to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != address:
        raise Refused("That is not its address; nothing was changed.")
