"""A certificate for a host that installs a Defender."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from pymongo import ReturnDocument
from pymongo.database import Database

from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.defenders import register
from twistlock_console.defenders.certificate_renewal import revoke_all
from twistlock_console.pki.certificates import Usage, sign_request

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


def enrol(
    database: Database[dict[str, Any]], folder: Path, name: str, request: str
) -> str:
    """Give a certificate (PEM) for *name* and the key in *request*.

    A certificate that the name had before is revoked. Raises Refused for a name that
    is none, and for one whose Defender is connected.
    """
    if not NAME.fullmatch(name):
        raise Refused(
            f"{name!r} is no name for a Defender; give one of at most 64 letters, "
            "digits, dots and hyphens"
        )
    known = database[register.COLLECTION].find_one({"_id": name}) or {}
    if known.get("connected"):
        raise Refused(
            f"a Defender {name} is connected; uninstall or decommission it first, or "
            "give this host another name with -n"
        )
    try:
        pem = sign_request(
            folder,
            request.encode(),
            usage=Usage.DEFENDER,
            common_name=name,
            names=[],
        )
    except IdentityError as error:
        raise Refused(str(error)) from error
    revoke_all(database, name, known)
    before = _register(database, name, x509.load_pem_x509_certificate(pem))
    # Two hosts may ask for one name at once; the later has it.
    revoke_all(database, name, before)
    return pem.decode()


def _register(
    database: Database[dict[str, Any]], name: str, certificate: x509.Certificate
) -> dict[str, Any]:
    """Register *certificate*; gives the entry that was there before."""
    now = datetime.now(UTC)
    papers = {
        "serial": f"{certificate.serial_number:x}",
        "expires": certificate.not_valid_after_utc,
    }
    before: dict[str, Any] | None = database[register.COLLECTION].find_one_and_update(
        {"_id": name},
        {
            "$set": {"certificate": papers},
            "$setOnInsert": {"connected": False, "lastModified": now, "version": ""},
        },
        upsert=True,
        return_document=ReturnDocument.BEFORE,
    )
    return before or {}
