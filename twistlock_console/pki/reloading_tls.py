"""TLS contexts that follow this node's certificates when they are renewed.

Connections that stand go on as they are; each new one shows the new certificate.
Nobody has to be told: whoever uses a context looks at the file first.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from twistlock_console.common.errors import IdentityError
from twistlock_console.pki.identity_files import (
    CLUSTER_BUNDLE,
    CLUSTER_TRUST,
    NODE,
    NODE_KEY,
)

LOOK_EVERY_SECONDS = 1.0
log = logging.getLogger(__name__)


class CertificateWatch:
    """Notices that a certificate of the node in *folder*, or whom it accepts, changed.

    A file that is missing has not changed.
    """

    def __init__(self, folder: Path) -> None:
        self._files = [folder / name for name in (NODE, CLUSTER_BUNDLE, CLUSTER_TRUST)]
        self._known = [_version(file) for file in self._files]

    def changed(self) -> bool:
        """Return whether one was replaced since the last call that said so."""
        found = [_version(file) for file in self._files]
        versions = [new or old for new, old in zip(found, self._known, strict=True)]
        if versions == self._known:
            return False
        self._known = versions
        return True


def _version(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
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
