"""Decide whether members may change, and the next single step of a change.

Pure. MongoDB allows one voting member to change at a time, and a member in its initial
sync must not vote yet, since it would count for a quorum. So each pass makes at most
one step from the present state. A failover in between is harmless: the new primary
continues.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from plugins.ha.replication.member_state import MemberConfig, SetConfig, SetSettings
from twistlock_console.events.cluster_status import ClusterStatus, address_of

MAX_NODES = 3
MAX_CAUGHT_UP_LAG_S = 5.0


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A host that asks to join.

    Attributes:
        approved: Whether APPLY admitted it.
        routed: Whether the primary reaches it only through a router.
    """

    address: str
    version: str
    fingerprint: str
    approved: bool
    routed: bool = False


@dataclass(frozen=True, slots=True)
class ConfigStep:
    """The next configuration of the replica set, and the reason of the step."""

    config: SetConfig
    reason: str


def apply_refusal(
    members: Sequence[str], waiting: Sequence[JoinRequest], version: str
) -> str | None:
    """Return why APPLY is refused now, as a sentence; None if it is allowed."""
    if not waiting:
        return "No host waits to join; run the join command on a host first."
    total = len({*members, *(request.address for request in waiting)})
    if total > MAX_NODES:
        return (
            f"A cluster has {MAX_NODES} nodes; {total} would be too many. Remove one "
            "first."
        )
    if total < MAX_NODES:
        missing = MAX_NODES - total
        return (
            f"{missing} more host must ask to join first; a cluster has "
            f"{MAX_NODES} nodes."
        )
    for request in waiting:
        if request.version != version:
            return (
                f"{request.address} runs version {request.version} and this Console "
                f"{version}; install the same version and join again."
            )
        if request.routed:
            return (
                f"{request.address} is on another network, behind a router; all nodes "
                "must be on one local network."
            )
    return None


def join_refusal(request: JoinRequest, config: SetConfig, version: str) -> str | None:
    """Return why a host may not ask to join, as a sentence; None if it may."""
    if request.version != version:
        return (
            f"This host has version {request.version} of the Console and the cluster "
            f"{version}; uninstall it here and run the join command again, which "
            "installs the right one."
        )
    voting = [address_of(m["host"]) for m in config["members"] if m["votes"]]
    if request.address in voting:
        return (
            f"{request.address} is a node of this cluster already; remove it on the "
            "primary's page before it joins again."
        )
    return None


def next_step(
    config: SetConfig,
    status: ClusterStatus,
    approved: Sequence[str],
    port: int,
    *,
    emptied: Collection[str] = (),
) -> ConfigStep | None:
    """Return the next step towards a set in which every *approved* address votes.

    Args:
        config: The present configuration.
        status: The present status, by `rs.status()`.
        approved: Addresses of the admitted hosts.
        port: Port of the databases.
        emptied: Members that lost their data. They get no vote now: they start an
            initial sync, and their status may still be from before.
    """
    if config["settings"]["chainingAllowed"]:
        settings: SetSettings = {**config["settings"], "chainingAllowed": False}
        return ConfigStep(
            {**config, "settings": settings},
            "all members replicate from the primary again",
        )
    members = list(config["members"])
    if step := _remove_vote(config, status):
        return step
    voteless = next((member for member in members if member["votes"] == 0), None)
    if voteless is not None:
        is_emptied = address_of(voteless["host"]) in emptied
        return None if is_emptied else _grant_vote(config, status, voteless)
    known = {address_of(member["host"]) for member in members}
    for address in approved:
        if address not in known:
            return _add_member(config, members, f"{address}:{port}")
    return None


def without_vote(config: SetConfig, address: str) -> ConfigStep | None:
    """Return the step that removes the vote of *address*; None if it has none."""
    found = [m for m in config["members"] if address_of(m["host"]) == address]
    if not any(member["votes"] for member in found):
        return None
    members = [
        _with_votes(member, 0) if member in found else member
        for member in config["members"]
    ]
    reason = f"{address} copies all data and has no vote until it has caught up"
    return ConfigStep({**config, "members": members}, reason)


def _with_votes(member: MemberConfig, votes: int) -> MemberConfig:
    return {**member, "priority": votes, "votes": votes}


def config_without(config: SetConfig, address: str) -> ConfigStep | None:
    """Return the step that removes the member at *address*; None if it is unknown."""
    kept = [m for m in config["members"] if address_of(m["host"]) != address]
    if len(kept) == len(config["members"]):
        return None
    return ConfigStep({**config, "members": kept}, f"{address} was removed")


def _remove_vote(config: SetConfig, status: ClusterStatus) -> ConfigStep | None:
    """Return the step that removes the vote of a member in its initial sync.

    A member that only restarts is in the same state, but has an optime.
    """
    copying = [
        member.address
        for member in status.members
        if member.healthy and member.state == "STARTUP2" and member.optime is None
    ]
    return next(filter(None, (without_vote(config, each) for each in copying)), None)


def _add_member(
    config: SetConfig, members: list[MemberConfig], host: str
) -> ConfigStep:
    number = 1 + max(member["_id"] for member in members)
    added: MemberConfig = {"_id": number, "host": host, "priority": 0, "votes": 0}
    return ConfigStep(
        {**config, "members": [*members, added]}, f"{host} starts its initial sync"
    )


def _grant_vote(
    config: SetConfig, status: ClusterStatus, voteless: MemberConfig
) -> ConfigStep | None:
    address = address_of(voteless["host"])
    found = next((m for m in status.members if m.address == address), None)
    if found is None or found.state != "SECONDARY":
        return None
    lag = status.lag_seconds(address)
    if lag is None or lag > MAX_CAUGHT_UP_LAG_S:
        return None
    members = [
        _with_votes(member, 1) if member is voteless else member
        for member in config["members"]
    ]
    return ConfigStep(
        {**config, "members": members}, f"{address} has caught up and votes"
    )


_ROUTE_UP = 0x1
_ROUTE_GATEWAY = 0x2


def is_behind_router(address: str, table: str) -> bool:
    """Return whether the best route to *address* leads through a router.

    *table* is the content of /proc/net/route. This host's own addresses are not in it
    and count as local; so does every address if there is no route at all, because the
    host could not have asked then.
    """
    sought = IPv4Address(address)
    routes = filter(None, map(_route, table.splitlines()[1:]))
    fitting = [
        (net, flags) for net, flags in routes if sought in net and flags & _ROUTE_UP
    ]
    if sought.is_loopback or not fitting:
        return False
    return bool(max(fitting, key=lambda route: route[0].prefixlen)[1] & _ROUTE_GATEWAY)


def _route(line: str) -> tuple[IPv4Network, int] | None:
    """Parse one line: interface, destination, gateway, flags, …, mask in column 7.

    Return None for a line that is no route.
    """
    columns = line.split()
    try:
        destination, mask = _route_address(columns[1]), _route_address(columns[7])
        return IPv4Network(f"{destination}/{mask}", strict=False), int(columns[3], 16)
    except (ValueError, IndexError):
        return None


def _route_address(text: str) -> IPv4Address:
    # The bytes are in the order of the processor: on x86-64 the last one first.
    return IPv4Address(bytes.fromhex(text)[::-1])
