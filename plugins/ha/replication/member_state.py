"""Parse the state of members: the answer to `hello`, and the state that pages show.

Pure. See the MongoDB manual, "hello", version 6.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypedDict

from plugins.ha.consensus.state import Member
from twistlock_console.events.cluster_status import MemberStatus, address_of


class MemberConfig(TypedDict):
    """A member in the configuration of the replica set; it has more fields."""

    _id: int
    host: str
    priority: float
    votes: int


class SetSettings(TypedDict):
    """The settings in the configuration of the replica set; it has more fields."""

    chainingAllowed: bool


class SetConfig(TypedDict):
    """The configuration of the replica set, with the fields that a change needs."""

    version: int
    members: list[MemberConfig]
    settings: SetSettings


@dataclass(frozen=True, slots=True)
class HelloResponse:
    """One answer to `hello`.

    *topology_version* is the token to wait for the next change with; *optime* is the
    newest oplog entry (seconds, increment).
    """

    member: Member
    topology_version: Mapping[str, object] | None
    optime: tuple[int, int]

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any]) -> Self:
        """Parse the document that `hello` returns."""
        primary = answer.get("primary")
        member = Member(
            state=_state(answer),
            writable=bool(answer.get("isWritablePrimary")),
            primary=address_of(primary) if primary else None,
        )
        stamp = answer.get("lastWrite", {}).get("opTime", {}).get("ts")
        optime = (stamp.time, stamp.inc) if stamp is not None else (0, 0)
        return cls(member, answer.get("topologyVersion"), optime)


def _state(answer: Mapping[str, Any]) -> str:
    """Return MongoDB's name of the member's state, as far as `hello` shows it."""
    if answer.get("isWritablePrimary"):
        return "PRIMARY"
    if answer.get("secondary"):
        return "SECONDARY"
    if answer.get("isreplicaset"):
        return "REMOVED"
    return "RECOVERING"


class NodeState(StrEnum):
    """The state of a node, as the page, the API and the command line show it."""

    PRIMARY = "PRIMARY"
    SECONDARY = "SECONDARY"
    REQUEST_JOIN = "REQUEST_JOIN"
    STARTUP = "STARTUP"
    STARTUP2 = "STARTUP2"
    RECOVERING = "RECOVERING"
    ROLLBACK = "ROLLBACK"
    UNAVAILABLE = "UNAVAILABLE"
    REMOVED = "REMOVED"


def member_state(member: MemberStatus) -> NodeState:
    """Return the state of a node that is a member of the replica set."""
    if not member.healthy:
        return NodeState.UNAVAILABLE
    try:
        return NodeState(member.state)
    except ValueError:
        # DOWN, UNKNOWN, "(not reachable/healthy)" all mean the same.
        return NodeState.UNAVAILABLE
