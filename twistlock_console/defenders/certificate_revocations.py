"""Certificates of Defenders that count no more, by serial number."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from twistlock_console.pki.authority import CERTIFICATE_DAYS

COLLECTION = "revoked_certificates"
#: After its own end a certificate is refused anyway.
INDEXES = [IndexModel([("expires", ASCENDING)], expireAfterSeconds=0)]


def revoke(database: Database[dict[str, Any]], defender: str, serial: str) -> None:
    """Let nobody in with the certificate *serial* (hex) again."""
    expires = datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS)
    database[COLLECTION].update_one(
        {"_id": serial},
        {"$setOnInsert": {"defender": defender, "expires": expires}},
        upsert=True,
    )
