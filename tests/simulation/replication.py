"""How members of the model hear of each other, follow an oplog, and roll back."""

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.elections import ELECTION_TIMEOUT
from tests.simulation.oplog import FIRST
from tests.simulation.world import MILLISECOND, SECOND

if TYPE_CHECKING:
    from tests.simulation.mongod import Mongod
    from tests.simulation.oplog import Entry


def tell(member: "Mongod", peer: "Mongod") -> None:
    """A heartbeat; from the primary it carries the oplog as well."""
    leads = member.state == "PRIMARY"
    tip = FIRST if member.hidden else member.tip
    member.send(peer, partial(hear, peer, member.number, member.term, tip, leads=leads))


def hear(
    member: "Mongod", sender: int, term: int, tip: "Entry", *, leads: bool
) -> None:
    """Another member told of itself; a primary, of its oplog too."""
    member.heard[sender] = member.world.now
    if term > member.term:
        member.new_term(term)
    if leads and term >= member.term and member.state != "PRIMARY":
        follow(member, sender)
    # What was under way from the old source is still taken.
    if leads and sender == member.source and member.state == "SECONDARY":
        take_over(member, tip)
    report(member, sender)


def follow(member: "Mongod", sender: int) -> None:
    """Take *sender* for the primary, and have patience with it again."""
    wait = ELECTION_TIMEOUT + member.world.between(0, SECOND // 2)
    member.stand_at = member.world.now + wait
    member.source = sender
    if member.primary != sender:
        member.primary = sender
        member.changed()


def take_over(member: "Mongod", tip: "Entry") -> None:
    """Follow the oplog up to *tip*, back to where both agree if need be."""
    if tip.optime <= member.tip.optime:
        return
    if tip.follows(member.tip):
        member.tip = tip
        return
    member.be("ROLLBACK")
    member.process.after(
        member.world.between(20, 300) * MILLISECOND, partial(rolled_back, member, tip)
    )


def rolled_back(member: "Mongod", tip: "Entry") -> None:
    """Hold what *tip* says from now on."""
    if member.state == "ROLLBACK":
        member.world.note(f"mongod{member.number}", f"rolled back to {tip.document}")
        member.tip = tip
        member.be("SECONDARY")


def report(member: "Mongod", to: int) -> None:
    """Tell how far our oplog is stored on disk."""
    peer = next(peer for peer in member.peers if peer.number == to)
    tale = partial(receive_heartbeat, peer, member.number, member.term, member.tip)
    if member.slowness:
        delay = member.world.between(0, member.slowness)
        member.process.after(delay, partial(member.send, peer, tale))
    else:
        member.send(peer, tale)


def receive_heartbeat(member: "Mongod", sender: int, term: int, tip: "Entry") -> None:
    """A member has stored its oplog up to *tip*."""
    member.heard[sender] = member.world.now
    if term > member.term:
        member.new_term(term)
    if member.state == "PRIMARY" and term == member.term:
        member.stored[sender] = tip
        member.acknowledge()
