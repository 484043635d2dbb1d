"""Get a certificate from the Console, which the pin of its key authenticates."""

import base64
import hashlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from typing import Annotated

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import Field, TypeAdapter, ValidationError

from twistlock_defender.agent.certificate import CERTIFICATE, create_request
from twistlock_defender.common.errors import EnrolError, FolderError
from twistlock_defender.common.folder import AgentSettings, Folder
from twistlock_defender.common.json_text import load_json
from twistlock_defender.link.connection import describe_failure
from twistlock_defender.link.dialer import parse_address

#: What the library raises for a certificate that it cannot read.
UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)
PATH = "/api/v1/defenders/enrol"
API_PORT = 8083
TIMEOUT_S = 20.0
MAX_RESPONSE_BYTES = 1024 * 1024
MAX_CERTIFICATE_CHARACTERS = 8192
KEY = "key.pem"
CURVE = ec.SECP256R1.name


class NoResponse(EnrolError):
    """No response arrived; the Console may have issued a certificate."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The arguments of the install command; *name* is None for the host's own name."""

    console: str
    pin: str
    token: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class IssuedCredentials:
    """The response of the Console: certificates (PEM), and its addresses and port."""

    certificate: str
    authority: str
    addresses: Annotated[tuple[str, ...], Field(min_length=1)]
    port: int


_credentials: TypeAdapter[IssuedCredentials] = TypeAdapter(IssuedCredentials)


def enrol(enrolment: Enrolment, folder: Folder, outbox_mb: int) -> None:
    """Enrol this host; write key, certificate and settings to *folder*.

    Raises:
        EnrolError: the Console refused, or did not respond.
        OSError: a file cannot be written.

    """
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = enrolment.name or socket.gethostname()
    with _load_or_create_key(folder, name) as key:
        body = {"defender": name, "request": create_request(key, name)}
        credentials = _request_certificate(
            enrolment, {**body, **_present_certificate(folder)}
        )
    _check_certificate(credentials, key)
    _forget_another_console(folder, credentials.authority.encode())
    folder.write(CERTIFICATE, credentials.certificate.encode())
    folder.write("ca.pem", credentials.authority.encode())
    addresses = tuple(_with_port(a, credentials.port) for a in credentials.addresses)
    folder.write_settings(AgentSettings(name, addresses, outbox_mb))


@contextmanager
def _load_or_create_key(
    folder: Folder, name: str
) -> Iterator[ec.EllipticCurvePrivateKey]:
    """Yield this host's key for *name*, or a new key.

    An existing key is kept: by it the Console recognizes that this host already has its
    name, even if the response to an earlier attempt was lost. A new key is deleted if
    the Console refuses.
    """
    if (known := _load_key(folder, name)) is not None:
        yield known
        return
    made = ec.generate_private_key(ec.SECP256R1())
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder.write(KEY, pem)
    try:
        yield made
    except NoResponse:
        raise
    except EnrolError:
        (folder / KEY).unlink()
        raise


def _load_key(folder: Folder, name: str) -> ec.EllipticCurvePrivateKey | None:
    """Return the key in *folder*; None if it is for another name or of another type."""
    with suppress(FolderError):
        if folder.read_settings().defender.casefold() != name.casefold():
            return None
    try:
        key = load_pem_private_key((folder / KEY).read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == CURVE:
        return key
    return None


def _present_certificate(folder: Folder) -> dict[str, str]:
    """Return our certificate as a member of the request; {} if there is none.

    By it, a Console that was upgraded recognizes our key.
    """
    try:
        pem = (folder / CERTIFICATE).read_text("ascii")
    except (OSError, ValueError):
        return {}
    return {"certificate": pem} if len(pem) <= MAX_CERTIFICATE_CHARACTERS else {}


def _forget_another_console(folder: Folder, authority: bytes) -> None:
    """Delete the state of the previous Console, if it had another *authority*.

    The epochs of two Consoles are unrelated, so the new one would be rejected; and it
    has no check results yet. The state of this host remains: the rule is enforced until
    the new Console sends one, and queued findings are sent to it.
    """
    known = folder / "ca.pem"
    if known.exists() and known.read_bytes().strip() != authority.strip():
        for name in ("epoch", "checks-ran"):
            (folder / name).unlink(missing_ok=True)


def _request_certificate(enrolment: Enrolment, body: object) -> IssuedCredentials:
    host, port = parse_address(enrolment.console, API_PORT)
    headers = {
        "Authorization": f"Bearer {enrolment.token}",
        "Content-Type": "application/json",
    }
    connection = HTTPSConnection(
        host, port, timeout=TIMEOUT_S, context=_unverified_context()
    )
    try:
        connection.connect()
        _check_pin(connection, enrolment)
        connection.request("POST", PATH, json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read(MAX_RESPONSE_BYTES)
    except (OSError, HTTPException) as error:
        why = describe_failure(error)
        raise NoResponse(f"{enrolment.console} does not answer: {why}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise EnrolError(
            f"{enrolment.console} refuses: {_error_sentence(content, answer.status)}"
        )
    try:
        return _credentials.validate_json(content)
    except ValidationError as error:
        raise EnrolError(f"{enrolment.console} gave no certificate") from error


def _check_pin(connection: HTTPSConnection, enrolment: Enrolment) -> None:
    der = connection.sock.getpeercert(binary_form=True) or b""
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except UNREADABLE as error:
        raise EnrolError(
            f"{enrolment.console} shows a certificate that cannot be read"
        ) from error
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    if enrolment.pin != f"sha256//{digest}":
        raise EnrolError(
            f"{enrolment.console} has another key than the command was made for; "
            "the connection may be intercepted. Copy the command again and compare"
        )


def _check_certificate(
    credentials: IssuedCredentials, key: ec.EllipticCurvePrivateKey
) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(credentials.certificate.encode())
        issued_for = certificate.public_key()
    except UNREADABLE as error:
        raise EnrolError("the Console's certificate for us cannot be read") from error
    if issued_for != key.public_key():
        raise EnrolError("the Console gave a certificate for another key")


def _unverified_context() -> ssl.SSLContext:
    # The pin replaces the verification of the chain, which this host does not have yet.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _error_sentence(content: bytes, status: int) -> str:
    try:
        return str(load_json(content)["err"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


def _with_port(address: str, port: int) -> str:
    bare = ":" not in address or (address.count(":") > 1 and "]" not in address)
    if not bare:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
