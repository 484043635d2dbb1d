"""Read and write the certificates and keys of a node, files in one folder."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from twistlock_console.common.atomic_files import read_secret, write_secret
from twistlock_console.common.errors import IdentityError

AUTHORITY = "ca.pem"
AUTHORITY_KEY = "ca-key.pem"
NODE = "node.pem"
NODE_KEY = "node-key.pem"
NODE_BUNDLE = "node-bundle.pem"
#: The authority of the nodes' own certificates; its key is derived, and in no file.
CLUSTER_AUTHORITY = "cluster-ca.pem"
#: The certificate that MongoDB and the node API present, with the node's key.
CLUSTER_BUNDLE = "cluster-bundle.pem"
#: The authorities whose certificates MongoDB and the node API accept.
CLUSTER_TRUST = "cluster-trust.pem"
#: The files that are deleted when a node changes its authority.
CLUSTER_FILES = (CLUSTER_AUTHORITY, CLUSTER_BUNDLE, CLUSTER_TRUST)

#: People are warned so long before a certificate expires.
EXPIRY_WARNING_PERIOD = timedelta(days=90)

REMEDY = (
    "restore it from a backup of this host, or remove the node from the cluster "
    "and let it join again"
)
T = TypeVar("T")
#: What the library raises for what it cannot read, at once or when a part is used.
UNREADABLE = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
REMEDIES = {
    NODE: (
        "The certificate of this node",
        "It should have been renewed automatically; the node's log has the reason",
    ),
    AUTHORITY: (
        "The Console's certificate authority",
        "Install a new Console before then, restore a backup there, and deploy the "
        "Defenders again",
    ),
}


def read_certificate(path: Path) -> x509.Certificate:
    """Return the certificate at *path*.

    Raises IdentityError if it is missing, damaged, expired or not valid yet.
    """
    certificate = load_certificate(path)
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        ended = certificate.not_valid_after_utc
        raise IdentityError(
            f"{path} expired on {ended:%Y-%m-%d}; check this host's clock, or remove "
            "the node from the cluster and let it join again"
        )
    if now < certificate.not_valid_before_utc:
        begins = certificate.not_valid_before_utc
        raise IdentityError(
            f"{path} is valid from {begins:%Y-%m-%d} only; check this host's clock"
        )
    return certificate


def load_certificate(path: Path) -> x509.Certificate:
    """Return the certificate at *path*, expired or not. Raises IdentityError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IdentityError(
            f"cannot read {path}: {error.strerror}; {REMEDY}"
        ) from error
    return parse_certificate(data, str(path))


def parse_certificate(data: bytes, what: str) -> x509.Certificate:
    """Return the certificate in *data* (PEM), whole; IdentityError if it is none."""
    return parse_pem(_load_whole, data, what)


def _load_whole(pem: bytes) -> x509.Certificate:
    found = x509.load_pem_x509_certificate(pem)
    # The library reads these parts when they are first used, and raises only then.
    found.public_key()
    list(found.extensions)
    list(found.subject)
    return found


def names_in(certificate: x509.Certificate) -> set[str]:
    """Return the DNS names and addresses in *certificate*."""
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in found.value}


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the private key at *path*. Raises IdentityError if it cannot be used."""
    data = read_secret(path)
    key = parse_pem(lambda pem: load_pem_private_key(pem, None), data, str(path))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise IdentityError(f"{path} is not an elliptic-curve key; {REMEDY}")
    return key


def make_key(path: Path) -> None:
    """Create a new private key at *path*. Raises IdentityError."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(path, pem)


def parse_pem(load: Callable[[bytes], T], data: bytes, what: str) -> T:
    """Return *data*, called *what* in errors, as parsed by *load*; or IdentityError."""
    if not data.strip():
        raise IdentityError(f"{what} is empty; {REMEDY}")
    try:
        return load(data)
    except UNREADABLE as error:
        raise IdentityError(f"{what} is damaged; {REMEDY}") from error


def make_request(key_path: Path, common_name: str) -> bytes:
    """Create a certificate request (PEM) for the key at *key_path*."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.sign(read_key(key_path), SHA256())
    return request.public_bytes(Encoding.PEM)


def expiry_warnings(folder: Path, now: datetime | None = None) -> list[str]:
    """Return a sentence for each certificate that expires soon or has expired."""
    now = now or datetime.now(UTC)
    found = []
    for file, (what, remedy) in REMEDIES.items():
        try:
            ends = load_certificate(folder / file).not_valid_after_utc
        except IdentityError as error:
            found.append(f"{error}.")
            continue
        if ends - now < EXPIRY_WARNING_PERIOD:
            verb = "expires" if ends > now else "expired"
            found.append(f"{what} {verb} on {ends:%Y-%m-%d}. {remedy}.")
    return found
