"""The next certificate of a Defender that is connected with the one before."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from pymongo.database import Database

from twistlock_console.certificates import Identity, Usage, sign_request
from twistlock_console.defenders import register
from twistlock_console.errors import IdentityError, Refused
from twistlock_console.protocol import RENEWED_DAYS


def renew(
    database: Database[dict[str, Any]], folder: Path, identity: Identity, request: str
) -> str:
    """Give a certificate (PEM) that takes the place of *identity*'s.

    It is in the register before the Defender has it, so that a decommission ends both.
    Who asks again gets the same one, and a certificate that is still good for longer
    gets none: nobody can have them made without end. Raises Refused.
    """
    _check_due(identity)
    name, serial = identity.common_name, f"{identity.serial:x}"
    found = database[register.COLLECTION].find_one({"_id": name})
    if found is None:
        raise Refused(f"the Defender {name} is not in the register; deploy it anew")
    known = (found.get("certificate") or {}).get("next") or {}
    if known.get("after") == serial:
        return str(known["pem"])
    try:
        pem = sign_request(
            folder, request.encode(), usage=Usage.DEFENDER, common_name=name, names=[]
        )
    except IdentityError as error:
        raise Refused(str(error)) from error
    made = x509.load_pem_x509_certificate(pem)
    follower = {
        "after": serial,
        "serial": f"{made.serial_number:x}",
        "pem": pem.decode(),
    }
    database[register.COLLECTION].update_one(
        {"_id": name}, {"$set": {"certificate.next": follower}}
    )
    return pem.decode()


def serials_of(found: dict[str, Any]) -> set[str]:
    """Give all serials (hex) with which the Defender of a register's entry may come."""
    papers = found.get("certificate") or {}
    follower = papers.get("next") or {}
    all_ = (papers.get("serial"), follower.get("after"), follower.get("serial"))
    return {str(serial) for serial in all_ if serial}


def _check_due(identity: Identity) -> None:
    left = identity.expires - datetime.now(UTC)
    if left > timedelta(days=RENEWED_DAYS):
        raise Refused(
            f"the certificate is valid for {left.days} days more; it is renewed "
            f"{RENEWED_DAYS} days before its end"
        )
