"""Create the two certificate authorities of a Console, and sign with them.

One is for the service ports, and for Defenders. The other is for the ports that only
nodes may reach: MongoDB and the node API. Its key is derived from that of the first, so
that every node has it, and a backup of the first key restores both.
Keys are ECDSA P-256; a certificate's subject is O=Twistlock, OU=its usage.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from twistlock_console.common.atomic_files import write_whole
from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    AUTHORITY_KEY,
    CLUSTER_AUTHORITY,
    load_certificate,
    make_key,
    parse_pem,
    read_certificate,
    read_key,
)
from twistlock_console.pki.tls import Usage

AUTHORITY_VALIDITY_DAYS = 3650
CERTIFICATE_VALIDITY_DAYS = 1095
#: 48 random bytes modulo the order of P-256 give practically uniform keys.
DERIVED_BYTES = 48
DERIVATION_LABEL = b"twistlock cluster authority 1"
# The order of P-256's group: FIPS 186-4, D.1.2.3.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PURPOSES = {
    Usage.NODE: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    Usage.DEFENDER: [ExtendedKeyUsageOID.CLIENT_AUTH],
}


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority that can sign: its certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Request:
    """The subject of a certificate that is to be signed."""

    key: ec.EllipticCurvePublicKey
    usage: Usage
    common_name: str
    names: Sequence[str]


def create_authority(folder: Path) -> None:
    """Create ca.pem (10 years) and ca-key.pem in *folder*, unless they exist.

    Raises IdentityError if they cannot be written, or if ca.pem is unusable.
    """
    if (folder / AUTHORITY).exists():
        read_certificate(folder / AUTHORITY)
        return
    make_key(folder / AUTHORITY_KEY)
    key = read_key(folder / AUTHORITY_KEY)
    pem = _self_signed("Twistlock Console CA", key, _valid_for(AUTHORITY_VALIDITY_DAYS))
    write_whole(folder / AUTHORITY, pem, mode=0o644)


def create_cluster_authority(folder: Path) -> x509.Certificate:
    """Return the cluster's authority; write cluster-ca.pem if it is missing.

    A file that was derived from another authority is replaced. It expires with ca.pem,
    and is the same on every node. Raises IdentityError.
    """
    key = _derived_key(read_key(folder / AUTHORITY_KEY))
    with suppress(IdentityError):
        stored = load_certificate(folder / CLUSTER_AUTHORITY)
        if stored.public_key() == key.public_key():
            return stored
    parent = load_certificate(folder / AUTHORITY)
    validity = (parent.not_valid_before_utc, parent.not_valid_after_utc)
    pem = _self_signed("Twistlock Console cluster CA", key, validity)
    write_whole(folder / CLUSTER_AUTHORITY, pem, mode=0o644)
    return x509.load_pem_x509_certificate(pem)


def sign_request(
    folder: Path,
    csr_pem: bytes,
    *,
    usage: Usage,
    common_name: str,
    names: Sequence[str],
    days: int = CERTIFICATE_VALIDITY_DAYS,
) -> bytes:
    """Return a certificate (PEM) for the key in *csr_pem*, valid from yesterday.

    Only the key of the request is used. *names* are DNS names and IP addresses.
    Raises IdentityError if the request, a name or our authority cannot be used.
    """
    public = parse_pem(_requested_key, csr_pem, "the certificate request")
    issuer = Issuer(
        read_certificate(folder / AUTHORITY), read_key(folder / AUTHORITY_KEY)
    )
    return _sign(issuer, Request(public, usage, common_name, names), days)


def sign_cluster_request(
    folder: Path,
    csr_pem: bytes,
    names: Sequence[str],
    *,
    days: int = CERTIFICATE_VALIDITY_DAYS,
) -> bytes:
    """Return a node's certificate (PEM) of the cluster's authority; see `sign_request`.

    The first of *names* becomes the common name.
    """
    public = parse_pem(_requested_key, csr_pem, "the certificate request")
    authority = create_cluster_authority(folder)
    issuer = Issuer(authority, _derived_key(read_key(folder / AUTHORITY_KEY)))
    return _sign(issuer, Request(public, Usage.NODE, names[0], names), days)


def _derived_key(key: ec.EllipticCurvePrivateKey) -> ec.EllipticCurvePrivateKey:
    secret = key.private_numbers().private_value.to_bytes(32, "big")
    hkdf = HKDF(
        algorithm=SHA256(), length=DERIVED_BYTES, salt=None, info=DERIVATION_LABEL
    )
    number = int.from_bytes(hkdf.derive(secret), "big")
    return ec.derive_private_key(number % (P256_ORDER - 1) + 1, ec.SECP256R1())


def _sign(issuer: Issuer, request: Request, days: int) -> bytes:
    authority = issuer.certificate.subject
    try:
        subject = _subject(request.common_name, request.usage)
        builder = _builder(subject, authority, request.key, _valid_for(days))
        builder = _with_names(builder, request.names)
        builder = builder.serial_number(x509.random_serial_number())
    except ValueError as error:
        raise IdentityError(
            f"{request.common_name!r} or {request.names!r} is not a valid name"
        ) from error
    builder = _for_usage(builder, request.usage, issuer.key.public_key())
    return builder.sign(issuer.key, SHA256()).public_bytes(Encoding.PEM)


def _self_signed(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    validity: tuple[datetime, datetime],
) -> bytes:
    """Return an authority's certificate (PEM), a pure function of the arguments."""
    name = _subject(common_name, "authority")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key.public_key(), validity)
        .serial_number(int.from_bytes(identifier.digest[:19], "big") + 1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, SHA256(), ecdsa_deterministic=True)
    )
    return certificate.public_bytes(Encoding.PEM)


def _requested_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    request = x509.load_pem_x509_csr(pem)
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("not an elliptic-curve key")
    if not isinstance(key.curve, ec.SECP256R1) or not request.is_signature_valid:
        raise ValueError("another curve, or signed with another key")
    return key


def _valid_for(days: int) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    # Valid since yesterday: the clocks of the hosts may differ.
    return now - timedelta(days=1), now + timedelta(days=days)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    validity: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
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
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return builder.add_extension(alternatives, critical=False)


def _general_name(name: str) -> x509.GeneralName:
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
