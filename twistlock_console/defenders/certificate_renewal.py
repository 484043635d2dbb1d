"""The next certificate of a Defender that is connected with the one before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.defenders import certificate_revocations, enrolled
from twistlock_console.defenders.enrolled import FOLLOWERS, Issued
from twistlock_console.pki.certificates import Identity, Usage, sign_request
from twistlock_console.protocol import RENEWED_DAYS

COLLECTION = FOLLOWERS
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

    It is noted before it is given away, so that a decommission revokes both. Each is
    followed by one other, however often it is asked for, and for the same key. Call
    `check_due` before. Raises Refused.
    """
    _check_key(der, request)
    before = Issued(f"{identity.serial:x}", identity.expires)
    if certificate_revocations.is_revoked(database, before.serial):
        raise Refused("the certificate was revoked")
    if follower := database[COLLECTION].find_one({"_id": before.serial}):
        return str(follower["pem"])
    return _issue(database, folder, identity.common_name, before, request)


def _issue(
    database: Documents, folder: Path, name: str, before: Issued, request: str
) -> str:
    try:
        pem = sign_request(
            folder, request.encode(), usage=Usage.DEFENDER, common_name=name, names=[]
        )
    except IdentityError as error:
        raise Refused(f"no certificate can be issued: {error}") from error
    issued = Issued.of(pem)
    if not enrolled.add_follower(database, name, before, issued):
        raise Refused("the certificate was revoked")
    follower = {
        "_id": before.serial,
        "defender": name,
        "serial": issued.serial,
        "pem": pem.decode(),
        "expires": issued.expires,
    }
    try:
        database[COLLECTION].insert_one(follower)
    except DuplicateKeyError:
        follower = database[COLLECTION].find_one({"_id": before.serial}) or follower
    return str(follower["pem"])


def _check_key(der: bytes, request: str) -> None:
    try:
        ours = x509.load_der_x509_certificate(der).public_key()
        asked = x509.load_pem_x509_csr(request.encode()).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused("the request for a certificate cannot be read") from error
    if ours != asked:
        raise Refused("the request is for another key than the certificate's")
