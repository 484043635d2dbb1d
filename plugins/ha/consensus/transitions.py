"""How what a node knows changes: by what it begins, and by what it learns.

Pure. The control loop and the simulation use the same functions.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from plugins.ha.consensus.lease import HeldLease, LeaseDocument, ObservedLease
from plugins.ha.consensus.state import (
    Action,
    ClosePorts,
    DropLease,
    FailedServer,
    HandOver,
    Handover,
    Member,
    Observation,
    OpenPorts,
    Peer,
    Ports,
    ReadLease,
    ReleaseLease,
    RenewLease,
    ReopenServers,
    StepDown,
    StepUp,
    TakeLease,
)
from plugins.ha.consensus.switchover import best

SECOND = 1_000_000_000
REST = 5 * SECOND
LONGEST_REST = 60 * SECOND
#: So many failures of the ports in a row make it hand over.
HANDED_OVER_AT = 2
PROVED = 30 * SECOND


@dataclass(frozen=True, slots=True)
class ServerEnd:
    """The service server *name* ended or did not open, and *why*."""

    name: str
    why: str


def action_started(  # noqa: C901, PLR0911  a table
    seen: Observation, action: Action, reason: str, now: int
) -> Observation:
    """Return the observation once *action* has been started."""
    match action:
        case ReadLease() | TakeLease() | RenewLease():
            return replace(seen, asking=True, taking=isinstance(action, TakeLease))
        case OpenPorts():
            return replace(seen, ports=Ports.OPENING, reopening=False)
        case ReopenServers():
            return replace(seen, reopening=True)
        case ClosePorts():
            return replace(seen, ports=Ports.CLOSING)
        case DropLease():
            return _dropped(seen, reason, now)
        case StepDown() | StepUp() | HandOver():
            return replace(seen, stepping=True)
        case ReleaseLease():  # pragma: no branch  there is no other action
            return seen


def _dropped(seen: Observation, reason: str, now: int) -> Observation:
    """Drop the lease and rest, longer each time that the ports failed."""
    epoch = seen.hold.document.epoch if seen.hold else seen.renounced
    rest = min(REST * 2 ** min(seen.failures, 8), LONGEST_REST) if seen.peers else 0
    rested = replace(seen, hold=None, renounced=epoch, handover=None)
    return resting(rested, now + rest, f"resting: {reason}")


def resting(seen: Observation, until: int, reason: str) -> Observation:
    """Keep the node from standing for the role before *until*, if not for longer."""
    if until <= seen.resting_until:
        return seen
    return replace(seen, resting_until=until, resting_reason=reason)


def request_switchover(
    seen: Observation, target: str | None, reason: str
) -> Observation:
    """Have it hand over, if it serves and no switchover is under way already."""
    if seen.handover is not None or seen.hold is None:
        return seen
    return replace(seen, handover=Handover(target, reason))


def member_seen(
    seen: Observation,
    member: Member | None,
    optime: tuple[int, int] | None,
    now: int,
) -> Observation:
    """Apply an answer of our mongod to `hello`; None: it was silent for too long."""
    before = seen.member.primary if seen.member else None
    named = member.primary if member else None
    was_writable = seen.member is not None and seen.member.writable
    return replace(
        seen,
        member=member,
        optime=optime or seen.optime,
        named_at=seen.named_at if named == before else now,
        writable_since=seen.writable_since if was_writable else now,
    )


def peer_heard(seen: Observation, peer: Peer) -> Observation:
    """Apply a peer's answer to a heartbeat, or its refusal."""
    return replace(
        seen,
        peers=tuple(
            _dated(peer, old, seen) if old.address == peer.address else old
            for old in seen.peers
        ),
    )


def _dated(peer: Peer, before: Peer, seen: Observation) -> Peer:
    gap = peer.heard_at - before.heard_at
    same = peer.is_well and before.is_well and gap < seen.timing.step_up_after
    return replace(peer, well_since=before.well_since if same else peer.heard_at)


def peers_set(
    seen: Observation, member_id: int, members: dict[str, int]
) -> Observation:
    """Set the other *members* of the replica set: address to member id."""
    peers = tuple(
        seen.peer(address) or Peer(address, number)
        for address, number in sorted(members.items())
    )
    return replace(seen, member_id=member_id, peers=peers)


def lease_observed(seen: Observation, document: LeaseDocument, now: int) -> Observation:
    """Apply the lease as it was read; the answer came at *now*."""
    if seen.sighting is None:
        return replace(seen, sighting=ObservedLease(document, now))
    return replace(seen, sighting=seen.sighting.updated(document, now))


