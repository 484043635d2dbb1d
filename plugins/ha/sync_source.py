"""Whether our member still follows a node that went silent, with a new primary known.

Pure.
"""

from plugins.ha.observation import Observation
from plugins.ha.status import ClusterStatus


def stale_source(seen: Observation, status: ClusterStatus, now: int) -> str | None:
    """The silent node that our member reads from; None when all is well."""
    source = seen.peer(status.source_of(seen.me))
    primary = next((m for m in status.members if m.state == "PRIMARY"), None)
    if source is None or primary is None or primary.address == source.address:
        return None
    silent = source.refused or now > source.heard_at + seen.timing.step_up_after
    return source.address if silent else None
