"""TLS contexts of the nodes and their clients, with reload, and the peer's identity.

A context is reloaded when this node's certificates are renewed. Established connections
continue; each new one presents the new certificate.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import (
    AUTHORITY,
    CLUSTER_BUNDLE,
    CLUSTER_TRUST,
    NODE,
    NODE_KEY,
    REMEDY,
    UNREADABLE,
    read_certificate,
    read_key,
)

POLL_INTERVAL_S = 1.0
log = logging.getLogger(__name__)


class Usage(StrEnum):
    """The purpose for which a certificate of ours was issued."""

    NODE = "node"
    DEFENDER = "defender"


@dataclass(frozen=True, slots=True)
class Identity:
    """The contents of a peer's certificate; *usage* is None if it is neither of ours.

    It is valid from *begins*, if that is known, until *expires*.
    """

    usage: Usage | None
    common_name: str
    serial: int
    expires: datetime
    begins: datetime | None = None


def server_context(folder: Path, *, client: Usage | None) -> ssl.SSLContext:
    """Return the context of a server of this node.

    A server for nodes presents and accepts the files of `certificates`; one for
    Defenders accepts our first authority. Either authority may have issued to nodes and
    to Defenders, so the server must still compare peer_identity(...).usage with
    *client*.

    Args:
        folder: The folder of certificates.
        client: With a usage, clients need a certificate and TLS 1.3.

    Raises:
        IdentityError: A file is missing, damaged or expired.

    """
    if client is Usage.NODE:
        context = _context(ssl.PROTOCOL_TLS_SERVER, folder, CLUSTER_BUNDLE)
        _trust(context, folder, CLUSTER_TRUST)
    else:
        context = _context(ssl.PROTOCOL_TLS_SERVER, folder, NODE)
        _trust(context, folder, AUTHORITY)
    # A ticket could not be used after a failover, and costs a third of a handshake.
    context.num_tickets = 0
    if client is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(folder: Path) -> ssl.SSLContext:
    """Return the context of a client on this node; it checks the server's name.

    It may connect to any port of a node, so a server of either authority is trusted:
    neither issues a server's certificate to a Defender. A command that runs before the
    node of this release has started finds the files of the earlier one. Raises
    IdentityError.
    """
    is_old = not (folder / CLUSTER_BUNDLE).exists()
    shown = NODE if is_old else CLUSTER_BUNDLE
    context = _context(ssl.PROTOCOL_TLS_CLIENT, folder, shown)
    _trust(context, folder, AUTHORITY)
    if not is_old:
        _trust(context, folder, CLUSTER_TRUST)
    return context


def peer_identity(der: bytes) -> Identity:
    """Return the identity in the certificate *der*, which TLS has verified.

    Raises IdentityError if it cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        serial = certificate.serial_number
        name = _subject_attribute(certificate, NameOID.COMMON_NAME)
        unit = _subject_attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    except UNREADABLE as error:
        raise IdentityError("the peer's certificate cannot be read") from error
    usage = Usage(unit) if unit in Usage.__members__.values() else None
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Identity(usage, name, serial, expires, begins)


def _context(protocol: int, folder: Path, shown: str) -> ssl.SSLContext:
    # These two name the file and the problem, which OpenSSL does not.
    read_certificate(folder / shown)
    read_key(folder / NODE_KEY)
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(folder / shown, folder / NODE_KEY)
    except (ssl.SSLError, OSError) as error:
        raise IdentityError(
            f"{folder / shown} and {folder / NODE_KEY} do not belong together; "
            "restore both from a backup of this host"
        ) from error
    return context


def _trust(context: ssl.SSLContext, folder: Path, authorities: str) -> None:
    read_certificate(folder / authorities)
    try:
        context.load_verify_locations(folder / authorities)
    except (ssl.SSLError, OSError) as error:
        # OpenSSL refuses some certificates that the library above reads.
        raise IdentityError(f"{folder / authorities} is damaged; {REMEDY}") from error


def _subject_attribute(
    certificate: x509.Certificate, part: x509.ObjectIdentifier
) -> str:
    found = certificate.subject.get_attributes_for_oid(part)
    return str(found[0].value) if found else ""


class CertificateWatch:
    """Detects changes of the certificates and trusted authorities in *folder*.

    A missing file counts as unchanged.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [folder / name for name in (NODE, CLUSTER_BUNDLE, CLUSTER_TRUST)]
        self._known = [_file_version(file) for file in self._files]

    def changed(self) -> bool:
        """Return whether a file was replaced since the last call that returned True."""
        found = [_file_version(file) for file in self._files]
        versions = [new or old for new, old in zip(found, self._known, strict=True)]
        if versions == self._known:
            return False
        self._known = versions
        return True


def _file_version(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


class ReloadingTlsContext:
    """The context that *make* returns, reloaded when a certificate is replaced.

    The first call of *make* may raise IdentityError; a later failure is logged, and
    the previous context stays in use. *folder* holds the certificates.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], folder: Path) -> None:
        self._make = make
        self._watch = CertificateWatch(folder)
        self._context = make()

    def current(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        if self._watch.changed():
            try:
                self._context = self._make()
            except IdentityError as error:
                log.warning("the renewed certificate cannot be used: %s", error)
        return self._context


async def reload_on_change(
    context: ssl.SSLContext, folder: Path, renewed: Callable[[], object]
) -> None:
    """Load the certificate in *folder* into *context* whenever it is renewed.

    Calls *renewed* after each renewal. Runs until cancelled, on the event loop that
    uses *context*.
    """
    watch = CertificateWatch(folder)
    while True:
        await asyncio.sleep(POLL_INTERVAL_S)
        if watch.changed():
            try:
                context.load_cert_chain(folder / NODE, folder / NODE_KEY)
                renewed()
            except (OSError, IdentityError) as error:
                log.warning("the renewed certificate cannot be used: %s", error)
