"""The service ports, opened and closed for the keeper."""

import logging

from plugins.ha.consensus import transitions
from plugins.ha.consensus.observation import Update
from plugins.ha.consensus.transitions import ServerEnd
from twistlock_console.common.clock import boottime_ns
from twistlock_console.common.errors import ConsoleError
from twistlock_console.events.types import ListenerFailed
from twistlock_console.servers.service_ports import ServicePorts

GRACE_SECONDS = 1.0
log = logging.getLogger(__name__)


class PortWork:
    """Opens and closes *ports*, and says what became of them."""

    def __init__(self, ports: ServicePorts) -> None:
        self._ports = ports

    def open(self) -> Update:
        """Open the ports and see that they answer.

        A server that fails is heard of by ``server_failed``, as one that ended.
        """
        try:
            self._ports.open_all()
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the sentence says it all
            if not self._ports.is_open:
                return _failed(ServerEnd("every server", str(error)), others_run=False)
        self._ports.checks.require_answers()
        return transitions.ports_opened

    def reopen(self) -> Update:
        """Open the servers that are closed; the others go on."""
        try:
            self._ports.open_all()
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the sentence says it all
        self._ports.checks.require_answers()
        closed = self._ports.closed()
        return lambda seen: transitions.servers_reopened(seen, closed)

    def server_failed(self, failure: ListenerFailed) -> Update:
        """Say that a server ended by itself or could not be opened."""
        end = ServerEnd(failure.name, failure.reason)
        return _failed(end, others_run=self._ports.is_open)

    def look(self) -> Update:
        """Say which servers are closed at the moment at which that is applied."""
        now, ports = boottime_ns(), self._ports
        return lambda seen: transitions.servers_seen(seen, ports.closed(), now)

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


def _failed(end: ServerEnd, *, others_run: bool) -> Update:
    now = boottime_ns()
    return lambda seen: transitions.server_failed(seen, end, now, others_run=others_run)
