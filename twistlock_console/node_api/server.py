"""The server below the node API: mutual TLS, and connections that stay.

A thread for each connection; who is silent, or no node, keeps none for long.
"""

import logging
import ssl
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from socket import SHUT_RDWR
from typing import Any, cast

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from twistlock_console.pki.certificates import Usage, fingerprint, peer_identity
from twistlock_console.pki.reloading_tls import FollowedContext

HANDSHAKE_SECONDS = 5.0
IDLE_SECONDS = 60.0
MOST_STRANGERS = 64
MOST_BYTES = 1024 * 1024
CALLER = "twistlock.caller"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The node that asks: the name in its certificate, and its key's fingerprint."""

    address: str
    fingerprint: str


class Handler(WSGIRequestHandler):
    """Quiet, persistent connections: handshakes would cost far more than heartbeats."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Begin, and see who asks: that holds for the whole connection."""
        super().setup()
        self._caller = _caller(self.connection)

    def make_environ(self) -> dict[str, Any]:
        """Add who asks."""
        return {**super().make_environ(), CALLER: self._caller}

    def run_wsgi(self) -> None:
        """Answer one request, and be ready for the next.

        Werkzeug's own ends each connection, as it does not know where a body ends.
        """
        body = self._body()
        if body is None:
            return
        environ = {**self.make_environ(), "wsgi.input": BytesIO(body)}
        app = cast(NodeServer, self.server).app
        pieces, status, headers = run_wsgi_app(app, environ, buffered=True)
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


class Strangers:
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


class NodeServer(ThreadedWSGIServer):
    """Shakes hands on the connection's own thread, so a silent client stops no one."""

    request_queue_size = 128
    tls: FollowedContext
    strangers: Strangers

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._standing: set[ssl.SSLSocket] = set()
        self._closed = False

    def end(self) -> None:
        """Free the port, and end the connections that stand.

        A node that stops must look gone to the others, not frozen.
        """
        self._closed = True
        self.shutdown()
        self.server_close()
        for connection in list(self._standing):
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for the connection."""
        try:
            super().process_request(request, client_address)
        except BaseException:
            self.strangers.known(client_address[0])
            raise

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
        if not _is_node(secured):
            log.warning("turned away %s: not a node's certificate", client_address)
            self.shutdown_request(secured)
            return
        self._standing.add(secured)
        if self._closed:
            self.shutdown_request(secured)
        else:
            super().process_request_thread(secured, client_address)
        self._standing.discard(secured)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away is no error of ours."""
        log.debug("the connection of %s broke", client_address)


def _status(line: str) -> tuple[int, str]:
    code, _, words = line.partition(" ")
    return int(code), words


def _caller(connection: Any) -> Caller:
    der = connection.getpeercert(binary_form=True)
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return Caller(peer_identity(der).common_name, fingerprint(pem))


def _is_node(connection: ssl.SSLSocket) -> bool:
    der = connection.getpeercert(binary_form=True)
    return der is not None and peer_identity(der).usage is Usage.NODE
