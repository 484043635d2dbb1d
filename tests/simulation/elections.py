"""Elections among the members of the model: terms, votes, and a dry run first."""

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.world import MILLISECOND, SECOND

if TYPE_CHECKING:
    from tests.simulation.mongod import Mongod
    from tests.simulation.oplog import Entry

ELECTION_TIMEOUT = 3 * SECOND


def dry_run(member: "Mongod") -> None:
    """Ask who would vote for us, before a term is spent on it."""
    member.stand_at = member.world.now + ELECTION_TIMEOUT
    for peer in member.peers:
        member.send(peer, partial(asked_dry, peer, member, member.term, member.tip))


def asked_dry(member: "Mongod", candidate: "Mongod", term: int, tip: "Entry") -> None:
    """Would it get our vote?"""
    if term >= member.term and tip.optime >= member.tip.optime:
        member.send(candidate, partial(would_win, candidate, term))


def would_win(member: "Mongod", term: int) -> None:
    """A peer would vote for us: with our own vote that is a majority."""
    if term == member.term and member.state == "SECONDARY":
        stand(member)


def stand(member: "Mongod") -> None:
    """Begin a new term, with our own vote."""
    member.term += 1
    member.voted_in = member.term
    member.stand_at = member.world.now + ELECTION_TIMEOUT
    for peer in member.peers:
        member.send(peer, partial(asked, peer, member, member.term, member.tip))


def asked(member: "Mongod", candidate: "Mongod", term: int, tip: "Entry") -> None:
    """Vote for *candidate*, unless we know more or have voted in this term."""
    if term > member.term:
        member.new_term(term)
    fit = term == member.term and tip.optime >= member.tip.optime
    if fit and member.voted_in < term and member.state in ("SECONDARY", "ROLLBACK"):
        member.voted_in = term
        member.send(candidate, partial(elected, candidate, term))


def elected(member: "Mongod", term: int) -> None:
    """One more vote: with our own that is a majority."""
    if term == member.term and member.state == "SECONDARY":
        member.be("PRIMARY")
        member.primary = member.number
        member.stored = {}
        delay = member.world.between(5, 60) * MILLISECOND
        member.process.after(delay, partial(drained, member, term))


def drained(member: "Mongod", term: int) -> None:
    if member.state == "PRIMARY" and member.term == term:
        member.world.note(f"mongod{member.number}", f"is primary in term {term}")
        member.writable = True
        member.append(member.tip.document)
        member.changed()
