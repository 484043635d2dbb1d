"""Check Defenders' certificates, from memory.

A certificate may be revoked or expired, and may have a few connections at a time.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol

from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.tls import Identity, peer_identity

MAX_CONNECTIONS = 3
"""Connections with one certificate: one in use, and some that replace it."""
UNREADABLE = Identity(None, "", -1, datetime.max.replace(tzinfo=UTC))


def identity_of(transport: asyncio.BaseTransport) -> Identity:
    """Return the identity of the peer, UNREADABLE if its certificate is damaged."""
    tls = transport.get_extra_info("ssl_object")
    try:
        return peer_identity(tls.getpeercert(binary_form=True))
    except IdentityError:
        return UNREADABLE


class CertificateCheck:
    """Refuses revoked and expired certificates; event loop only.

    *loaded* is set once the revoked ones are known.
    """

    def __init__(self) -> None:
        self.loaded = asyncio.Event()
        self._revoked: frozenset[int] = frozenset()

    def set_revoked(self, revoked: Iterable[str]) -> None:
        """Refuse the certificates with these serial numbers (hex) from now on."""
        self._revoked = frozenset(int(serial, 16) for serial in revoked)
        self.loaded.set()

    def refusal(self, identity: Identity, now: datetime) -> str | None:
        """Return why a certificate is refused, or None if it is valid."""
        if identity.serial in self._revoked:
            return "this certificate was revoked; deploy the Defender again"
        if identity.expires < now:
            return (
                f"this certificate expired on {identity.expires:%Y-%m-%d}; "
                "deploy the Defender again"
            )
        if identity.begins and identity.begins > now:
            return (
                f"this certificate is valid from {identity.begins:%Y-%m-%d %H:%M} UTC; "
                "compare the clocks of the hosts"
            )
        return None


class CountedConnection(Protocol):
    """A connection that is counted by its certificate."""

    identity: Identity
    is_established: bool

    def abort(self, reason: str) -> None:
        """Close the connection at once."""


class ConnectionsPerCertificate:
    """Limits the connections with one certificate; always accepts the new one.

    A Defender that lost its connection reconnects before the Console has noticed the
    loss. So the new connection is kept, and the oldest one without a hello is closed.
    """

    def __init__(self, limit: int = MAX_CONNECTIONS) -> None:
        self._limit = limit
        self._open: dict[int, list[CountedConnection]] = {}

    def add(self, connection: CountedConnection) -> None:
        """Count *connection*, and close another one if there are too many."""
        same = self._open.setdefault(connection.identity.serial, [])
        same.append(connection)
        if len(same) > self._limit:
            others = same[:-1]
            victim = next((each for each in others if not each.is_established), same[0])
            same.remove(victim)
            victim.abort(f"more than {self._limit} connections with one certificate")

    def discard(self, connection: CountedConnection) -> None:
        """Forget *connection*, which ended."""
        serial = connection.identity.serial
        same = self._open.get(serial, [])
        if connection in same:
            same.remove(connection)
            if not same:
                del self._open[serial]
