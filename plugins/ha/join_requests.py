"""Hosts that ask to join, and the tokens that let them ask; in the database."""

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient, ReadPreference, ReturnDocument
from pymongo.errors import PyMongoError

from plugins.ha.membership_rules import JoinRequest
from twistlock_console.errors import DatabaseError, Refused

TOKEN_MINUTES = 30


class JoinRequests:
    """Join tokens and requests, through *client*.

    Methods raise Refused when a token or a request is not to be had, and
    DatabaseError when the database does not answer.
    """

    def __init__(self, client: MongoClient[dict[str, Any]]) -> None:
        self._tokens = client["twistlock"]["ha_join_tokens"]
        self._requests = client["twistlock"]["ha_join_requests"]

    def new_token(self) -> tuple[str, datetime]:
        """A token with which one host may ask, and when it expires."""
        token = secrets.token_urlsafe(32)
        expires = datetime.now(UTC) + timedelta(minutes=TOKEN_MINUTES)
        self._tokens.insert_one({"_id": _hashed(token), "expires": expires})
        return token, expires

    def ask(self, token: str, request: JoinRequest, csr: str) -> None:
        """Note that a host asks to join; asking again replaces its request."""
        self._check(token, request.address)
        self._requests.replace_one(
            {"_id": request.address},
            {
                "version": request.version,
                "fingerprint": request.fingerprint,
                "csr": csr,
                "approved": False,
                "token": _hashed(token),
                "asked": datetime.now(UTC),
            },
            upsert=True,
        )

    def answer(self, token: str, address: str) -> dict[str, Any]:
        """What became of the request of *address*, for the host that made it."""
        found = self._requests.find_one({"_id": address, "token": _hashed(token)})
        if found is None:
            raise Refused(
                f"No request of {address} to join is known; it was rejected or "
                "replaced. Run the join command again with a new token."
            )
        return {
            "state": "APPROVED" if found["approved"] else "REQUEST_JOIN",
            "certificate": found.get("certificate"),
        }

    def _check(self, token: str, address: str) -> None:
        found = self._tokens.find_one_and_update(
            {"_id": _hashed(token), "host": {"$exists": False}},
            {"$set": {"host": address}},
            return_document=ReturnDocument.AFTER,
        ) or self._tokens.find_one({"_id": _hashed(token)})
        if found is None:
            raise Refused(
                "The join token is not known; copy the join command anew from "
                "Manage > System > High Availability."
            )
        if found["host"] != address:
            raise Refused(
                "The join token was used by another host; a token is for one host. "
                "Copy the join command anew from Manage > System > High Availability."
            )
        if found["expires"] < datetime.now(UTC):
            raise Refused(
                "The join token has expired; copy the join command anew from "
                "Manage > System > High Availability."
            )

    def list(self) -> tuple[JoinRequest, ...]:
        """Every request; raises DatabaseError when they cannot be read."""
        requests = self._requests.with_options(read_preference=ReadPreference.NEAREST)
        try:
            found = list(requests.find(sort=[("_id", 1)]))
        except PyMongoError as error:
            raise DatabaseError(f"the join requests cannot be read: {error}") from error
        return tuple(_request(stored) for stored in found)

    def csr(self, address: str) -> bytes:
        """The certificate request that *address* sent."""
        found = self._requests.find_one({"_id": address})
        if found is None:
            raise Refused(f"{address} does not ask to join.")
        return str(found["csr"]).encode()

    def approve(self, address: str, certificate: bytes) -> None:
        """Admit *address*, and hand it its certificate when it asks again."""
        self._requests.update_one(
            {"_id": address},
            {"$set": {"approved": True, "certificate": certificate.decode()}},
        )

    def forget(self, address: str) -> None:
        """Delete the request of *address*, admitted or not."""
        self._requests.delete_one({"_id": address})


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _request(stored: dict[str, Any]) -> JoinRequest:
    return JoinRequest(
        address=str(stored["_id"]),
        version=str(stored["version"]),
        fingerprint=str(stored["fingerprint"]),
        approved=bool(stored["approved"]),
    )
