"""The service ports, opened and closed for the keeper."""

import logging

from plugins.ha.consensus import transitions
from plugins.ha.consensus.observation import Update
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import ConsoleError, ListenerError
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.servers.supervisor.self_check import INITIALIZED, PING, OwnPages
from twistlock_console.settings import Settings

GRACE_SECONDS = 1.0
CHECK_SECONDS = 2.0
SILENCES = 3
log = logging.getLogger(__name__)


class PortWork:
    """Opens and closes *ports*, and looks whether they answer."""

    def __init__(self, settings: Settings, ports: ServicePorts) -> None:
        self._pages = OwnPages(settings)
        self._ports = ports
        self._silences = 0

    def open(self) -> Update:
        """Open the ports and see that they answer; if one does not, none is open."""
        try:
            self._ports.open_all()
            self._expect_an_answer()
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the sentence says it all
            return _failed()
        self._silences = 0
        return transitions.ports_opened

    def check(self) -> Update | None:
        """See that the pages of open ports still answer, database and all.

        What changes when they did not, several times in a row: a primary that
        serves nobody has to make way.
        """
        if self._pages.answer(INITIALIZED, CHECK_SECONDS):
            self._silences = 0
            return None
        self._silences += 1
        log.warning("our own pages do not answer (%d in a row)", self._silences)
        return _failed() if self._silences >= SILENCES else None

    def _expect_an_answer(self) -> None:
        if not self._pages.answer(PING, CHECK_SECONDS):
            self._ports.close_all()
            raise ListenerError("the service ports are open and do not answer")

    def close(self, *, drain: bool) -> Update:
        """Close the ports; *drain* gives requests in flight a moment.

        While one still answers the node takes no lease, and tries again.
        """
        try:
            self._ports.close_all(grace=GRACE_SECONDS if drain else 0.0)
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the sentence says it all
            now = boottime_ns()
            return lambda seen: transitions.ports_stuck(seen, now)
        return transitions.ports_closed


def _failed() -> Update:
    now = boottime_ns()
    return lambda seen: transitions.ports_failed(seen, now)
