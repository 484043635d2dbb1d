"""Change the members of the cluster: join, apply, remove.

`Membership` acts on the serving node. `JoinRequests` stores which hosts ask to join,
and returns their certificates once they are admitted. All steps are idempotent: after
a failover the next primary continues.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pymongo.errors import PyMongoError

from plugins.ha.membership.credentials import JoinTokens, NodeKeyRegistry, hash_token
from plugins.ha.membership.rules import (
    ConfigStep,
    JoinRequest,
    apply_refusal,
    config_without,
    join_refusal,
    next_step,
    without_vote,
)
from plugins.ha.messages import JoinResponse
from plugins.ha.replication.collections import Collections, Document
from plugins.ha.replication.member_state import NodeState, SetConfig
from plugins.ha.replication.replica_set import ReplicaSet
from plugins.ha.replication.sync_source import SwitchoverPreparation
from twistlock_console import __version__
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError, Refused
from twistlock_console.events.cluster_status import address_of
from twistlock_console.node_api.client import NodeClient
from twistlock_console.pki.authority import sign_cluster_request, sign_request
from twistlock_console.pki.certificates import (
    accepted_authorities,
    node_names,
    stored_phase,
)
from twistlock_console.pki.identity_files import AUTHORITY
from twistlock_console.pki.tls import Usage
from twistlock_console.pki.trust_phase import TrustPhase
from twistlock_console.settings import Settings

#: MongoDB reports the old status of a vanished member for its heartbeat timeout, and
#: longer.
STALE_STATUS_S = 5
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Membership:
    """Changes the members of the cluster; use it only on the serving node.

    Any thread may call it; a lock lets one change of the replica set through at a time.
    """

    settings: Settings
    replica_set: ReplicaSet
    requests: "JoinRequests"
    node_keys: NodeKeyRegistry
    client_of: Callable[[str], NodeClient]
    _change_lock: threading.Lock = field(default_factory=threading.Lock)
    _vote_removed_at: dict[str, int] = field(default_factory=dict)

    def members(self) -> list[str]:
        """Return the addresses of the configured members."""
        return [address_of(m["host"]) for m in self.replica_set.config()["members"]]

    def request_join(self, token: str, request: JoinRequest, csr: str) -> None:
        """Store a host's request to join, and clean up after its earlier attempt.

        Args:
            token: The join token that the host presents.
            request: The host's address, version and key.
            csr: Its certificate request (PEM).

        Raises:
            Refused: It may not join; the message says why.
        """
        if self.requests.has_request(token, request):
            return  # it restarted while it waits
        self.requests.tokens.check(token, request.address)
        with self._change_lock:
            config = self.replica_set.config()
            if refusal := join_refusal(request, config, __version__):
                raise Refused(refusal)
            # An earlier attempt added it without a vote; its key is another now.
            if leftover := config_without(config, request.address):
                self._reconfigure(leftover)
            self.requests.add(token, request, csr)

    def apply(self) -> list[str]:
        """Admit all waiting hosts and sign their certificates; return their addresses.

        `advance` then adds them to the replica set, one step at a time.

        Raises:
            Refused: The rules do not allow it now; the message says why.
        """
        waiting = [r for r in self.requests.list() if not r.approved]
        if refusal := apply_refusal(self.members(), waiting, __version__):
            raise Refused(refusal)
        for request in waiting:
            self.node_keys.admit(request.address, request.fingerprint)
            self.requests.approve(request.address, self._certificates(request.address))
            log.info("%s was admitted to the cluster", request.address)
        return [request.address for request in waiting]

    def check_admitted(self, address: str, fingerprint: str) -> None:
        """Raise Refused unless the host at *address*, with this key, was admitted."""
        expected = [
            r.fingerprint
            for r in self.requests.list()
            if r.approved and r.address == address
        ]
        if expected != [fingerprint]:
            raise Refused(f"{address} was not admitted; run the join command on it.")

    def _certificates(self, address: str) -> "Certificates":
        folder, csr = self.settings.folders.certificates, self.requests.csr(address)
        names = node_names(self.settings, address)
        service = sign_request(
            folder, csr, usage=Usage.NODE, common_name=address, names=names
        )
        cluster = sign_cluster_request(folder, csr, names)
        return Certificates(service.decode(), cluster.decode())

    def join_response(self, token: str, address: str) -> JoinResponse:
        """Return the outcome of the request of the host at *address*.

        It contains the nodes to ask next, because the role may move meanwhile.

        Raises:
            Refused: No request with this *token* is known.
        """
        found = self.requests.certificates(token, address)
        nodes = self.node_keys.pins()
        nodes.pop(address, None)
        folder = self.settings.folders.certificates
        phase = stored_phase(folder)
        # Nodes of an earlier release accept no other certificate yet.
        is_old = phase is TrustPhase.ACCEPT_BOTH
        return JoinResponse(
            state="APPROVED" if found.service else NodeState.REQUEST_JOIN,
            certificate=found.service,
            cluster_certificate=found.service if is_old else found.cluster,
            authority=(folder / AUTHORITY).read_text(),
            cluster_authorities=accepted_authorities(folder, phase).decode(),
            nodes=nodes,
        )

    def advance(self) -> None:
        """Make the next single step towards the applied members, if one is due.

        Does nothing while another change is under way; the next call tries again.
        """
        if not self._change_lock.acquire(blocking=False):
            return
        try:
            self._advance()
        finally:
            self._change_lock.release()

    def _advance(self) -> None:
        approved = [r.address for r in self.requests.list() if r.approved]
        config = self.replica_set.config()
        status = self.replica_set.status()
        step = next_step(
            config,
            status,
            approved,
            self.settings.database_port,
            emptied=self._recently_emptied(),
        )
        if step:
            self._reconfigure(step)
        self._delete_completed(config, approved)

    def remove_vote(self, address: str) -> None:
        """Remove the vote of the member at *address*, whose database is empty.

        Returns when a majority has the new configuration.

        Raises:
            DatabaseError: The configuration could not be changed.
        """
        with self._change_lock:
            self._vote_removed_at[address] = boottime_ns()
            if step := without_vote(self.replica_set.config(), address):
                self._reconfigure(step)

    def _recently_emptied(self) -> set[str]:
        """Return the members whose status may still be from before their data loss."""
        since = boottime_ns() - STALE_STATUS_S * SECOND
        return {address for address, at in self._vote_removed_at.items() if at > since}

    def _delete_completed(self, config: SetConfig, approved: list[str]) -> None:
        voting = {address_of(m["host"]) for m in config["members"] if m["votes"]}
        for address in voting.intersection(approved):
            self.requests.delete(address)

    def prepare_switchover(self, target: str, secondary: str) -> None:
        """Make *secondary* replicate from *target*, the next primary."""
        with self._change_lock:
            SwitchoverPreparation(self.replica_set, self.client_of).run(
                target, secondary
            )

    def remove(self, address: str) -> None:
        """Remove the member at *address*, or reject the host that asks to join.

        Raises:
            Refused: It is the primary, or unknown.
        """
        if address == self.settings.node_address:
            raise Refused(
                f"{address} is the primary; switch over to another node first, then "
                "remove it there."
            )
        with self._change_lock:
            step = config_without(self.replica_set.config(), address)
            asked = any(r.address == address for r in self.requests.list())
            if step is None and not asked and not self.node_keys.has(address):
                raise Refused(f"No node of this cluster has the address {address}.")
            self.requests.delete(address)
            self.requests.tokens.revoke_for(address)
            if step:
                self._reconfigure(step)
            # Also if an earlier attempt failed after the step.
            self.node_keys.remove(address)

    def _reconfigure(self, step: ConfigStep) -> None:
        try:
            self.replica_set.reconfigure(step.config)
        except DatabaseError as error:
            # The set may be between two configurations; the next pass retries.
            log.warning("%s: failed, will be retried: %s", step.reason, error)
            raise
        log.info("membership: %s", step.reason)


@dataclass(frozen=True, slots=True)
class Certificates:
    """A new node's certificates (PEM): for the service ports, and for the node API.

    Both are None until it is admitted; an earlier release signed only the first.
    """

    service: str | None
    cluster: str | None


class JoinRequests:
    """Stores the requests to join; its attribute `tokens` stores the join tokens.

    Methods raise Refused for an unknown token or request; `list` raises DatabaseError
    if the database does not answer, the others raise pymongo's errors.
    """

    def __init__(self, collections: Collections) -> None:
        self.tokens = JoinTokens(collections)
        self._requests = collections.primary("ha_join_requests")
        self._local = collections.local("ha_join_requests")

    def add(self, token: str, request: JoinRequest, csr: str) -> None:
        """Store a request; a second one of the same host replaces it (idempotent)."""
        self._requests.replace_one(
            {"_id": request.address},
            {
                "version": request.version,
                "fingerprint": request.fingerprint,
                "csr": csr,
                "approved": False,
                "routed": request.routed,
                "token": hash_token(token),
                "asked": datetime.now(UTC),
            },
            upsert=True,
        )

    def revoke_token(self, token_id: str) -> None:
        """Revoke a token, and delete the request of the host that waits with it."""
        token = self.tokens.revoke(token_id)
        self._requests.delete_many({"token": token, "approved": False})

    def has_request(self, token: str, request: JoinRequest) -> bool:
        """Return whether the same request, with the same key, is stored already."""
        same = {
            "_id": request.address,
            "token": hash_token(token),
            "fingerprint": request.fingerprint,
            "version": request.version,
        }
        return self._requests.find_one(same) is not None

    def certificates(self, token: str, address: str) -> "Certificates":
        """Return the certificates of the host at *address*.

        Raises:
            Refused: No request of that host with this *token* is stored.
        """
        found = self._requests.find_one({"_id": address, "token": hash_token(token)})
        if found is None:
            raise Refused(
                f"No request of {address} to join is known; it was rejected or "
                "replaced. Run the join command again with a new token."
            )
        return Certificates(found.get("certificate"), found.get("clusterCertificate"))

    def list(self) -> tuple[JoinRequest, ...]:
        """List all requests; raises DatabaseError if they cannot be read."""
        try:
            found = list(self._local.find(sort=[("_id", 1)]))
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"the join requests cannot be read: {why}") from error
        return tuple(_request(stored) for stored in found)

    def csr(self, address: str) -> bytes:
        """Return the certificate request (PEM) that the host at *address* sent."""
        found = self._requests.find_one({"_id": address})
        if found is None:
            raise Refused(f"{address} does not ask to join.")
        return str(found["csr"]).encode()

    def approve(self, address: str, signed: Certificates) -> None:
        """Admit the host at *address*, which gets *signed* with its next poll."""
        changes = {
            "approved": True,
            "certificate": signed.service,
            "clusterCertificate": signed.cluster,
        }
        self._requests.update_one({"_id": address}, {"$set": changes})

    def delete(self, address: str) -> None:
        """Delete the request of the host at *address*, admitted or not."""
        self._requests.delete_one({"_id": address})


def _request(stored: Document) -> JoinRequest:
    return JoinRequest(
        address=str(stored["_id"]),
        version=str(stored["version"]),
        fingerprint=str(stored["fingerprint"]),
        approved=bool(stored["approved"]),
        routed=bool(stored.get("routed")),
    )
