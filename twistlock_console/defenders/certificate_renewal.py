"""The next certificate of a Defender that is connected with the one before."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.defenders import certificate_revocations
from twistlock_console.pki.certificates import Identity, Usage, sign_request
from twistlock_console.protocol import RENEWED_DAYS

#: `_id` is the serial (hex) of the certificate before. Not in the register, which
#: forgets who is away for a day.
COLLECTION = "renewed_certificates"
INDEXES = [
    IndexModel([("defender", ASCENDING)]),
    IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
]
Documents = Database[dict[str, Any]]


def check_due(identity: Identity) -> None:
    """Raise Refused while the certificate of *identity* is good for long."""
    left = identity.expires - datetime.now(UTC)
    if left > timedelta(days=RENEWED_DAYS):
        raise Refused(
            f"the certificate is valid for {left.days} days more; it is renewed "
            f"{RENEWED_DAYS} days before its end"
        )


def renew(
    database: Documents, folder: Path, identity: Identity, der: bytes, request: str
) -> str:
    """Give a certificate (PEM) that takes the place of *identity*'s, which is *der*.

    It is noted before it is given away, so that a decommission ends both. Each is
    followed by one other, whoever asks how often, and for the same key. Look with
    `check_due` before. Raises Refused.
    """
    _check_key(der, request)
    name, serial = identity.common_name, f"{identity.serial:x}"
    try:
        pem = sign_request(
            folder, request.encode(), usage=Usage.DEFENDER, common_name=name, names=[]
        )
    except IdentityError as error:
        raise Refused(f"no certificate can be issued: {error}") from error
    made = x509.load_pem_x509_certificate(pem)
    follower = {
        "_id": serial,
        "defender": name,
        "serial": f"{made.serial_number:x}",
        "pem": pem.decode(),
        "expires": made.not_valid_after_utc,
    }
    try:
        database[COLLECTION].insert_one(follower)
    except DuplicateKeyError:
        follower = database[COLLECTION].find_one({"_id": serial}) or follower
    # Who is decommissioned at this moment is revoked before its followers are looked
    # for: one of the two finds the other.
    if database[certificate_revocations.COLLECTION].find_one({"_id": serial}):
        certificate_revocations.revoke(database, name, str(follower["serial"]))
        raise Refused("the certificate was revoked")
    return str(follower["pem"])


def revoke_all(database: Documents, name: str, entry: Mapping[str, Any]) -> None:
    """Revoke all certificates of *name*, of whom the register has *entry*."""
    if serial := (entry.get("certificate") or {}).get("serial"):
        certificate_revocations.revoke(database, name, serial)
    for each in database[COLLECTION].find({"defender": name}):
        certificate_revocations.revoke(database, name, each["_id"])
        certificate_revocations.revoke(database, name, each["serial"])


def _check_key(der: bytes, request: str) -> None:
    try:
        ours = x509.load_der_x509_certificate(der).public_key()
        asked = x509.load_pem_x509_csr(request.encode()).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused("the request for a certificate cannot be read") from error
    if ours != asked:
        raise Refused("the request is for another key than the certificate's")
