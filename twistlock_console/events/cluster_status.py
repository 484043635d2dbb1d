"""The replica set as `replSetGetStatus` shows it. Pure.

See the MongoDB manual, "replSetGetStatus" and "replSetGetConfig", version 6.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


def address_of(host: str) -> str:
    """Return the address in a member's "address:port"."""
    return host.rsplit(":", 1)[0]


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One member as `replSetGetStatus` lists it; *optime* is when its oplog ends.

    *votes* is in the configuration only: a member that still copies has no vote.
    """

    member_id: int
    address: str
    state: str
    healthy: bool
    optime: datetime | None
    sync_source: str
    votes: bool = True


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The replica set at one moment, as our own member sees it."""

    term: int
    members: tuple[MemberStatus, ...]

    @classmethod
    def from_answer(cls, answer: Mapping[str, Any], config: Mapping[str, Any]) -> Self:
        """Read what `replSetGetStatus` returns, and the set's configuration."""
        voteless = {m["host"] for m in config["members"] if not m["votes"]}
        members = tuple(
            MemberStatus(
                member_id=int(member["_id"]),
                address=address_of(member["name"]),
                state=str(member["stateStr"]),
                healthy=member.get("health") == 1,
                optime=_written(member.get("optimeDate")),
                sync_source=address_of(member.get("syncSourceHost", "")),
                votes=member["name"] not in voteless,
            )
            for member in answer["members"]
        )
        return cls(term=int(answer.get("term", 0)), members=members)

    def sync_source_of(self, address: str) -> str | None:
        """Whose oplog the member at *address* reads; "" for nobody's."""
        return next((m.sync_source for m in self.members if m.address == address), None)

    def lag_seconds(self, address: str) -> float | None:
        """Return how far *address* is behind the most recent oplog; None if unknown."""
        ends = [member.optime for member in self.members if member.optime]
        own = next((m.optime for m in self.members if m.address == address), None)
        if own is None or not ends:
            return None
        return max(0.0, (max(ends) - own).total_seconds())


def _written(optime: datetime | None) -> datetime | None:
    """Return when it was written; a member that holds nothing yet tells of 1970."""
    return optime if optime and optime.year > 1970 else None
