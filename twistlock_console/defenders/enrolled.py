"""Store the enrolled names of Defenders with all certificates of each name.

The register (`register`) removes a Defender that is offline for a day. This collection
keeps its name for as long as one of its certificates may be valid: a deploy token
enrols new names only, so that its holder cannot replace an existing Defender. To enrol
an existing name, a host needs a certificate of that name or the permission of an
administrator.

One document per name, compared without case, makes each change atomic:
`certificates` (serial, expires, key), `decommissioned` (when), `allowed` (until, by).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from pymongo import ASCENDING, IndexModel, ReturnDocument, UpdateOne
from pymongo.errors import DuplicateKeyError

from twistlock_console.database.client import Db, Document
from twistlock_console.defenders import register
from twistlock_console.names import name_key
from twistlock_console.pki.authority import CERTIFICATE_VALIDITY_DAYS
from twistlock_console.pki.certificates import fingerprint
from twistlock_console.revocation import store
from twistlock_console.revocation.store import EXPIRY_MARGIN, RevocationKind

COLLECTION = "enrolled_defenders"
#: `_id` is the serial (hex) of a certificate, `serial` that of its successor.
SUCCESSORS = "renewed_certificates"
INDEXES = [
    IndexModel([("expires", ASCENDING)], expireAfterSeconds=0),
    IndexModel([("allowed.until", ASCENDING)], sparse=True),
]
PERMISSION_HOURS = 24
MAX_TRIES = 5
MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate of a Defender: its serial number (hex), its expiry, and its key.

    *key* is the fingerprint of the key; "" if an earlier release did not store it.
    """

    serial: str
    expires: datetime
    key: str = ""

    @classmethod
    def read(cls, stored: Document) -> "IssuedCertificate":
        """Parse a stored certificate; it may lack the expiry of earlier releases."""
        latest = datetime.now(UTC) + timedelta(days=CERTIFICATE_VALIDITY_DAYS)
        expires = stored.get("expires") or latest
        return cls(str(stored["serial"]), expires, str(stored.get("key", "")))

    @classmethod
    def of(cls, pem: bytes) -> "IssuedCertificate":
        """Create the value for the certificate *pem*."""
        made = x509.load_pem_x509_certificate(pem)
        serial = f"{made.serial_number:x}"
        return cls(serial, made.not_valid_after_utc, fingerprint(pem))


@dataclass(frozen=True, slots=True)
class Permission:
    """A permission of the user *by*: *name* may be enrolled once more *until* then."""

    name: str
    until: datetime
    by: str


def add_name(database: Db, name: str, issued: IssuedCertificate) -> bool:
    """Store a new name with its certificate; return False if the name exists."""
    return _find_or_add(database, name) is None and _insert(database, name, [issued])


def certificates_of(database: Db, name: str) -> list[IssuedCertificate]:
    """Return all certificates of the name, including revoked ones."""
    found = _find_or_add(database, name) or {"certificates": []}
    return [IssuedCertificate.read(each) for each in found["certificates"]]


def replace_certificate(database: Db, name: str, issued: IssuedCertificate) -> bool:
    """Replace the certificates of the name by *issued*, and revoke the earlier ones.

    For a host that holds the key of the present certificate. Return False if the name
    was decommissioned.
    """
    wanted = {"_id": name_key(name), "decommissioned": None}
    return _replace(database, wanted, name, issued)


def use_permission(database: Db, name: str, issued: IssuedCertificate) -> bool:
    """Replace the certificates as `replace_certificate` does, and use the permission.

    Return False if there is no permission.
    """
    wanted = {"_id": name_key(name), "allowed.until": {"$gt": datetime.now(UTC)}}
    return _replace(database, wanted, name, issued)


def add_successor(
    database: Db, name: str, before: IssuedCertificate, issued: IssuedCertificate
) -> bool:
    """Store *issued* as the successor of *before*, which stays valid until its expiry.

    Return False if the name was decommissioned, or enrolled again by another host.
    """
    wanted = {
        "_id": name_key(name),
        "decommissioned": None,
        "certificates.serial": before.serial,
    }
    change = {
        "$push": {"certificates": _certificate_document(issued)},
        "$max": {"expires": issued.expires + EXPIRY_MARGIN},
    }
    done = database[COLLECTION].update_one(wanted, change)
    return done.matched_count == 1 or _insert(database, name, [before, issued])


def allow(database: Db, name: str, by: str) -> bool:
    """Let the name be enrolled once more; return False if it was never enrolled."""
    if _find_or_add(database, name) is None:
        return False
    until = datetime.now(UTC) + timedelta(hours=PERMISSION_HOURS)
    change = {"$set": {"allowed": {"until": until, "by": by}}}
    database[COLLECTION].update_one({"_id": name_key(name)}, change)
    return True


def disallow(database: Db, name: str) -> bool:
    """Withdraw the permission; return False if there is none."""
    wanted = {"_id": name_key(name), "allowed": {"$ne": None}}
    change = {"$unset": {"allowed": ""}}
    return database[COLLECTION].update_one(wanted, change).matched_count == 1


def list_permissions(database: Db) -> list[Permission]:
    """Return the names that may be enrolled once more, MAX_LISTED at most."""
    wanted = {"allowed.until": {"$gt": datetime.now(UTC)}}
    found = database[COLLECTION].find(wanted).sort("allowed.until").limit(MAX_LISTED)
    return [
        Permission(each["name"], each["allowed"]["until"], each["allowed"]["by"])
        for each in found
    ]


