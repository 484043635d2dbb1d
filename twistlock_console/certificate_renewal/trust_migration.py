"""Migrate this node from the one authority of earlier releases to the cluster's own.

Each node advances by itself, one phase at a time, when all other nodes have reached and
use its phase (`pki/trust_phase`). So no node ever presents a certificate that another
does not accept, and established connections continue.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from twistlock_console.certificate_renewal.renewal import NodeCertificateRenewer
from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.node_api.client import NodeClient
from twistlock_console.pki.certificates import stored_phase
from twistlock_console.pki.trust_phase import TrustPhase, next_phase
from twistlock_console.settings import Settings

#: The servers and clients of a node reload its files within two seconds.
SETTLE_TIME_S = 5
REQUEST_TIMEOUT_S = 2.0
PATH = "/v1/certificates"
log = logging.getLogger(__name__)


class TrustMigration:
    """Advances the trust phase; the scheduler calls `advance`, peers `settled_phase`.

    *peers* returns the addresses of the other nodes, or raises DatabaseError if they
    are not known now: then this node stays in its phase.
    """

    def __init__(self, settings: Settings, renewal: NodeCertificateRenewer) -> None:
        self._settings = settings
        self._renewal = renewal
        self._lock = threading.Lock()
        self._phase = TrustPhase.UNKNOWN
        self._since = 0
        self._logged = ""
        self.peers: Callable[[], Sequence[str]] = lambda: ()

    def settled_phase(self) -> TrustPhase:
        """Return the last phase that all of this node's processes are in."""
        with self._lock:
            phase = stored_phase(self._settings.folders.certificates)
            if phase is not self._phase:
                self._phase, self._since = phase, boottime_ns()
            settled = boottime_ns() - self._since >= SETTLE_TIME_S * SECOND
        if settled and self._renewal.is_in_force:
            return phase
        return TrustPhase(max(phase - 1, TrustPhase.UNKNOWN))

    def advance(self) -> None:
        """Enter the next phase if that is due; log a problem once."""
        phase = stored_phase(self._settings.folders.certificates)
        if phase is TrustPhase.CLUSTER_ONLY or self.settled_phase() is not phase:
            return
        try:
            others = {address: self._fetch_phase(address) for address in self.peers()}
            if following := next_phase(phase, others.values()):
                self._renewal.enter_phase(following)
                log.info("entered phase %s of the trust migration", following.name)
                return
            behind = [address for address, other in others.items() if other < phase]
            self._log_once(f"waiting for {', '.join(behind)}")
        except ConsoleError as error:
            self._log_once(str(error))

    def _fetch_phase(self, address: str) -> TrustPhase:
        try:
            with NodeClient(
                self._settings, address, timeout=REQUEST_TIMEOUT_S
            ) as client:
                return TrustPhase(client.get(PATH)["phase"])
        except (ConsoleError, KeyError, TypeError, ValueError) as error:
            # It is down, or its release is an earlier one.
            log.debug("the phase of %s is not known: %s", address, error)
            return TrustPhase.UNKNOWN

    def _log_once(self, reason: str) -> None:
        if reason != self._logged:
            log.info("the trust migration waits: %s", reason)
        self._logged = reason
