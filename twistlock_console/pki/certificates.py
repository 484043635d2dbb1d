"""Issue and store a node's certificates: for the service ports, and for other nodes.

The second one, the cluster certificate, is for MongoDB and the node API. Its files
define the phase of the trust migration (`trust_phase`): which certificate the bundle
holds, and how many authorities are accepted.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from twistlock_console.common.atomic_files import read_secret, write_secret, write_whole
from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.authority import (
    CERTIFICATE_VALIDITY_DAYS,
    create_cluster_authority,
    sign_cluster_request,
    sign_request,
)
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_AUTHORITY,
    CLUSTER_BUNDLE,
    CLUSTER_TRUST,
    NODE,
    NODE_BUNDLE,
    NODE_KEY,
    UNREADABLE,
    load_certificate,
    make_key,
    make_request,
    names_in,
    parse_certificate,
    parse_pem,
    read_certificate,
    read_key,
)
from twistlock_console.pki.tls import (
    Usage,
)
from twistlock_console.pki.trust_phase import TrustPhase
from twistlock_console.settings import Settings

#: What verifying a certificate raises that another authority issued.
UNVERIFIED = (*UNREADABLE, IdentityError, InvalidSignature)
CERTIFICATE_HEADER = b"-----BEGIN CERTIFICATE-----"


def node_names(settings: Settings, address: str) -> list[str]:
    """Return the names for a node's certificate: its own, and the load balancer's."""
    names = [address, "127.0.0.1", "localhost", settings.console_cn]
    return list(dict.fromkeys([*names, *settings.console_san]))


def issue_node_certificate(
    folder: Path, names: Sequence[str], *, days: int = CERTIFICATE_VALIDITY_DAYS
) -> None:
    """Issue this node's certificate in *folder*, where our authority is.

    An existing key of the node is kept, so that its pin stays the same. The cluster
    certificate is issued with it, in the present phase: a new node starts with the last
    phase, one of an earlier release with the first.

    Args:
        folder: The folder of certificates.
        names: The first becomes the common name.
        days: How long it is valid.

    Raises:
        IdentityError: The authority cannot be used.

    """
    phase = stored_phase(folder)
    if phase is TrustPhase.UNKNOWN:
        is_old = (folder / NODE).exists()
        phase = TrustPhase.ACCEPT_BOTH if is_old else TrustPhase.CLUSTER_ONLY
    if not (folder / NODE_KEY).exists():
        make_key(folder / NODE_KEY)
    request = make_request(folder / NODE_KEY, names[0])
    certificate = sign_request(
        folder,
        request,
        usage=Usage.NODE,
        common_name=names[0],
        names=names,
        days=days,
    )
    store_node_certificate(folder, certificate)
    issue_cluster_certificate(folder, phase, list(names), days)


def store_node_certificate(folder: Path, certificate_pem: bytes) -> None:
    """Store *certificate_pem* as this node's, with the key that is in *folder*.

    Raises IdentityError if it is not for that key.
    """
    key = read_key(folder / NODE_KEY)
    what = "the node's new certificate"
    certificate = parse_certificate(certificate_pem, what)
    if certificate.public_key() != key.public_key():
        raise IdentityError(f"{what} is not for the key {folder / NODE_KEY}")
    pem = certificate.public_bytes(Encoding.PEM)
    write_secret(folder / NODE_BUNDLE, pem + read_secret(folder / NODE_KEY))
    write_whole(folder / NODE, pem, mode=0o644)


def fingerprint(csr_or_cert_pem: bytes) -> str:
    """Return the SHA-256 of the public key as AB:CD:…, for people to compare."""
    return _public_key_hash(csr_or_cert_pem).hex(":").upper()


def public_key_pin(cert_pem: bytes) -> str:
    """Return the public key's hash in the form of ``curl --pinnedpubkey``."""
    return pin_of(fingerprint(cert_pem))


def pin_of(shown: str) -> str:
    """Return the pin of the key whose fingerprint is *shown* as AB:CD:…."""
    digest = bytes.fromhex(shown.replace(":", ""))
    return f"sha256//{base64.b64encode(digest).decode()}"


def _public_key_hash(pem: bytes) -> bytes:
    if b"CERTIFICATE REQUEST" in pem:
        key = parse_pem(_requested_key, pem, "the request")
    else:
        key = parse_certificate(pem, "the certificate").public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


def _requested_key(pem: bytes) -> CertificatePublicKeyTypes:
    return x509.load_pem_x509_csr(pem).public_key()


