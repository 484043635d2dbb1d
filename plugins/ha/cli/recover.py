"""`twistlock-console ha recover --force`: the last resort, with a confirmation."""

import argparse
import os
from typing import Any

from twistlock_console.cli.audit import record_command
from twistlock_console.common.errors import Refused
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import load_settings

SECONDS = 60.0
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


def recover(options: argparse.Namespace) -> None:
    """Ask for the confirmation, then have this host's node do it."""
    settings = load_settings(options.config, os.environ, on_this_host=False)
    with NodeClient(settings, settings.node_address, timeout=SECONDS) as client:
        told: dict[str, Any] = client.get("/v1/ha/recovery")
        others = ", ".join(told["others"]) or "nobody"
        print(  # noqa: T201
            WARNING.format(
                address=told["address"],
                others=others,
                until=told["storedUntil"] or "an unknown time",
            )
        )
        if not options.force:
            raise Refused("Nothing was changed; to do it, add --force.")
        _confirm(told["address"])
        client.post("/v1/ha/recovery", {"address": told["address"]})
    print(f"{told['address']} is alone now and will serve in a moment.")  # noqa: T201
    print("Let two new hosts join from its page, then click APPLY.")  # noqa: T201
    done = f"made {told['address']} the only node, by force; left out {others}"
    record_command(settings, "ha recover --force", done)


def _confirm(address: str) -> None:
    try:
        typed = input(f"Type the address of this node ({address}) to go on: ")
    except EOFError:
        typed = ""
    if typed.strip() != address:
        raise Refused("That is not its address; nothing was changed.")
