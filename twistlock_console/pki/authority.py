"""Our own certificate authority, which issues to nodes and Defenders.

Keys are ECDSA P-256; a certificate's subject is O=Twistlock, OU=its usage.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twistlock_console.common.atomic_files import write_whole
from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    AUTHORITY_KEY,
    make_key,
    read_certificate,
    read_key,
    understand,
)
from twistlock_console.pki.tls import Usage

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 1095
PURPOSES = {
    Usage.NODE: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    Usage.DEFENDER: [ExtendedKeyUsageOID.CLIENT_AUTH],
}


def create_authority(folder: Path) -> None:
    """Make ca.pem (10 years) and ca-key.pem in *folder*, unless they are there.

    Raises IdentityError if they cannot be written, or if ca.pem is unusable.
    """
    if (folder / AUTHORITY).exists():
        read_certificate(folder / AUTHORITY)
        return
    make_key(folder / AUTHORITY_KEY)
    key = read_key(folder / AUTHORITY_KEY)
    name = _subject("Twistlock Console CA", "authority")
    certificate = (
        _builder(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    write_whole(folder / AUTHORITY, pem, mode=0o644)


def sign_request(
    folder: Path,
    csr_pem: bytes,
    *,
    usage: Usage,
    common_name: str,
    names: Sequence[str],
    days: int = CERTIFICATE_DAYS,
) -> bytes:
    """Give a certificate (PEM) for the key in *csr_pem*, valid from yesterday.

    Of the request, only the key counts. *names* are DNS names and IP addresses.
    Raises IdentityError if the request, a name or our authority cannot be used.
    """
    public = understand(_requested_key, csr_pem, "the certificate request")
    issuer = read_certificate(folder / AUTHORITY)
    key = read_key(folder / AUTHORITY_KEY)
    try:
        subject = _subject(common_name, usage)
        builder = _builder(subject, issuer.subject, public, days)
        builder = _with_names(builder, names)
    except ValueError as error:
        raise IdentityError(f"{common_name!r} or {names!r} is no name") from error
    builder = _for_usage(builder, usage, key.public_key())
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def _requested_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    request = x509.load_pem_x509_csr(pem)
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("not an elliptic-curve key")
    if not isinstance(key.curve, ec.SECP256R1) or not request.is_signature_valid:
        raise ValueError("another curve, or signed with another key")
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A day early: the clocks of the hosts need not agree.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(common_name: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Twistlock"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _for_usage(
    builder: x509.CertificateBuilder, usage: Usage, issuer: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(PURPOSES[usage]), critical=False)
        .add_extension(authority, critical=False)
    )


def _with_names(
    builder: x509.CertificateBuilder, names: Sequence[str]
) -> x509.CertificateBuilder:
    if not names:
        return builder
    alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
    return builder.add_extension(alternatives, critical=False)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
