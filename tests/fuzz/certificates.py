"""PEM from outside: certificate requests, certificates, keys; tokens beside them."""

import base64
from contextlib import suppress
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pymongo.errors import PyMongoError

from plugins.ha.membership.credentials import JoinTokens
from tests.fuzz.http_requests import KnownCollection, Silent
from tests.fuzz.parsers import (
    Parser,
    allowed,
    check_sentence,
    latin_text_of,
    scratch_folder,
    text_of,
)
from twistlock_console.common.errors import IdentityError, Refused
from twistlock_console.defenders.deployment import (
    check_token,
    defender_script,
    revoke_token,
)
from twistlock_console.defenders.enrolment import EnrolmentRequest, enrol, renew
from twistlock_console.pki.authority import (
    create_authority,
    sign_cluster_request,
    sign_request,
)
from twistlock_console.pki.certificates import (
    complete_cluster_identity,
    fingerprint,
    issue_node_certificate,
    pin_of,
    public_key_pin,
    store_cluster_identity,
    store_node_certificate,
)
from twistlock_console.pki.identity_files import (
    expiry_warnings,
    load_certificate,
    make_key,
    make_request,
    names_in,
    read_certificate,
    read_key,
)
from twistlock_console.pki.tls import (
    Usage,
    client_context,
    peer_identity,
    server_context,
)
from twistlock_console.settings import Settings
from twistlock_defender.agent import certificate as defender_certificate
from twistlock_defender.common.errors import FolderError
from twistlock_defender.common.folder import Folder

PEM_KINDS = ("CERTIFICATE", "CERTIFICATE REQUEST", "PRIVATE KEY", "EC PRIVATE KEY")
NAME = "web-1"


@cache
def node() -> Path:
    """Return a folder with an authority and a node's certificate."""
    made = scratch_folder()
    create_authority(made)
    issue_node_certificate(made, ["127.0.0.1", "console.test"])
    return made


@cache
def defender() -> tuple[Path, bytes]:
    """Return the folder of a Defender, and its certificate (DER)."""
    made = scratch_folder()
    make_key(made / "key.pem")
    request = make_request(made / "key.pem", NAME)
    pem = sign_request(
        node(), request, usage=Usage.DEFENDER, common_name=NAME, names=[], days=50
    )
    (made / "certificate.pem").write_bytes(pem)
    return made, x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def _as_pem(data: bytes) -> bytes:
    """Return *data* as it is, or as DER inside the PEM that its first byte chooses."""
    place = data[0] if data else len(PEM_KINDS)
    if place >= len(PEM_KINDS):
        return data[1:]
    kind = PEM_KINDS[place]
    text = base64.encodebytes(data[1:]).decode()
    return f"-----BEGIN {kind}-----\n{text}-----END {kind}-----\n".encode()


class Held(Silent):
    """A database in which the name is enrolled already, with no certificate."""

    def __getitem__(self, name: str) -> Silent:
        known = {"certificates": [], "name": NAME, "_id": NAME}
        return KnownCollection([known] if name == "enrolled_defenders" else [])


def check_request(data: bytes) -> None:
    """Sign the request of a host for a Defender, and that of a node; renew one."""
    pem, der = _as_pem(data), defender()[1]
    with allowed(IdentityError):
        signed = sign_request(
            node(), pem, usage=Usage.DEFENDER, common_name=NAME, names=[]
        )
        assert fingerprint(signed) == fingerprint(pem)
    with allowed(IdentityError):
        sign_cluster_request(node(), pem, ["10.0.0.9"])
    with allowed(Refused), suppress(PyMongoError):
        renew(cast(Any, Silent()), node(), peer_identity(der), der, text_of(pem))


def check_enrolment(data: bytes) -> None:
    """Enrol a host that shows a certificate."""
    shown = text_of(_as_pem(data))
    request = make_request(defender()[0] / "key.pem", NAME).decode()
    for asked in (
        EnrolmentRequest(NAME, request, shown),
        EnrolmentRequest(shown, request),
    ):
        with allowed(Refused), suppress(PyMongoError):
            enrol(cast(Any, Held()), node(), asked)


def check_certificate(data: bytes) -> None:
    """Take a node's certificate from a primary, and read it back from its file."""
    pem, file = _as_pem(data), defender()[0] / "file.pem"
    with allowed(IdentityError):
        fingerprint(pem)
        assert pin_of(fingerprint(pem)) == public_key_pin(pem)
    with allowed(IdentityError):
        store_node_certificate(node(), pem)
    with allowed(IdentityError):
        store_cluster_identity(node(), (node() / "node.pem").read_bytes(), pem)
    with allowed(IdentityError):
        store_cluster_identity(node(), pem, pem)
    file.write_bytes(pem)
    file.chmod(0o600)
    with allowed(IdentityError):
        names_in(load_certificate(file))
        read_certificate(file)
    with allowed(IdentityError):
        read_key(file)


