"""The service ports, opened and closed for the keeper."""

import logging

from plugins.ha import transitions
from plugins.ha.observation import Update
from twistlock_console.clock import boottime_ns
from twistlock_console.errors import ConsoleError
from twistlock_console.listeners.ports import ServicePorts

GRACE_SECONDS = 1.0
log = logging.getLogger(__name__)


class PortWork:
    """Opens and closes *ports*."""

    def __init__(self, ports: ServicePorts) -> None:
        self._ports = ports

    def open(self) -> Update:
        """Open the ports; if one cannot be, none is open."""
        try:
            self._ports.open_all()
        except ConsoleError as error:
            log.error("%s", error)  # noqa: TRY400  the sentence says it all
            now = boottime_ns()
            return lambda seen: transitions.ports_failed(seen, now)
        return transitions.ports_opened

    def close(self, *, drain: bool) -> Update:
        """Close the ports; *drain* gives requests in flight a moment.

        Raises ListenerError when a port still answers: the node then stays where
        it is, and takes no lease.
        """
        self._ports.close_all(grace=GRACE_SECONDS if drain else 0.0)
        return transitions.ports_closed
