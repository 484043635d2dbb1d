"""A node's key and certificates; the door to all that concerns certificates.

What `authority`, `requests` and `tls` do can be imported from here too.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from twistlock_console.common.atomic_files import read_secret, write_secret, write_whole
from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.authority import (
    CERTIFICATE_DAYS,
    create_authority,
    sign_request,
)
from twistlock_console.pki.cluster_identity import (
    issue_cluster_certificate,
    stored_phase,
)
from twistlock_console.pki.identity_files import (
    NODE,
    NODE_BUNDLE,
    NODE_KEY,
    make_key,
    names_in,
    read_key,
    understand,
)
from twistlock_console.pki.requests import make_request
from twistlock_console.pki.tls import (
    Identity,
    Usage,
    client_context,
    peer_identity,
    server_context,
)
from twistlock_console.pki.trust_phase import TrustPhase

__all__ = [
    "Identity",
    "Usage",
    "client_context",
    "create_authority",
    "fingerprint",
    "issue_node_certificate",
    "make_key",
    "make_request",
    "names_in",
    "peer_identity",
    "pin_of",
    "public_key_pin",
    "server_context",
    "sign_request",
    "store_node_certificate",
]


def issue_node_certificate(
    folder: Path, names: Sequence[str], *, days: int = CERTIFICATE_DAYS
) -> None:
    """Make this node's certificate in *folder*, where our authority is.

    The node's key is kept if there is one, so that its pin stays the same. The
    first of *names* becomes the common name. The certificate for MongoDB and the node
    API is issued with it, in the phase of before: a new node begins with the last, one
    of an earlier release with the first. Raises IdentityError.
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
    """Keep *certificate_pem* as this node's, with the key that is in *folder*.

    Raises IdentityError if it is not for that key.
    """
    key = read_key(folder / NODE_KEY)
    what = "the node's new certificate"
    certificate = understand(x509.load_pem_x509_certificate, certificate_pem, what)
    if certificate.public_key() != key.public_key():
        raise IdentityError(f"{what} is not for the key {folder / NODE_KEY}")
    pem = certificate.public_bytes(Encoding.PEM)
    write_secret(folder / NODE_BUNDLE, pem + read_secret(folder / NODE_KEY))
    write_whole(folder / NODE, pem, mode=0o644)


def fingerprint(csr_or_cert_pem: bytes) -> str:
    """Give the SHA-256 of the public key as AB:CD:…, for people to compare."""
    return _public_key_hash(csr_or_cert_pem).hex(":").upper()


def public_key_pin(cert_pem: bytes) -> str:
    """Give the public key's hash as ``curl --pinnedpubkey`` takes it."""
    return pin_of(fingerprint(cert_pem))


def pin_of(shown: str) -> str:
    """Give the pin of the key that has the fingerprint *shown*: the same hash."""
    digest = bytes.fromhex(shown.replace(":", ""))
    return f"sha256//{base64.b64encode(digest).decode()}"


def _public_key_hash(pem: bytes) -> bytes:
    if b"CERTIFICATE REQUEST" in pem:
        key = understand(x509.load_pem_x509_csr, pem, "the request").public_key()
    else:
        load = x509.load_pem_x509_certificate
        key = understand(load, pem, "the certificate").public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()
