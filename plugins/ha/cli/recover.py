"""`twistlock-console ha recover --force`: the last resort, with a confirmation."""

from pathlib import Path
from typing import Any

import click

from twistlock_console.cli.audit import record_command
from twistlock_console.cli.options import config_option, settings_of_running_node
from twistlock_console.cli.output import print_line
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.client import NodeClient

TIMEOUT_S = 60.0
WARNING = """\
This makes {address} the only node of its cluster, by force.

  - Left out for good: {others}.
    If one of them returns, it is refused, and must be uninstalled and join anew.
  - Lost: what the others stored and this node had not copied. The last that this
    node has is from {until}.
  - Do this only when the other hosts are destroyed or switched off. If they run, and
    only the network between you and them is cut, they serve as well, and what is
    written there cannot be brought together with what is written here.
"""


@click.command(
    "recover", help="Make this node a cluster of one when the others are lost."
)
@click.option("--force", is_flag=True, help="Do it.")
@config_option
def recover(config: Path, *, force: bool) -> None:
    """Ask for the confirmation, then have this host's node do it."""
    settings = settings_of_running_node(config)
    with NodeClient(settings, settings.node_address, timeout=TIMEOUT_S) as client:
        plan: dict[str, Any] = client.get("/v1/ha/recovery")
        others = ", ".join(plan["others"]) or "nobody"
        until = plan["storedUntil"] or "an unknown time"
        warning = WARNING.format(address=plan["address"], others=others, until=until)
        print_line(warning)
        if not force:
            raise Refused("Nothing was changed; to do it, add --force.")
        _confirm(plan["address"])
        client.post("/v1/ha/recovery", {"address": plan["address"]})
    print_line(f"{plan['address']} is alone now and will serve in a moment.")
    print_line("Let two new hosts join from its page, then click APPLY.")
    done = f"made {plan['address']} the only node, by force; left out {others}"
    record_command(settings, "ha recover --force", done)


def _confirm(address: str) -> None:
    try:
        typed = input(f"Type the address of this node ({address}) to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != address:
        raise Refused("That is not its address; nothing was changed.")
