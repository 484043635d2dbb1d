"""The state that is shown for each node: MongoDB's words, and three of our own.

Pure.
"""

from enum import StrEnum

from twistlock_console.events.cluster_status import MemberStatus


class NodeState(StrEnum):
    """What the page, the API and the command line call a node."""

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
    """The state of a node that is a member of the replica set."""
    if not member.healthy:
        return NodeState.UNAVAILABLE
    try:
        return NodeState(member.state)
    except ValueError:
        # DOWN, UNKNOWN, "(not reachable/healthy)": words for one thing.
        return NodeState.UNAVAILABLE
