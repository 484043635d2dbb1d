"""Check and renew the Defender's certificate.

A renewal keeps the key, so that one file is replaced and always matches the key.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from twistlock_console.protocol import RENEWAL_DAYS, RenewalRequested
from twistlock_defender.common.clock import utc_now
from twistlock_defender.common.errors import FolderError
from twistlock_defender.common.folder import ENROL_HINT, Folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

# cryptography is imported late: it takes time and memory, and is rarely needed.

EXPIRY_WARNING_DAYS = 30
CERTIFICATE = "certificate.pem"


def read_expiry(folder: Folder) -> datetime:
    """Return when our certificate expires. Raises FolderError."""
    from cryptography import x509

    path = folder / CERTIFICATE
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}; {ENROL_HINT}") from error
    except (ValueError, x509.InvalidVersion) as error:
        raise FolderError(f"{path} is damaged; {ENROL_HINT}") from error


def expiry_problem(end: datetime) -> str | None:
    """Return a sentence if a certificate valid until *end* has expired or soon will."""
    left = end - utc_now()
    if left.total_seconds() < 0:
        return (
            f"our certificate expired on {end:%Y-%m-%d}, and no Console accepts it; "
            f"check this host's clock, or {ENROL_HINT}"
        )
    if left.days < EXPIRY_WARNING_DAYS:
        return (
            f"our certificate expires on {end:%Y-%m-%d} and no Console has renewed it; "
            f"before that, {ENROL_HINT}"
        )
    return None


def create_renewal_request(folder: Folder, name: str) -> RenewalRequested | None:
    """Return the request for a new certificate; None if ours is not due.

    Raises FolderError.
    """
    if read_expiry(folder) - utc_now() > timedelta(days=RENEWAL_DAYS):
        return None
    return RenewalRequested(create_request(_load_key(folder), name))


def create_request(key: "ec.EllipticCurvePrivateKey", name: str) -> str:
    """Return a signing request (PEM) for a certificate of *name* with *key*."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


def store_renewed(folder: Folder, pem: str) -> datetime:
    """Replace our certificate by *pem*; return its expiry.

    Raises:
        FolderError: the certificate is unreadable, for another key, or not newer.
        OSError: the file cannot be written.

    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        found = x509.load_pem_x509_certificate(pem.encode())
        key = found.public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise FolderError("it cannot be read") from error
    if key != _load_key(folder).public_key():
        raise FolderError("it is for another key")
    if found.not_valid_after_utc <= read_expiry(folder):
        raise FolderError("it does not expire later than ours")
    folder.write(CERTIFICATE, pem.encode())
    return found.not_valid_after_utc


def _load_key(folder: Folder) -> "ec.EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = folder / "key.pem"
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}; {ENROL_HINT}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FolderError(f"{path} is damaged; {ENROL_HINT}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise FolderError(f"{path} holds another kind of key; {ENROL_HINT}")
    return key
