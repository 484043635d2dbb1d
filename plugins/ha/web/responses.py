"""What the API of high availability answers, as openapi.json describes it."""

from datetime import datetime

from pydantic import ConfigDict, Field

from plugins.ha.replication.member_state import NodeState
from twistlock_console.web.openapi.models import Answer


class NodeAnswer(Answer):
    """A node of the cluster, or a host that asks to join.

    *takeover* says whether it would take over if the primary failed now, and why not.
    """

    address: str
    state: NodeState
    self: bool
    version: str
    lag_seconds: float | None
    last_seen: datetime | None
    reason: str
    takeover: str | None = None
    fingerprint: str | None


class ReturnsAnswer(Answer):
    """When the first and the last Defender came back under an epoch, if any did."""

    first: datetime | None
    last: datetime | None
    count: int


class RoleChangeAnswer(Answer):
    """A change of role, with its reason and how long each phase took, in order.

    The phases of a takeover begin with the last good answer of the primary before.
    """

    model_config = ConfigDict(extra="allow")

    time: datetime
    address: str
    before: str = Field(alias="from")
    after: str = Field(alias="to")
    reason: str
    epoch: int
    phases: dict[str, float]
    defenders: ReturnsAnswer | None = None


class ClusterAnswer(Answer):
    """The nodes, who serves, and the latest changes of role."""

    model_config = ConfigDict(extra="allow")

    enabled: bool
    epoch: int
    primary: str | None
    apply_ready: bool
    apply_reason: str | None
    failures_survived: int
    nodes: list[NodeAnswer]
    history: list[RoleChangeAnswer]


class JoinTokenAnswer(Answer):
    """A join token, and the command that uses it."""

    token: str
    expires_at: datetime
    command: str


class OpenTokenAnswer(Answer):
    """A join token that can still be used; *host* is the one that uses it already."""

    id: str
    expires_at: datetime
    host: str | None


class JoinAnswer(Answer):
    """What became of a request to join; *nodes* are those to ask, with their pins."""

    state: str
    certificate: str | None
    cluster_certificate: str | None
    authority: str
    cluster_authorities: str
    nodes: dict[str, str]