def stored_phase(folder: Path) -> TrustPhase:
    """Return the phase that the files in *folder* define; UNKNOWN without files.

    If one of the two is missing or damaged, the other decides.
    """
    accepted = _accepted_count(folder)
    if accepted == 1:
        return TrustPhase.CLUSTER_ONLY
    if _shows_cluster_certificate(folder):
        return TrustPhase.PRESENT_CLUSTER
    if accepted or (folder / CLUSTER_BUNDLE).exists():
        return TrustPhase.ACCEPT_BOTH
    return TrustPhase.UNKNOWN


def complete_cluster_identity(folder: Path) -> TrustPhase:
    """Repair missing or inconsistent cluster files in *folder*; return the phase.

    The folder of an earlier release gets the first phase. Raises IdentityError.
    """
    phase = stored_phase(folder)
    if phase is TrustPhase.UNKNOWN:
        phase = TrustPhase.ACCEPT_BOTH
    create_cluster_authority(folder)
    if not _is_complete(folder, phase):
        enter_phase(folder, phase)
    return phase


def _is_complete(folder: Path, phase: TrustPhase) -> bool:
    own = load_certificate(folder / NODE)
    try:
        shown = read_certificate(folder / CLUSTER_BUNDLE)
        trust = (folder / CLUSTER_TRUST).read_bytes()
    except (OSError, IdentityError):
        return False
    return (
        trust == accepted_authorities(folder, phase)
        and shown.public_key() == own.public_key()
        and names_in(shown) == names_in(own)
        and _shows_cluster_certificate(folder) is (phase > TrustPhase.ACCEPT_BOTH)
    )


def _accepted_count(folder: Path) -> int:
    try:
        return (folder / CLUSTER_TRUST).read_bytes().count(CERTIFICATE_HEADER)
    except OSError:
        return 0


def _shows_cluster_certificate(folder: Path) -> bool:
    try:
        shown = load_certificate(folder / CLUSTER_BUNDLE)
        shown.verify_directly_issued_by(load_certificate(folder / CLUSTER_AUTHORITY))
    except UNVERIFIED:
        return False
    return True


def issue_cluster_certificate(
    folder: Path,
    phase: TrustPhase,
    names: list[str],
    days: int = CERTIFICATE_VALIDITY_DAYS,
) -> None:
    """Write the cluster certificate and accepted authorities of *phase* to *folder*.

    The certificate is replaced before fewer authorities are accepted: a crash in
    between leaves a node that accepts both. Raises IdentityError.
    """
    create_cluster_authority(folder)
    if phase is TrustPhase.ACCEPT_BOTH:
        shown = (folder / NODE).read_bytes()
    else:
        request = make_request(folder / NODE_KEY, names[0])
        shown = sign_cluster_request(folder, request, names, days=days)
    store_cluster_identity(folder, shown, accepted_authorities(folder, phase))


def enter_phase(folder: Path, phase: TrustPhase) -> None:
    """Enter *phase*, with a certificate that expires with node.pem."""
    own = load_certificate(folder / NODE)
    common_name = own.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    names = list(dict.fromkeys([str(common_name), *sorted(names_in(own))]))
    days = (own.not_valid_after_utc - datetime.now(UTC)).days
    issue_cluster_certificate(folder, phase, names, days)


def accepted_authorities(folder: Path, phase: TrustPhase) -> bytes:
    """Return the certificates (PEM) of the authorities that are accepted in *phase*."""
    cluster = (folder / CLUSTER_AUTHORITY).read_bytes()
    if phase is TrustPhase.CLUSTER_ONLY:
        return cluster
    return cluster + (folder / AUTHORITY).read_bytes()


def store_cluster_identity(folder: Path, certificate: bytes, accepted: bytes) -> None:
    """Store the cluster *certificate* and the *accepted* authorities, both PEM.

    Raises IdentityError if one is unusable, or not for the key in *folder*.
    """
    what = "the cluster certificate"
    shown = parse_certificate(certificate, what)
    parse_pem(x509.load_pem_x509_certificates, accepted, "the list of authorities")
    if shown.public_key() != read_key(folder / NODE_KEY).public_key():
        raise IdentityError(f"{what} is not for the key {folder / NODE_KEY}")
    pem = shown.public_bytes(Encoding.PEM)
    write_secret(folder / CLUSTER_BUNDLE, pem + read_secret(folder / NODE_KEY))
    write_whole(folder / CLUSTER_TRUST, accepted, mode=0o644)
