"""The server below the node API: mutual TLS, and connections that stay.

One thread accepts connections and watches their deadlines. A connection has a thread of
its own from its TLS handshake on; one that sends nothing has none.
"""

import logging
import ssl
import threading
from http import HTTPStatus
from io import BytesIO
from socket import socket
from time import monotonic
from typing import Any, cast

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from twistlock_console.node_api.connections import (
    Caller,
    NodeConnection,
    NodeConnections,
)
from twistlock_console.node_api.gate import Cut, Gate, MemberAddresses
from twistlock_console.pki.certificates import Usage, fingerprint, peer_identity
from twistlock_console.pki.reloading_tls import FollowedContext
from twistlock_console.system.limited_log import LimitedLog

HANDSHAKE_TIMEOUT_S = 5.0
IDLE_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 10.0
"""From the first line of a request to the end of its body."""
ANSWER_TIMEOUT_S = 30.0
"""An answer must have been taken within this time."""
MOST_BYTES = 1024 * 1024
CALLER = "twistlock.caller"
THREAD_NAME = "node-api-connection"
log = logging.getLogger(__name__)


class Handler(WSGIRequestHandler):
    """Quiet, persistent connections: handshakes would cost far more than heartbeats."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Begin; who asks is known for the whole connection."""
        super().setup()
        self._node = cast(NodeServer, self.server).connection_of(self.connection)

    def make_environ(self) -> dict[str, Any]:
        """Add who asks."""
        return {**super().make_environ(), CALLER: self._node.caller}

    def handle_one_request(self) -> None:
        """Wait for a request, and answer it."""
        self._node.set_deadline(IDLE_TIMEOUT_S, idle=True)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the head of a request, whose first line has arrived."""
        self._node.set_deadline(REQUEST_TIMEOUT_S)
        return super().parse_request()

    def run_wsgi(self) -> None:
        """Answer one request, and be ready for the next.

        Werkzeug's own ends each connection, as it does not know where a body ends.
        """
        body = self._body()
        if body is None:
            return
        self._node.set_deadline(None)
        environ = {**self.make_environ(), "wsgi.input": BytesIO(body)}
        app = cast(NodeServer, self.server).app
        pieces, status, headers = run_wsgi_app(app, environ, buffered=True)
        self._node.set_deadline(ANSWER_TIMEOUT_S)
        self.send_response(*_status(status))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"".join(pieces))

    def _body(self) -> bytes | None:
        """What was sent; None, and the connection ends, if it cannot be read whole."""
        told = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not told.isdecimal():
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
        elif int(told) > MOST_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif len(body := self.rfile.read(int(told))) == int(told):
            return body
        self.close_connection = True
        return None

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of what went well; heartbeats come several a second."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Send the server's own words to our log."""
        log.debug(message, *args)


class NodeServer(BaseWSGIServer):
    """Serves *app* on the socket *fd*; shakes hands on each connection's own thread."""

    multithread = True

    def __init__(
        self,
        place: tuple[str, int],
        app: Any,
        tls: FollowedContext,
        members: MemberAddresses,
        fd: int,
    ) -> None:
        super().__init__(*place, app, Handler, fd=fd)
        self._tls = tls
        self._connections = NodeConnections(monotonic)
        self._refusals = LimitedLog()
        self._gate = Gate(
            self.socket, members, self._begin, self._connections.cut_overdue
        )

    def start(self) -> None:
        """Begin to serve, on threads of its own."""
        threading.Thread(
            target=self._gate.run, name=f"node-api-{self.host}", daemon=True
        ).start()

    def end(self) -> None:
        """Free the port, and end the connections that stand.

        A node that stops must look gone to the others, not frozen.
        """
        self._gate.stop()
        self.server_close()
        self._connections.close()

    def connection_of(self, secured: ssl.SSLSocket) -> NodeConnection:
        """Return what is known of a connection that is being served."""
        return self._connections.find(secured)

    def _begin(self, plain: socket, address: str) -> Cut:
        """Serve a connection on a thread of its own; returns what cuts it.

        Raises OSError.
        """
        # Blocking from now on: deadlines are watched by the gate's thread.
        plain.setblocking(True)
        try:
            secured = self._tls.now().wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            )
        except ValueError as error:
            raise OSError(f"no TLS: {error}") from error
        connection = self._connections.add(secured)
        connection.set_deadline(HANDSHAKE_TIMEOUT_S)
        arguments = (connection, plain, address)
        thread = threading.Thread(
            target=self._run, args=arguments, name=THREAD_NAME, daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            self._connections.remove(secured)
            secured.close()
            raise OSError(f"no thread: {error}") from error
        return connection.cut

    def _run(self, connection: NodeConnection, plain: socket, address: str) -> None:
        secured = connection.secured
        try:
            secured.do_handshake()
            if self._admit(connection, address):
                self._gate.establish(plain)
                self.finish_request(cast(Any, secured), (address, 0))
        except (OSError, ValueError) as error:
            log.debug("the connection of %s broke: %s", address, error)
        except Exception:
            log.exception("a request of %s failed", address)
        finally:
            self._gate.end(plain)
            self._connections.remove(secured)
            self.shutdown_request(cast(Any, secured))

    def _admit(self, connection: NodeConnection, address: str) -> bool:
        """Return whether the peer is a node that may have one more connection."""
        caller = _caller(connection.secured)
        if caller is None:
            reason = "it shows no node's certificate"
        elif not self._connections.admit(connection, caller):
            reason = "that node has too many connections"
        else:
            return True
        sentence = f"is turned away from the node API: {reason}"
        self._refusals.write(address, sentence, monotonic())
        return False


def _status(line: str) -> tuple[int, str]:
    code, _, words = line.partition(" ")
    return int(code), words


def _caller(connection: ssl.SSLSocket) -> Caller | None:
    """Return which node is at the other end; None if it is no node."""
    der = connection.getpeercert(binary_form=True)
    if der is None or peer_identity(der).usage is not Usage.NODE:
        return None
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return Caller(peer_identity(der).common_name, fingerprint(pem))
