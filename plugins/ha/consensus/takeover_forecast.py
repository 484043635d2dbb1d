"""Whether each standby would take over if the primary failed now, and why not.

Pure.
"""

from plugins.ha.consensus.state import Observation, Peer
from plugins.ha.consensus.switchover import LAG_SECONDS


def prospect(seen: Observation, address: str, survivable: int, now: int) -> str:
    """Say it of the standby at *address*; so many nodes may fail before none serves."""
    standbys = [_ourselves(seen, now), *seen.peers]
    node = next((n for n in standbys if n.address == address), None)
    if node is None or (why := _why_not(node, seen, now)):
        return f"would not take over: {why if node else 'it is no member yet'}"
    if survivable < 1:
        return "would not take over: without the primary there is no majority"
    fit = [n for n in standbys if not _why_not(n, seen, now)]
    first = min(fit, key=lambda n: (-n.optime[0], -n.optime[1], n.member_id))
    if first is node:
        return "would take over first"
    return f"would take over if {first.address} did not"


def _ourselves(seen: Observation, now: int) -> Peer:
    return Peer(
        address=seen.me,
        member_id=seen.member_id,
        heard_at=now,
        state=seen.member.state if seen.member else "UNKNOWN",
        optime=seen.optime,
        resting=now < seen.resting_until,
    )


def _why_not(node: Peer, seen: Observation, now: int) -> str | None:
    if not seen.is_heard(node, now):
        return "it is out of reach"
    if node.state != "SECONDARY":
        return (
            "its database does not run"
            if node.cause
            else f"its database is {node.state}"
        )
    if node.resting:
        return "it rests after it gave up the role, or failed"
    newest = max([seen.optime, *(peer.optime for peer in seen.peers)])
    lag = newest[0] - node.optime[0]
    return f"it lags {lag} s behind" if lag > LAG_SECONDS else None
