"""The addresses of a cluster's nodes, for a command on one of them."""

from collections.abc import Collection

from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.database.known_members import read_known_members
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings


def node_addresses(settings: Settings) -> Collection[str]:
    """Return the members and the hosts that ask to join, as this host's node sees them.

    While the node does not answer: the members that it knew last. Raises Refused where
    that is not known either: rules without them would cut the cluster.
    """
    try:
        with NodeClient(settings, settings.node_address) as client:
            shown = client.get("/v1/ha/cluster")["nodes"]
    except ConsoleError as error:
        if known := read_known_members(settings.folders):
            return known
        raise Refused(
            f"The other nodes are not known while this one does not answer ({error}); "
            "start it, and run this as root."
        ) from error
    return [str(node["address"]) for node in shown]
