"""Renew this node's certificates when they expire soon, or need other names.

The key stays, and with it the pin, the fingerprint and the identity of this node.
Nothing is interrupted: servers and clients reload the files (`pki.tls`), mongod gets
the command to reload them, and established connections continue.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from pymongo.errors import PyMongoError

from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import ConsoleError, DatabaseError, IdentityError
from twistlock_console.database.client import (
    connect,
    reload_certificate,
    root_credentials,
)
from twistlock_console.pki.certificates import (
    enter_phase,
    issue_node_certificate,
    node_names,
)
from twistlock_console.pki.identity_files import (
    CLUSTER_BUNDLE,
    NODE,
    load_certificate,
    names_in,
)
from twistlock_console.pki.trust_phase import TrustPhase
from twistlock_console.settings import Settings

#: Before the pages warn (`identity_files.EXPIRY_WARNING_PERIOD`): they warn only if
#: the renewal failed.
RENEW_BEFORE = timedelta(days=100)
ROTATE_TIMEOUT_MS = 10_000
log = logging.getLogger(__name__)


def renewal_reason(
    certificate: x509.Certificate, wanted: Sequence[str], now: datetime
) -> str | None:
    """Return why *certificate* must be renewed for the names *wanted*; None if not."""
    left = certificate.not_valid_after_utc - now
    if left < RENEW_BEFORE:
        return f"it expires in {left.days} days"
    if now < certificate.not_valid_before_utc:
        return "it is not valid yet"
    if names_in(certificate) != set(wanted):
        return "its names have changed"
    return None


@dataclass(frozen=True, slots=True)
class RenewedCertificate:
    """The response of the node API: the certificate's names and its expiry time."""

    names: list[str]
    expires: str


class NodeCertificateRenewer:
    """Renews this node's certificate when it is due, or on request; any thread.

    *more_names* returns the current names that are not in twistlock.cfg, or raises
    DatabaseError if they are not known: then the names stay.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.folders.certificates
        self._lock = threading.Lock()
        self._is_loaded_by_mongod = True
        self._logged_problem = ""
        self.more_names: Callable[[], Sequence[str]] = lambda: ()

    def renew_if_due(self) -> None:
        """Renew the certificate if it is due, for the scheduler; log a problem once."""
        try:
            self._renew_if_due()
        except ConsoleError as error:
            if str(error) != self._logged_problem:
                log.warning("renewing the certificate failed: %s", error)
            self._logged_problem = str(error)
        else:
            self._logged_problem = ""

    def _renew_if_due(self) -> None:
        with self._lock:
            certificate = load_certificate(self._folder / NODE)
            try:
                wanted = self._names()
            except DatabaseError:
                # The first one is the common name, this node's address.
                mine = self._settings.node_address
                found = sorted(names_in(certificate))
                wanted = sorted(found, key=lambda name: name != mine)
            now = datetime.now(UTC)
            for file in (NODE, CLUSTER_BUNDLE):
                used = load_certificate(self._folder / file)
                if reason := renewal_reason(used, wanted, now):
                    self._renew(wanted, reason)
                    break
            if not self._is_loaded_by_mongod:
                self._reload_mongod()

    @property
    def is_in_force(self) -> bool:
        """Return whether mongod has loaded the certificate that was issued last."""
        return self._is_loaded_by_mongod

    def enter_phase(self, phase: TrustPhase) -> None:
        """Present and accept the certificates of *phase* from now on.

        Raises IdentityError, DatabaseError.
        """
        with self._lock:
            self._is_loaded_by_mongod = False
            enter_phase(self._folder, phase)
            reload_certificate(self._settings)
            self._reload_mongod()

    def expires(self) -> str | None:
        """Return when this node's certificate expires; None if it cannot be read."""
        try:
            found = load_certificate(self._folder / NODE)
        except IdentityError:
            return None
        return found.not_valid_after_utc.isoformat(timespec="seconds")

    def renew(self, reason: str) -> x509.Certificate:
        """Issue the certificate again now, and reload it everywhere.

        Raises IdentityError, DatabaseError.
        """
        with self._lock:
            self._renew(self._names(), reason)
            self._reload_mongod()
            return load_certificate(self._folder / NODE)

    def _names(self) -> list[str]:
        own = node_names(self._settings, self._settings.node_address)
        return list(dict.fromkeys([*own, *self.more_names()]))

    def _renew(self, names: Sequence[str], reason: str) -> None:
        self._is_loaded_by_mongod = False
        issue_node_certificate(self._folder, names)
        reload_certificate(self._settings)
        log.info("renewed the certificate for %s: %s", ", ".join(names), reason)

    def _reload_mongod(self) -> None:
        """Reload the certificate in our mongod; the next run retries a failure."""
        root = root_credentials(self._settings)
        try:
            with connect(
                self._settings, root, app_name="renewal", timeout_ms=ROTATE_TIMEOUT_MS
            ) as client:
                client.admin.command("rotateCertificates", 1)
        except PyMongoError as error:
            raise DatabaseError(
                "mongod has not loaded the renewed certificate; retrying: "
                f"{describe_error(error)}"
            ) from error
        self._is_loaded_by_mongod = True
