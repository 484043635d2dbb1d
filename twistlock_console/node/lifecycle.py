"""Start and end the node process: lock, identity and signals."""

import fcntl
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from select import select
from socket import socketpair
from types import FrameType

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import Interrupted, SettingsError
from twistlock_console.database.bootstrap import prepare_secrets
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import (
    complete_cluster_identity,
    issue_node_certificate,
    node_names,
)
from twistlock_console.pki.identity_files import NODE, load_certificate, names_in
from twistlock_console.settings import Folders, Settings

log = logging.getLogger(__name__)


@contextmanager
def lock_data_folder(folders: Folders) -> Iterator[None]:
    """Lock the data folder for this process.

    Raises SettingsError if another process holds it, or if it cannot be used.
    """
    try:
        folders.create()
        lock = os.open(folders.run / "node.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"DATA_FOLDER {folders.root} cannot be used: {error.filename}: "
            f"{describe_error(error)}; see that its disk is mounted, is not full and "
            "can be written, and give all in it to the account that runs the Console"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise SettingsError(
            f"Another Console runs on {folders.root} already; stop it first or set "
            "another DATA_FOLDER."
        ) from error
    try:
        yield
    finally:
        os.close(lock)


def create_identity(settings: Settings, names: list[str]) -> None:
    """Create the identity of a first node: authority, certificate, secrets.

    Does nothing where they exist; raises IdentityError if some are unusable.
    """
    certificates = settings.folders.certificates
    if not (certificates / NODE).exists():
        create_authority(certificates)
        issue_node_certificate(certificates, names)
        log.info("created a certificate authority and this node's certificate")
    prepare_secrets(settings.folders)


def ensure_certificate_current(settings: Settings) -> None:
    """Issue this node's certificates again if they expired or lack a name.

    Superfluous names stay until the database says which ones are wanted (`renewal`).
    The folder of an earlier release gets the files that it lacks.
    """
    folder = settings.folders.certificates
    found = load_certificate(folder / NODE)
    names = node_names(settings, settings.node_address)
    now = datetime.now(UTC)
    in_time = found.not_valid_before_utc <= now < found.not_valid_after_utc
    if in_time and names_in(found).issuperset(names):
        complete_cluster_identity(folder)
        return
    issue_node_certificate(folder, names)
    log.info("issued this node's certificate again, for %s", ", ".join(names))


class Signals:
    """Waits for the signal that ends the node; for the main thread alone.

    The kernel may deliver a signal to any thread, and Python runs the handler when the
    main thread next runs; one that waits for a lock may not run for a long time. So it
    waits for the byte that the interpreter writes for a signal of any thread.
    """

    def __init__(self) -> None:
        self._ended = False
        self._woken, waker = socketpair()
        self._woken.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del frame
        log.info("stopping on %s", signal.Signals(number).name)
        self._ended = True

    def pause(self, seconds: float) -> None:
        """Wait *seconds*; raise Interrupted if a signal arrives meanwhile."""
        self._wait_for_signal(seconds)
        if self._ended:
            raise Interrupted("stopped before this node had joined a cluster")

    @property
    def has_arrived(self) -> bool:
        """Return whether a signal asked the program to end."""
        return self._ended

    def wait_for(self, seconds: float) -> bool:
        """Wait *seconds* for a signal; return whether one arrived."""
        self._wait_for_signal(seconds)
        return self._ended

    def wait(self) -> None:
        """Wait until a signal arrives."""
        while not self._ended:
            self._wait_for_signal(3600)

    def _wait_for_signal(self, seconds: float) -> None:
        select([self._woken], [], [], 0 if self._ended else seconds)
        with suppress(BlockingIOError):
            self._woken.recv(64)
