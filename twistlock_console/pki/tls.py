"""TLS of the nodes and their clients: contexts, renewed ones, and the peer's identity.

A context follows this node's certificates when they are renewed. Connections that stand
go on as they are; each new one shows the new certificate.
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
    read_certificate,
    read_key,
)

POLL_INTERVAL_S = 1.0
log = logging.getLogger(__name__)


class Usage(StrEnum):
    """What a certificate of ours was issued for."""

    NODE = "node"
    DEFENDER = "defender"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who holds a certificate; *usage* is None if it is neither of ours.

    It is valid from *begins*, if that is known, until *expires*.
    """

    usage: Usage | None
    common_name: str
    serial: int
    expires: datetime
    begins: datetime | None = None


def server_context(folder: Path, *, client: Usage | None) -> ssl.SSLContext:
    """Make the context of a server of this node.

    With *client*, a certificate is demanded and TLS is 1.3. A server for nodes shows
    and accepts what `certificates` says; one for Defenders accepts what our first
    authority issued. That one issues to nodes too, and so may the former while a
    cluster moves to its own authority: the server must still compare
    peer_identity(...).usage with *client*. Raises IdentityError.
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
    """Make the context of a client that is this node; names are checked.

    It may ask any port of a node, so a server of either authority is trusted: neither
    issues a server's certificate to a Defender. A command that runs before the node of
    this release has started finds the files of the earlier one. Raises IdentityError.
    """
    is_old = not (folder / CLUSTER_BUNDLE).exists()
    shown = NODE if is_old else CLUSTER_BUNDLE
    context = _context(ssl.PROTOCOL_TLS_CLIENT, folder, shown)
    _trust(context, folder, AUTHORITY)
    if not is_old:
        _trust(context, folder, CLUSTER_TRUST)
    return context


def peer_identity(der: bytes) -> Identity:
    """Return whose certificate *der* is; TLS has verified it before.

    Raises IdentityError if it cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        serial = certificate.serial_number
        name = _subject_attribute(certificate, NameOID.COMMON_NAME)
        unit = _subject_attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    except (ValueError, TypeError) as error:
        raise IdentityError("the peer's certificate cannot be read") from error
    usage = Usage(unit) if unit in Usage.__members__.values() else None
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Identity(usage, name, serial, expires, begins)


def _context(protocol: int, folder: Path, shown: str) -> ssl.SSLContext:
    # These two say what is wrong with a file, which OpenSSL does not.
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
    context.load_verify_locations(folder / authorities)


def _subject_attribute(
    certificate: x509.Certificate, part: x509.ObjectIdentifier
) -> str:
    found = certificate.subject.get_attributes_for_oid(part)
    return str(found[0].value) if found else ""


class CertificateWatch:
    """Notices that a certificate of the node in *folder*, or whom it accepts, changed.

    A file that is missing has not changed.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [folder / name for name in (NODE, CLUSTER_BUNDLE, CLUSTER_TRUST)]
        self._known = [_file_version(file) for file in self._files]

    def changed(self) -> bool:
        """Return whether one was replaced since the last call that said so."""
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
    """The context that *make* returns; made again when the certificate is replaced.

    Making it raises IdentityError at first; later that is logged, and the context
    of before goes on being used.
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
    """Keep *context*, which only this loop uses, at the certificate in *folder*.

    Calls *renewed* after each renewal. Runs until cancelled.
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