def decommission(database: Db, name: str) -> str | None:
    """Revoke every certificate of the name; return the name as it was enrolled.

    A concurrent renewal or replacement either comes first, and is revoked too, or finds
    the name decommissioned. Return None if the name was never enrolled, or if it is
    decommissioned and not in the register.
    """
    known = _find_or_add(database, name)
    if known is None or (
        known.get("decommissioned") and not _find_in_register(database, name)
    ):
        return None
    change = {"$set": {"decommissioned": datetime.now(UTC)}, "$unset": {"allowed": ""}}
    after = database[COLLECTION].find_one_and_update(
        {"_id": known["_id"]}, change, return_document=ReturnDocument.AFTER
    )
    _revoke(database, after or known)
    return str(known["name"])


def add_earlier_names(database: Db) -> None:
    """Add names and certificates that earlier releases stored. Idempotent."""
    issued: dict[str, dict[str, IssuedCertificate]] = {}

    def note(name: str, certificates: list[IssuedCertificate]) -> None:
        if name:
            of_name = issued.setdefault(name, {})
            of_name.update({each.serial: each for each in certificates})

    for entry in database[register.COLLECTION].find({}, {"certificate": 1}):
        note(str(entry["_id"]), _register_certificates(entry))
    for each in database[SUCCESSORS].find():
        note(str(each["defender"]), _successor_certificates(each))
    revoked: set[str] = set()
    for each in database[store.COLLECTION].find(
        store.revocations_query(RevocationKind.CERTIFICATE)
    ):
        note(
            str(each["owner"]), [IssuedCertificate(str(each["name"]), each["expires"])]
        )
        revoked.add(str(each["name"]))
    _add_missing(database, issued, revoked)


def _add_missing(
    database: Db, issued: dict[str, dict[str, IssuedCertificate]], revoked: set[str]
) -> None:
    """Add new names with all certificates; add valid new ones to known names."""
    known = {
        str(each["_id"]): {str(c["serial"]) for c in each["certificates"]}
        for each in database[COLLECTION].find({}, {"certificates.serial": 1})
    }
    changes: list[UpdateOne] = []
    for name, certificates in issued.items():
        key = name_key(name)
        passed = known[key] | revoked if key in known else ()
        new = [each for each in certificates.values() if each.serial not in passed]
        if new or key not in known:
            document = _name_document(name, new)
            change = {
                "$setOnInsert": {"name": name},
                "$push": {"certificates": {"$each": document["certificates"]}},
                "$max": {"expires": document["expires"]},
            }
            changes.append(UpdateOne({"_id": key}, change, upsert=True))
    if changes:
        database[COLLECTION].bulk_write(changes, ordered=False)


def _find_or_add(database: Db, name: str) -> Document | None:
    """Return the document of the name; create it from the register if needed."""
    found = database[COLLECTION].find_one({"_id": name_key(name)})
    if found is not None or (entry := _find_in_register(database, name)) is None:
        return found
    issued = _register_certificates(entry)
    for each in database[SUCCESSORS].find({"defender": entry["_id"]}):
        issued += _successor_certificates(each)
    _insert(database, str(entry["_id"]), issued)
    return database[COLLECTION].find_one({"_id": name_key(name)})


def _find_in_register(database: Db, name: str) -> Document | None:
    return database[register.COLLECTION].find_one(register.name_query(name))


def _register_certificates(entry: Document) -> list[IssuedCertificate]:
    certificate = entry.get("certificate")
    return [IssuedCertificate.read(certificate)] if certificate else []


def _successor_certificates(stored: Document) -> list[IssuedCertificate]:
    return [
        IssuedCertificate.read({**stored, "serial": stored["_id"]}),
        IssuedCertificate.read(stored),
    ]


def _insert(database: Db, name: str, issued: list[IssuedCertificate]) -> bool:
    try:
        database[COLLECTION].insert_one(_name_document(name, issued))
    except DuplicateKeyError:
        return False
    return True


def _name_document(name: str, issued: list[IssuedCertificate]) -> Document:
    ends = [each.expires for each in issued] or [
        IssuedCertificate.read({"serial": ""}).expires
    ]
    return {
        "_id": name_key(name),
        "name": name,
        "certificates": [_certificate_document(each) for each in issued],
        "expires": max(ends) + EXPIRY_MARGIN,
    }


def _replace(
    database: Db, wanted: Document, name: str, issued: IssuedCertificate
) -> bool:
    """Revoke the certificates of the document *wanted*, and replace them by *issued*.

    They are revoked first: if this is interrupted, no certificate remains valid. If
    another process adds a certificate meanwhile, start again.
    """
    for _ in range(MAX_TRIES):
        if (before := database[COLLECTION].find_one(wanted)) is None:
            return False
        _revoke(database, before)
        unchanged = {**wanted, "certificates": before["certificates"]}
        change = {
            "$set": {"name": name, "certificates": [_certificate_document(issued)]},
            "$unset": {"allowed": "", "decommissioned": ""},
            "$max": {"expires": issued.expires + EXPIRY_MARGIN},
        }
        if database[COLLECTION].update_one(unchanged, change).matched_count:
            return True
    return False


def _revoke(database: Db, known: Document) -> None:
    issued = map(IssuedCertificate.read, known["certificates"])
    proofs = [(each.serial, each.expires) for each in issued]
    store.revoke_all(database, RevocationKind.CERTIFICATE, proofs, owner=known["name"])


def _certificate_document(issued: IssuedCertificate) -> Document:
    return {"serial": issued.serial, "expires": issued.expires, "key": issued.key}
