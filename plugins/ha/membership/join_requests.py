"""Hosts that ask to join; in the database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.errors import PyMongoError

from plugins.ha.membership.join_tokens import JoinTokens, hashed
from plugins.ha.membership.rules import JoinRequest
from plugins.ha.replication.collections import Collections
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError, Refused


@dataclass(frozen=True, slots=True)
class Certificates:
    """A new node's certificates (PEM): for the service ports, and for the nodes."""

    service: bytes
    cluster: bytes


class JoinRequests:
    """The requests to join, and the *tokens* to ask with, through *collections*.

    Methods raise Refused when a token or a request is not to be had; `list` raises
    DatabaseError when the database does not answer, the others pymongo's errors.
    """

    def __init__(self, collections: Collections) -> None:
        self.tokens = JoinTokens(collections)
        self._requests = collections.written("ha_join_requests")
        self._shown = collections.shown("ha_join_requests")

    def ask(self, token: str, request: JoinRequest, csr: str) -> None:
        """Note that a host asks to join; asking again replaces its request."""
        self._requests.replace_one(
            {"_id": request.address},
            {
                "version": request.version,
                "fingerprint": request.fingerprint,
                "csr": csr,
                "approved": False,
                "routed": request.routed,
                "token": hashed(token),
                "asked": datetime.now(UTC),
            },
            upsert=True,
        )

    def revoke_token(self, token_id: str) -> None:
        """Revoke a token, and forget the host that waits with it."""
        token = self.tokens.revoke(token_id)
        self._requests.delete_many({"token": token, "approved": False})

    def knows(self, token: str, request: JoinRequest) -> bool:
        """Whether this very request, with the same key, waits already."""
        same = {
            "_id": request.address,
            "token": hashed(token),
            "fingerprint": request.fingerprint,
            "version": request.version,
        }
        return self._requests.find_one(same) is not None

    def answer(self, token: str, address: str) -> dict[str, Any]:
        """What became of the request of *address*, for the host that made it."""
        found = self._requests.find_one({"_id": address, "token": hashed(token)})
        if found is None:
            raise Refused(
                f"No request of {address} to join is known; it was rejected or "
                "replaced. Run the join command again with a new token."
            )
        return {
            "state": "APPROVED" if found["approved"] else "REQUEST_JOIN",
            "certificate": found.get("certificate"),
            "clusterCertificate": found.get("clusterCertificate"),
        }

    def list(self) -> tuple[JoinRequest, ...]:
        """Every request; raises DatabaseError when they cannot be read."""
        try:
            found = list(self._shown.find(sort=[("_id", 1)]))
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"the join requests cannot be read: {why}") from error
        return tuple(_request(stored) for stored in found)

    def csr(self, address: str) -> bytes:
        """The certificate request that *address* sent."""
        found = self._requests.find_one({"_id": address})
        if found is None:
            raise Refused(f"{address} does not ask to join.")
        return str(found["csr"]).encode()

    def approve(self, address: str, signed: Certificates) -> None:
        """Admit *address*, and hand it its certificates when it asks again."""
        changes = {
            "approved": True,
            "certificate": signed.service.decode(),
            "clusterCertificate": signed.cluster.decode(),
        }
        self._requests.update_one({"_id": address}, {"$set": changes})

    def forget(self, address: str) -> None:
        """Delete the request of *address*, admitted or not."""
        self._requests.delete_one({"_id": address})


def _request(stored: dict[str, Any]) -> JoinRequest:
    return JoinRequest(
        address=str(stored["_id"]),
        version=str(stored["version"]),
        fingerprint=str(stored["fingerprint"]),
        approved=bool(stored["approved"]),
        routed=bool(stored.get("routed")),
    )
