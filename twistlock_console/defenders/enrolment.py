"""Issue certificates to Defenders: at enrolment, and before the present one expires."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.defenders import enrolled, register
from twistlock_console.defenders.enrolled import SUCCESSORS, IssuedCertificate
from twistlock_console.names import name_key
from twistlock_console.pki.authority import sign_request
from twistlock_console.pki.identity_files import AUTHORITY, UNREADABLE, read_certificate
from twistlock_console.pki.tls import Identity, Usage, peer_identity
from twistlock_console.protocol import RENEWAL_DAYS
from twistlock_console.revocation import store
from twistlock_console.revocation.store import RevocationKind

#: What a certificate raises that somebody else made, or damaged.
UNUSABLE = (*UNREADABLE, InvalidSignature, IdentityError)
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
INDEXES = [
    IndexModel([("defender", ASCENDING)]),
    IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
]
Documents = Database[dict[str, object]]


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """A request of a host for a certificate for *name* and the key in *request* (PEM).

    A host that already has a certificate for that key sends it as *certificate* (PEM).
    """

    name: str
    request: str
    certificate: str = ""


@dataclass(frozen=True, slots=True)
class EnrolmentResult:
    """The certificate (PEM), and for the history why the enrolment was allowed."""

    certificate: str
    reason: str


def enrol(
    database: Documents, folder: Path, asked: EnrolmentRequest
) -> EnrolmentResult:
    """Issue a certificate with the authority in *folder*.

    A new name gets a certificate. An existing name gets one for its present key or, if
    an administrator allowed it, for another key: then its earlier certificates are
    revoked. Raises Refused.
    """
    if not NAME.fullmatch(asked.name):
        raise Refused(
            f"{asked.name!r} is not a valid name for a Defender; give one of at most "
            "64 letters, digits, dots and hyphens"
        )
    try:
        pem = _sign(folder, asked.name, asked.request)
    except IdentityError as error:
        raise Refused(str(error)) from error
    issued = IssuedCertificate.of(pem)
    reason = "a new name"
    if not enrolled.add_name(database, asked.name, issued):
        reason = _replace(database, folder, asked, issued)
    _register(database, asked.name, issued)
    return EnrolmentResult(pem.decode(), reason)


def _sign(folder: Path, name: str, request: str) -> bytes:
    return sign_request(
        folder, request.encode(), usage=Usage.DEFENDER, common_name=name, names=[]
    )


def _replace(
    database: Documents,
    folder: Path,
    asked: EnrolmentRequest,
    issued: IssuedCertificate,
) -> str:
    """Enrol an existing name; return why that is allowed. Raises Refused."""
    name = asked.name
    if _holds_key(database, folder, asked, issued.key):
        if enrolled.replace_certificate(database, name, issued):
            return "the host holds the key of this name"
        raise Refused(f"the Defender {name} was decommissioned; {_how_to_allow(name)}")
    if _is_connected(database, name):
        raise Refused(
            f"a Defender {name} is connected; uninstall or decommission it first, or "
            "give this host another name with -n"
        )
    if enrolled.use_permission(database, name, issued):
        return "an administrator allowed it"
    raise Refused(
        f"a Defender {name} was enrolled before, and a deploy command is for new names "
        f"only; {_how_to_allow(name)}"
    )


def _how_to_allow(name: str) -> str:
    return (
        "allow this name once under Manage > Defenders > Deploy (or with POST "
        f"/api/v1/defenders/{name}/allow-enrolment) and run the command again, or give "
        "this host another name with -n"
    )


def _holds_key(
    database: Documents, folder: Path, asked: EnrolmentRequest, key: str
) -> bool:
    """Return whether the name has a valid certificate for *key*.

    The request is signed with that key, so the host holds it. Certificates of earlier
    releases are recognized by the certificate that the host sends.
    """
    known = [
        *enrolled.certificates_of(database, asked.name),
        _parse_sent_certificate(folder, asked),
    ]
    now = datetime.now(UTC)
    return any(
        each.key == key
        and each.expires > now
        and not store.is_revoked(database, RevocationKind.CERTIFICATE, each.serial)
        for each in known
        if each is not None
    )


def _parse_sent_certificate(
    folder: Path, asked: EnrolmentRequest
) -> IssuedCertificate | None:
    """Return the certificate that the host sent, if this Console issued it."""
    if not asked.certificate:
        return None
    try:
        pem = asked.certificate.encode()
        shown = x509.load_pem_x509_certificate(pem)
        shown.verify_directly_issued_by(read_certificate(folder / AUTHORITY))
        identity = peer_identity(shown.public_bytes(Encoding.DER))
    except UNUSABLE:
        return None
    ours = name_key(identity.common_name) == name_key(asked.name)
    return (
        IssuedCertificate.of(pem) if ours and identity.usage is Usage.DEFENDER else None
    )


def _is_connected(database: Documents, name: str) -> bool:
    here = {**register.name_query(name), "connected": True}
    return database[register.COLLECTION].find_one(here, {}) is not None


def _register(database: Documents, name: str, issued: IssuedCertificate) -> None:
    """Add the name to the register in this spelling; remove other spellings."""
    entries = database[register.COLLECTION]
    key = {register.NAME_KEY: name_key(name)}
    entries.delete_many({**key, "_id": {"$ne": name}})
    now = datetime.now(UTC)
    certificate = {"serial": issued.serial, "expires": issued.expires}
    entries.update_one(
        {"_id": name},
        {
            "$set": {**key, "certificate": certificate},
            "$setOnInsert": {"connected": False, "lastModified": now, "version": ""},
        },
        upsert=True,
    )


def check_due(identity: Identity) -> None:
    """Raise Refused if the certificate of *identity* is not yet due for renewal."""
    left = identity.expires - datetime.now(UTC)
    if left > timedelta(days=RENEWAL_DAYS):
        raise Refused(
            f"the certificate is valid for {left.days} days more; it is renewed "
            f"{RENEWAL_DAYS} days before its end"
        )


def renew(
    database: Documents, folder: Path, identity: Identity, der: bytes, request: str
) -> str:
    """Return the successor (PEM) of the certificate *der* of *identity*. Idempotent.

    It is stored before it is returned, so that a decommission revokes both. Each
    certificate has one successor, for the same key, however often it is requested. Call
    `check_due` before. Raises Refused.
    """
    _check_key(der, request)
    before = IssuedCertificate(f"{identity.serial:x}", identity.expires)
    if store.is_revoked(database, RevocationKind.CERTIFICATE, before.serial):
        raise Refused("the certificate was revoked")
    if follower := database[SUCCESSORS].find_one({"_id": before.serial}):
        return str(follower["pem"])
    return _issue(database, folder, identity.common_name, before, request)


def _issue(
    database: Documents,
    folder: Path,
    name: str,
    before: IssuedCertificate,
    request: str,
) -> str:
    try:
        pem = _sign(folder, name, request)
    except IdentityError as error:
        raise Refused(f"no certificate can be issued: {error}") from error
    issued = IssuedCertificate.of(pem)
    if not enrolled.add_successor(database, name, before, issued):
        raise Refused("the certificate was revoked")
    follower = {
        "_id": before.serial,
        "defender": name,
        "serial": issued.serial,
        "pem": pem.decode(),
        "expires": issued.expires,
    }
    try:
        database[SUCCESSORS].insert_one(follower)
    except DuplicateKeyError:
        follower = database[SUCCESSORS].find_one({"_id": before.serial}) or follower
    return str(follower["pem"])


def _check_key(der: bytes, request: str) -> None:
    try:
        ours = x509.load_der_x509_certificate(der).public_key()
        asked = x509.load_pem_x509_csr(request.encode()).public_key()
    except UNREADABLE as error:
        raise Refused("the request for a certificate cannot be read") from error
    if ours != asked:
        raise Refused("the request is for another key than the certificate's")
