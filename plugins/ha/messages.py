"""Define the messages of the node API of high availability.

The API of the pages returns some of the responses too; openapi.json describes them.
The heartbeat payload is in `peers.heartbeats`.
"""

from pydantic import ConfigDict, Field

from plugins.ha.replication.member_state import NodeState
from twistlock_console.node_api.messages import NodeMessage, TimeInSeconds, Timestamp

_OPEN = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": True})


class AddressBody(NodeMessage):
    """The address of the node to change."""

    address: str


class TargetBody(NodeMessage):
    """The node to switch over to; None stands for the best standby."""

    address: str | None = None


class TokenOwnerBody(NodeMessage):
    """The account *by* which a join token is created."""

    by: str = ""


class TokenIdBody(NodeMessage):
    """The join token to revoke."""

    id: str


class TokenUseBody(NodeMessage):
    """A host, and the join token that it presents."""

    token: str
    address: str


class JoinRequestBody(TokenUseBody):
    """A request to join: the host's release, and its certificate *request* (PEM)."""

    version: str
    request: str


class NodeResponse(NodeMessage):
    """A node of the cluster, or a host that asks to join.

    *takeover* is the forecast for a failover: whether it would take over now, and why
    not.
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
    """The times of the first and last Defender that reconnected under an epoch."""

    first: Timestamp | None
    last: Timestamp | None
    count: int


class RoleChangeResponse(NodeMessage):
    """A change of role: its reason, and the seconds of each phase, in order.

    The phases of a failover start with the last good answer of the former primary.
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
    """The nodes, the serving one, and the latest changes of role."""

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
    """The metrics of a node, in the text format of Prometheus."""

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
    """A join token that is still valid; *host* is the one that has used it, if any."""

    id: str
    expires_at: TimeInSeconds
    host: str | None


class JoinResponse(NodeMessage):
    """The outcome of a request to join.

    Certificates and authorities are PEM. *nodes* are the nodes to ask next: the pins of
    their keys by address.
    """

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
    """The plan of a forced recovery.

    *others* are the nodes to be excluded, *stored_until* is the time of the last write
    that this node has.
    """

    address: str
    others: tuple[str, ...]
    stored_until: TimeInSeconds | None
