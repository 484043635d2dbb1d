"""The node API: what peers and the local command line may ask of this node.

It is always open, on its own port, and speaks mutual TLS with nodes only; a
Defender's certificate comes from the same authority and is turned away.
"""

import logging
import ssl
import threading
from collections import Counter
from dataclasses import dataclass
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from typing import Any, cast

from flask import Flask, request
from flask.typing import ResponseReturnValue
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from twistlock_console.certificates import (
    Usage,
    fingerprint,
    peer_identity,
    server_context,
)
from twistlock_console.errors import (
    ConsoleError,
    DatabaseError,
    ListenerError,
    Removed,
)
from twistlock_console.followed_tls import FollowedContext
from twistlock_console.settings import Settings

HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 60.0
MOST_STRANGERS = 64
CALLER = "twistlock.caller"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The node that asks: the name in its certificate, and its key's fingerprint."""

    address: str
    fingerprint: str


def caller() -> Caller:
    """Who sent the present request."""
    return cast(Caller, request.environ[CALLER])


def node_app() -> Flask:
    """An application whose errors are JSON sentences, to hang routes on."""
    app = Flask("node_api")
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024

    @app.errorhandler(ConsoleError)
    def refused(error: ConsoleError) -> ResponseReturnValue:
        # 410: the caller shall not ask again; 503: it may, in a moment.
        match error:
            case Removed():
                return {"err": str(error)}, 410
            case DatabaseError():
                return {"err": str(error)}, 503
            case _:
                return {"err": str(error)}, 409

    @app.errorhandler(PyMongoError)
    def database_failed(error: PyMongoError) -> ResponseReturnValue:
        log.warning("%s: the database failed: %s", request.path, error)
        return {"err": "the database does not answer; try again in a moment"}, 503

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> ResponseReturnValue:
        return {"err": error.description or error.name}, error.code or 500

    return app


class _Handler(WSGIRequestHandler):
    """Quiet, persistent connections."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def make_environ(self) -> dict[str, Any]:
        """Add who asks."""
        return {**super().make_environ(), CALLER: _caller(self.connection)}

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of what went well; heartbeats come several a second."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Send the server's own words to our log."""
        log.debug(message, *args)


class _Strangers:
    """Connections that have not shown a certificate yet, a few an address.

    Each has a thread of the brain: a host that only connects must not have them all.
    """

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def let_in(self, address: str) -> bool:
        """Count one more; no if there are too many."""
        with self._lock:
            if self._open[address] >= MOST_STRANGERS:
                return False
            self._open[address] += 1
            return True

    def known(self, address: str) -> None:
        """Count one less: it has shown who it is, or is gone."""
        with self._lock:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]


class _Server(ThreadedWSGIServer):
    """Shakes hands on the connection's own thread, so a silent client stops no one."""

    request_queue_size = 128
    tls: FollowedContext
    strangers: _Strangers

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Turn away the address from which too many connect and say nothing."""
        return self.strangers.let_in(client_address[0])

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Shake hands, see that the caller is a node, then serve it."""
        try:
            request.settimeout(HANDSHAKE_SECONDS)
            secured = self.tls.now().wrap_socket(request, server_side=True)
        except (OSError, ValueError) as error:
            log.debug("no handshake with %s: %s", client_address, error)
            self.shutdown_request(request)
            return
        finally:
            self.strangers.known(client_address[0])
        if _is_node(secured):
            super().process_request_thread(secured, client_address)
        else:
            log.warning("turned away %s: not a node's certificate", client_address)
            self.shutdown_request(secured)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no error of ours."""
        log.debug("the connection of %s broke", client_address)


def _caller(connection: Any) -> Caller:
    der = connection.getpeercert(binary_form=True)
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return Caller(peer_identity(der).common_name, fingerprint(pem))


def _is_node(connection: ssl.SSLSocket) -> bool:
    der = connection.getpeercert(binary_form=True)
    return der is not None and peer_identity(der).usage is Usage.NODE


class NodeApi:
    """Serves *app* on the node's private addresses from threads of its own."""

    def __init__(self, settings: Settings, app: Flask) -> None:
        self._settings = settings
        self._app = app
        self._servers: list[_Server] = []

    def open(self) -> None:
        """Bind every private address and begin to serve.

        Raises ListenerError when an address cannot be bound.
        """
        if self._servers:
            return
        folder = self._settings.folders.certificates
        tls = FollowedContext(lambda: server_context(folder, client=Usage.NODE), folder)
        for address in self._settings.private_addresses:
            self._servers.append(self._serve(address, tls))

    def _serve(self, address: str, tls: FollowedContext) -> _Server:
        port = self._settings.high_availability_port
        listening = _listen(address, port)
        server = _Server(address, port, self._app, _Handler, fd=listening.fileno())
        listening.close()
        server.tls = tls
        server.strangers = _Strangers()
        server.daemon_threads = True
        threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.5},
            name=f"node-api-{address}",
            daemon=True,
        ).start()
        return server

    def close(self) -> None:
        """Free the port; requests in flight end with the process."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers.clear()


def _listen(address: str, port: int) -> socket:
    # Bound by us: the server's own bind ends the process when it fails.
    listening = socket()
    try:
        listening.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ListenerError(
            f"The node API cannot use {address}:{port}: {error.strerror}; "
            "free the port or set HIGH_AVAILABILITY_PORT"
        ) from error
    return listening
