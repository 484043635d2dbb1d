"""Define the limits of requests that server and application share.

The server passes its load to the application in each request's environment.
"""

from dataclasses import dataclass

#: The maximum body of a request without a login.
MAX_OPEN_BODY_BYTES = 64 * 1024
NEEDS_LENGTH = (
    "send a Content-Length; a body whose length is unknown is accepted only from an "
    "account that is logged in"
)
#: The environment's key for the server's ServerLoad.
SERVER_LOAD = "twistlock.server_load"


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """The load of a server; counters start at 0 with its process."""

    threads: int = 0
    busy_threads: int = 0
    waiting_requests: int = 0
    waiting_logins: int = 0
    connections: int = 0
    max_connections: int = 0
    refused_connections: int = 0
    timed_out_requests: int = 0
    refused_requests: int = 0
    pings: int = 0

    @property
    def is_full(self) -> bool:
        """Return whether a request would have to wait, or a connection be closed."""
        no_thread = self.threads > 0 and self.busy_threads >= self.threads
        return no_thread or 0 < self.max_connections <= self.connections
