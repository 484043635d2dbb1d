"""Parse the status of the replica set (`replSetGetStatus`). Pure.

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
    """One member as `replSetGetStatus` lists it.

    *optime* is the time of its last oplog entry; None if it holds no data yet. *votes*
    comes from the configuration: a member that still copies its data has no vote.
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
        """Parse the reply of `replSetGetStatus`, with the set's configuration."""
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
        """Return the sync source of the member at *address*; "" if it has none."""
        return next((m.sync_source for m in self.members if m.address == address), None)

    def lag_seconds(self, address: str) -> float | None:
        """Return the seconds by which *address* lags; None if that is unknown."""
        ends = [member.optime for member in self.members if member.optime]
        own = next((m.optime for m in self.members if m.address == address), None)
        if own is None or not ends:
            return None
        return max(0.0, (max(ends) - own).total_seconds())


def _written(optime: datetime | None) -> datetime | None:
    """Return *optime*; None for the 1970 that a member without data reports."""
    return optime if optime and optime.year > 1970 else None
