"""The messages of the node API of high availability: its bodies and its answers.

The API of the pages gives some of the answers too; openapi.json describes them.
Heartbeats have their own, in `peers.heartbeats`.
"""

from pydantic import ConfigDict, Field

from plugins.ha.replication.member_state import NodeState
from twistlock_console.node_api.messages import NodeMessage, TimeInSeconds, Timestamp

_OPEN = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": True})


class AddressBody(NodeMessage):
    """The node that a change is about."""

    address: str


class TargetBody(NodeMessage):
    """The node to switch over to; None is the best standby."""

    address: str | None = None


class TokenOwnerBody(NodeMessage):
    """The account *by* which a join token is made."""

    by: str = ""


class TokenIdBody(NodeMessage):
    """The join token to revoke."""

    id: str


class TokenUseBody(NodeMessage):
    """A host, and the join token that it shows."""

    token: str
    address: str


class JoinRequestBody(TokenUseBody):
    """A request to join: the release of the host, and its certificate *request*."""

    version: str
    request: str


class NodeResponse(NodeMessage):
    """A node of the cluster, or a host that asks to join.

    *takeover* says whether it would take over if the primary failed now, and why not.
    """

    address: str
    state: NodeState
    self: bool
    version: str
    lag_seconds: float | None
    last_seen: Timestamp | None
    reason: str
    takeover: str | None = None
    fingerprint: str | None

    @property
    def has_joined(self) -> bool:
        """Return whether the node is a member of the replica set."""
        outside = (NodeState.REQUEST_JOIN, NodeState.STARTUP, NodeState.REMOVED)
        return self.state not in outside


class ReconnectsResponse(NodeMessage):
    """When the first and the last Defender came back under an epoch, if any did."""

    first: Timestamp | None
    last: Timestamp | None
    count: int


class RoleChangeResponse(NodeMessage):
    """A change of role, with its reason and how long each phase took, in order.

    The phases of a takeover begin with the last good answer of the primary before.
    """

    model_config = _OPEN

    time: Timestamp
    address: str
    before: str = Field(alias="from")
    after: str = Field(alias="to")
    reason: str
    epoch: int
    phases: dict[str, float]
    defenders: ReconnectsResponse | None = None


class ClusterResponse(NodeMessage):
    """The nodes, who serves, and the latest changes of role."""

    model_config = _OPEN

    enabled: bool
    epoch: int
    primary: str | None
    apply_ready: bool
    apply_reason: str | None
    failures_survived: int
    nodes: list[NodeResponse]
    history: list[RoleChangeResponse]

    @property
    def joined_addresses(self) -> tuple[str, ...]:
        """Return the addresses of the nodes that are members of the replica set."""
        return tuple(node.address for node in self.nodes if node.has_joined)


class MetricsResponse(NodeMessage):
    """The metrics of a node as Prometheus' text."""

    text: str


class AdmittedResponse(NodeMessage):
    """The addresses of the hosts that were admitted."""

    admitted: list[str]


class NewTokenResponse(NodeMessage):
    """A join token, shown once."""

    token: str
    expires_at: TimeInSeconds


class JoinTokenResponse(NewTokenResponse):
    """A join token, and the command that uses it."""

    command: str


class OpenTokenResponse(NodeMessage):
    """A join token that can still be used; *host* is the one that uses it already."""

    id: str
    expires_at: TimeInSeconds
    host: str | None


class JoinResponse(NodeMessage):
    """What became of a request to join; *nodes* are those to ask, with their pins."""

    state: str
    certificate: str | None
    cluster_certificate: str | None
    authority: str
    cluster_authorities: str
    nodes: dict[str, str]

    @property
    def is_approved(self) -> bool:
        """Return whether the host was admitted."""
        return self.state == "APPROVED"


class RecoveryResponse(NodeMessage):
    """What recovery would do: who is left out, and until when this node has data."""

    address: str
    others: tuple[str, ...]
    stored_until: TimeInSeconds | None
