"""Use the members that this host knows, without its role controller.

MongoDB lets a member whose database was emptied vote as soon as it knows the set. It
could then form a quorum with a member that lags behind and elect that one, which loses
writes that the emptied member had acknowledged. So the primary removes its vote before
its mongod starts, and grants it again as at a join. The firewall rules need the members
too.
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
    """Ask the primary to remove this node's vote, if its database is empty.

    Returns when mongod may start.

    Raises:
        DatabaseError: It must not start: the database is empty, and no primary has
            removed the vote that this node may have.
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
            log.info("the database is empty; this node is not a member any more")
            return
        except (NodeUnreachable, Refused) as error:
            failures.append(f"{address}: {error}")
        else:
            log.info("the database is empty; it has no vote until it has caught up")
            return
    raise DatabaseError(
        "the database of this node is empty; it does not start until the primary has "
        "removed its vote, because that vote could elect a node that lacks data; if "
        "all other nodes are lost, install a new Console and restore a backup "
        f"({'; '.join(failures)})"
    )


def is_database_empty(folder: Path) -> bool:
    """Return whether MongoDB has stored nothing in *folder* yet."""
    return not (folder / "WiredTiger").exists()


def node_addresses(settings: Settings) -> Collection[str]:
    """Return the addresses of the members and of the hosts that ask to join.

    While the node of this host does not answer: the members that it knew last.

    Raises:
        Refused: Those are unknown too; firewall rules without them would cut the
            cluster apart.
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
