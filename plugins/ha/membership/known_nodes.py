"""Use the members that this host knows, without its role controller.

MongoDB lets a member whose database was emptied vote as soon as it knows the set. A
majority of it and of a member that lags behind could then elect the latter, and lose
what the emptied one had stored. So the primary takes its vote before its mongod
starts, and gives it back as at a join. The firewall's rules need the members too.
"""

import logging
from collections.abc import Collection
from pathlib import Path

from plugins.ha.messages import AddressBody, ClusterResponse
from twistlock_console.common.errors import (
    ConsoleError,
    DatabaseError,
    NodeUnreachable,
    Refused,
    Removed,
)
from twistlock_console.database.known_members import read_known_members
from twistlock_console.node_api.client import NodeClient
from twistlock_console.settings import Settings

GIVE_UP_VOTE_PATH = "/v1/ha/give-up-vote"
#: The primary waits until a majority has the new configuration.
REQUEST_TIMEOUT_S = 10.0
log = logging.getLogger(__name__)


def give_up_vote_if_empty(settings: Settings) -> None:
    """Return when mongod may start.

    Raises DatabaseError while it may not: its database is empty, and no primary has
    taken the vote that this node may have.
    """
    members = read_known_members(settings.folders)
    if not members or not is_database_empty(settings.folders.database):
        return
    failures = []
    for address in members:
        try:
            with NodeClient(settings, address, timeout=REQUEST_TIMEOUT_S) as client:
                client.post(
                    GIVE_UP_VOTE_PATH,
                    AddressBody(address=settings.node_address).as_json(),
                )
        except Removed:
            log.info("the database is empty, and this node is no member any more")
            return
        except (NodeUnreachable, Refused) as error:
            failures.append(f"{address}: {error}")
        else:
            log.info("the database is empty; it has no vote until it has caught up")
            return
    raise DatabaseError(
        "the database of this node is empty, and until the primary has taken its vote "
        "it waits, because with it the others could elect one that lacks data; if all "
        "of them are lost, install a new Console and restore a backup "
        f"({'; '.join(failures)})"
    )


def is_database_empty(folder: Path) -> bool:
    """Return whether MongoDB has stored nothing in *folder* yet."""
    return not (folder / "WiredTiger").exists()


def node_addresses(settings: Settings) -> Collection[str]:
    """Return the members and the hosts that ask to join, as this host's node sees them.

    While the node does not answer: the members that it knew last. Raises Refused where
    that is not known either: rules without them would cut the cluster.
    """
    try:
        with NodeClient(settings, settings.node_address) as client:
            cluster = ClusterResponse.from_answer(client.get("/v1/ha/cluster"))
    except ConsoleError as error:
        if known := read_known_members(settings.folders):
            return known
        raise Refused(
            f"The other nodes are not known while this one does not answer ({error}); "
            "start it, and run this as root."
        ) from error
    return [node.address for node in cluster.nodes]
