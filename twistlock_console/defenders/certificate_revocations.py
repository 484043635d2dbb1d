"""Certificates of Defenders that count no more, by serial number."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from twistlock_console.pki.authority import CERTIFICATE_DAYS
from twistlock_console.revocation import store
from twistlock_console.revocation.store import Kind


def revoke(database: Database[dict[str, Any]], defender: str, serial: str) -> None:
    """Revoke the certificate *serial* (hex), whose end is not known."""
    expires = datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
    store.revoke(database, Kind.CERTIFICATE, serial, owner=defender, expires=expires)


def is_revoked(database: Database[dict[str, Any]], serial: str) -> bool:
    """Return whether the certificate *serial* (hex) is revoked."""
    return store.is_revoked(database, Kind.CERTIFICATE, serial)
