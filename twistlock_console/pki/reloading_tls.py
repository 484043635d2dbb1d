"""TLS contexts that follow this node's certificate when it is renewed.

Connections that stand go on as they are; each new one shows the new certificate.
Nobody has to be told: whoever uses a context looks at the file first.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import NODE, NODE_KEY

LOOK_EVERY_SECONDS = 1.0
log = logging.getLogger(__name__)


class CertificateWatch:
    """Notices that the node's certificate in *folder* was replaced."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / NODE
        self._known = self._version()

    def changed(self) -> bool:
        """Whether it was replaced since the last call that said so."""
        version = self._version()
        if version in (None, self._known):
            return False
        self._known = version
        return True

    def _version(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns


class FollowedContext:
    """What *make* gives, made anew when the certificate in *folder* was replaced.

    Making it raises IdentityError at first; later that is logged, and the context
    of before goes on being used.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], folder: Path) -> None:
        self._make = make
        self._watch = CertificateWatch(folder)
        self._context = make()

    def now(self) -> ssl.SSLContext:
        """The context for the next connection."""
        if self._watch.changed():
            try:
                self._context = self._make()
            except IdentityError as error:
                log.warning("the renewed certificate cannot be used: %s", error)
        return self._context


async def follow(
    context: ssl.SSLContext, folder: Path, renewed: Callable[[], object]
) -> None:
    """Keep *context*, which only this loop uses, at the certificate in *folder*.

    Calls *renewed* after each renewal. Runs until cancelled.
    """
    watch = CertificateWatch(folder)
    while True:
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        if watch.changed():
            try:
                context.load_cert_chain(folder / NODE, folder / NODE_KEY)
                renewed()
            except (OSError, IdentityError) as error:
                log.warning("the renewed certificate cannot be used: %s", error)