def lease_answered(seen: Observation) -> Observation:
    """End the lease request in flight, whatever its outcome."""
    return replace(seen, asking=False, taking=False)


def lease_held(
    seen: Observation, document: LeaseDocument, sent_at: int, now: int
) -> Observation:
    """Hold the lease: a majority stored *document*, which was sent at *sent_at*.

    A renewal that is acknowledged after the lease was dropped gives nothing back:
    we have told others that we will not serve under its epoch. Nor does a lease that
    comes to a node which has begun to rest meanwhile, since it is being stopped.
    """
    seen = lease_observed(seen, document, now)
    if document.epoch <= seen.renounced:
        return seen
    if seen.hold is None and now < seen.resting_until:
        return seen
    return replace(seen, hold=HeldLease.acknowledged(document, sent_at))


def ports_opened(seen: Observation) -> Observation:
    """At least one service server answers, unless all have failed since."""
    return replace(seen, ports=Ports.OPEN) if seen.ports is Ports.OPENING else seen


def server_failed(
    seen: Observation, end: ServerEnd, now: int, *, others_run: bool
) -> Observation:
    """Note that a service server could not be opened, or ended by itself.

    While *others_run* the ports stay open, and it is opened again alone. After the
    lease that is no failure: servers end themselves then, as they should.
    """
    over = seen.hold is not None and now >= seen.hold.deadline
    if over or seen.ports not in (Ports.OPENING, Ports.OPEN):
        return seen
    before = next((f.count for f in seen.failed_servers if f.name == end.name), 0)
    failed = _with_failed(seen, FailedServer(end.name, before + 1, now))
    if not others_run:
        failed = replace(failed, ports=Ports.FAILED)
    if failed.failures < HANDED_OVER_AT or not seen.peers:
        return failed
    if others_run and best(seen, now) is None:
        # To close the others as well would help no client.
        return failed
    # Said once, here: the same failures must not end the next time it serves, too.
    return request_switchover(
        failed, None, f"the service ports do not stay open here: {end.why}"
    )


def servers_reopened(seen: Observation, closed: Collection[str]) -> Observation:
    """Note that failed servers were opened again, all but those in *closed*."""
    servers = (
        replace(each, is_closed=each.is_closed and each.name in closed)
        for each in seen.failed_servers
    )
    return replace(seen, failed_servers=tuple(servers), reopening=False)


def servers_seen(seen: Observation, closed: Collection[str], now: int) -> Observation:
    """Record that servers are *closed*; open one whose end was missed again."""
    if seen.ports is not Ports.OPEN or seen.reopening:
        return seen
    for name in set(closed) - {each.name for each in seen.closed_servers}:
        count = next((f.count for f in seen.failed_servers if f.name == name), 0)
        seen = _with_failed(seen, FailedServer(name, count, now))
    return seen


def _with_failed(seen: Observation, server: FailedServer) -> Observation:
    others = (each for each in seen.failed_servers if each.name != server.name)
    servers = tuple(sorted((*others, server), key=lambda each: each.name))
    return replace(
        seen,
        failed_servers=servers,
        failures=max(seen.failures, server.count),
        failed_at=server.failed_at,
    )


def ports_paused(seen: Observation, reason: str) -> Observation:
    """Note that the service ports were closed on purpose, and are to be opened again.

    That says nothing against this node: it neither counts as a failure, nor makes up
    for one.
    """
    if seen.ports not in (Ports.OPENING, Ports.OPEN):
        return seen
    return replace(seen, ports=Ports.PAUSED, pause=reason)


def ports_stuck(seen: Observation, now: int) -> Observation:
    """Note that the service ports did not close; it must be tried again."""
    return replace(seen, ports=Ports.FAILED, failed_at=now)


def ports_closed(seen: Observation) -> Observation:
    """Note that the service ports refuse connections."""
    opened = servers_reopened(seen, ())
    return replace(opened, ports=Ports.CLOSED)


def ports_proven(seen: Observation, now: int) -> Observation:
    """Ports that have stayed open for a while make up for earlier failures."""
    proved = seen.ports is Ports.OPEN and not seen.closed_servers
    if proved and now > seen.failed_at + PROVED:
        return replace(seen, failures=0, failed_servers=())
    return seen


def election_step_finished(seen: Observation, now: int) -> Observation:
    """Note that our member was stepped up or down, or refused to be."""
    return replace(seen, stepping=False, stepped_at=now)
