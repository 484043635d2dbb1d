"""Certificate requests, by which the owner of a key asks for a certificate."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from twistlock_console.pki.identity_files import read_key


def make_request(key_path: Path, common_name: str) -> bytes:
    """Make a certificate request (PEM) for the key at *key_path*."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.sign(read_key(key_path), SHA256())
    return request.public_bytes(Encoding.PEM)