def check_folder(data: bytes) -> None:
    """Start TLS with a damaged file in the folder, or warn of it."""
    folder, place = _copied(), data[0] % len(FILES) if data else 0
    file = folder / FILES[place]
    kept = file.read_bytes()
    file.write_bytes(_as_pem(data[1:]))
    try:
        with allowed(IdentityError):
            client_context(folder)
        with allowed(IdentityError):
            server_context(folder, client=Usage.NODE)
        with allowed(IdentityError):
            complete_cluster_identity(folder)
        for sentence in expiry_warnings(folder):
            check_sentence(sentence)
    finally:
        file.write_bytes(kept)


@cache
def _copied() -> Path:
    return Path(copytree(node(), node().with_name(f"{node().name}-copy")))


def check_peer(data: bytes) -> None:
    """Tell whose certificate it is that a peer shows."""
    with allowed(IdentityError):
        assert peer_identity(data).serial is not None


def check_defender(data: bytes) -> None:
    """Keep the certificate that a Console sent, or say why not; read a damaged one."""
    folder, pem = defender()[0], _as_pem(data)
    with allowed(FolderError):
        defender_certificate.store_renewed(Folder(folder), text_of(pem))
    kept = (folder / "certificate.pem").read_bytes()
    (folder / "certificate.pem").write_bytes(pem)
    try:
        with allowed(FolderError):
            end = defender_certificate.read_expiry(Folder(folder))
            if sentence := defender_certificate.expiry_problem(end):
                check_sentence(sentence)
        with allowed(FolderError):
            defender_certificate.create_renewal_request(Folder(folder), NAME)
    finally:
        (folder / "certificate.pem").write_bytes(kept)


def check_tokens(data: bytes) -> None:
    """Read join tokens, deploy tokens, and the name of a Console for a script."""
    for text in (latin_text_of(data), text_of(data)):
        with allowed(Refused), suppress(PyMongoError):
            JoinTokens(cast(Any, Silent())).check(text, "10.0.0.9")
        with allowed(Refused), suppress(PyMongoError):
            check_token(cast(Any, Silent()), text)
        with allowed(Refused), suppress(PyMongoError):
            revoke_token(cast(Any, Silent()), text)
        with allowed(Refused):
            defender_script(_settings(), text, "deploy-x", "26.11.0")


@cache
def _settings() -> Settings:
    settings = Settings(node_address="127.0.0.1", data_folder=node() / "data")
    settings.folders.create()
    copytree(node(), settings.folders.certificates, dirs_exist_ok=True, ignore=_data)
    return settings


def _data(_folder: str, _names: list[str]) -> list[str]:
    return ["data"]


def _other_requests() -> list[bytes]:
    """Return requests (DER) with keys of other kinds."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    keys = (
        (ec.generate_private_key(ec.SECP384R1()), SHA256()),
        (rsa.generate_private_key(65537, 2048), SHA256()),
        (ed25519.Ed25519PrivateKey.generate(), None),
    )
    return [
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(key, algorithm)
        .public_bytes(Encoding.DER)
        for key, algorithm in keys
    ]


def _der_of(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


FILES = (
    "ca.pem",
    "node.pem",
    "cluster-bundle.pem",
    "cluster-trust.pem",
    "node-key.pem",
)
PLAIN = bytes([len(PEM_KINDS)])
REQUEST = make_request(defender()[0] / "key.pem", NAME)
CERTIFICATE = (node() / "node.pem").read_bytes()
KEY = (defender()[0] / "key.pem").read_bytes()
OWN = defender()[1]
CERTIFICATES = (b"\0" + _der_of(CERTIFICATE), b"\0" + OWN, PLAIN + CERTIFICATE)

PARSERS = (
    Parser(
        "request",
        check_request,
        (
            b"\1" + _der_of(REQUEST),
            PLAIN + REQUEST,
            *(b"\1" + der for der in _other_requests()),
            # A version that there is not.
            b"\1" + _der_of(REQUEST).replace(b"\2\1\0", b"\2\1\x19", 1),
        ),
    ),
    Parser("enrolment", check_enrolment, (*CERTIFICATES, PLAIN + NAME.encode())),
    Parser("certificate", check_certificate, (*CERTIFICATES, b"\2" + _der_of(KEY))),
    Parser(
        "folder",
        check_folder,
        (
            *(bytes([place]) + CERTIFICATES[0] for place in range(5)),
            b"\4" + PLAIN + KEY,
        ),
    ),
    Parser("peer", check_peer, (OWN, _der_of(CERTIFICATE))),
    Parser("Defender", check_defender, CERTIFICATES),
    Parser(
        "tokens",
        check_tokens,
        (b"join-" + b"a" * 43, b"deploy-" + b"b" * 43, b"a.b.c", b"0123456789ab"),
    ),
)
