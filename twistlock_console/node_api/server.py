"""The node API: the Flask application, its error responses, and the server.

It is always open, on its own port, and accepts nodes only, by mutual TLS; a Defender's
certificate may come from the same authority and is refused. One thread accepts
connections and watches their deadlines. A connection has a thread of its own from its
TLS handshake on; one that sends nothing has none.
"""

import logging
import ssl
import threading
from collections.abc import Collection
from http import HTTPStatus
from io import BytesIO
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from time import monotonic
from typing import Any, cast

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

from twistlock_console.common.errors import (
    ConsoleError,
    DatabaseError,
    ListenerError,
    Removed,
)
from twistlock_console.common.json_members import load_json
from twistlock_console.common.log_bounds import LimitedLog
from twistlock_console.node_api.connections import (
    Caller,
    NodeConnection,
    NodeConnections,
)
from twistlock_console.node_api.gate import Cut, Gate, MemberAddresses
from twistlock_console.pki.certificates import fingerprint
from twistlock_console.pki.tls import (
    ReloadingTlsContext,
    Usage,
    peer_identity,
    server_context,
)
from twistlock_console.settings import Settings

HANDSHAKE_TIMEOUT_S = 5.0
IDLE_TIMEOUT_S = 60.0
REQUEST_TIMEOUT_S = 10.0
"""From the first line of a request to the end of its body."""
ANSWER_TIMEOUT_S = 30.0
"""The client must have read its answer within this time."""
MAX_BODY_BYTES = 1024 * 1024
MAX_LENGTH_DIGITS = 20
CALLER = "twistlock.caller"
THREAD_NAME = "node-api-connection"
log = logging.getLogger(__name__)


def caller() -> Caller:
    """Return the node that sent the current request."""
    return cast(Caller, request.environ[CALLER])


def sent_json() -> object:
    """Return the JSON that the present request sent; None if it sent none."""
    try:
        return load_json(request.get_data()) if request.is_json else None
    except ValueError:
        return None


def node_app() -> Flask:
    """Return a Flask application without routes, whose errors are JSON."""
    app = Flask("node_api")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    @app.errorhandler(ConsoleError)
    def refused(error: ConsoleError) -> ResponseReturnValue:
        # 410: the caller must not retry; 503: it may retry in a moment.
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

    app.after_request(_add_retry_after)
    return app


def _add_retry_after(response: Response) -> Response:
    if response.status_code == 503:
        response.headers.setdefault("Retry-After", "1")
    return response


class NodeApi:
    """Serves *app* on the node's private addresses, on threads of its own."""

    def __init__(self, settings: Settings, app: Flask) -> None:
        self._settings = settings
        self._app = app
        self._servers: list[NodeServer] = []
        self._members: frozenset[str] = frozenset()

    def reserve_slots(self, members: Collection[str]) -> None:
        """Reserve slots for handshakes with these addresses, and with our own."""
        self._members = frozenset(members) | frozenset(self._settings.private_addresses)

    def open(self) -> None:
        """Bind every private address and start to serve.

        Raises ListenerError if an address cannot be bound.
        """
        if self._servers:
            return
        self.reserve_slots(self._members)
        folder = self._settings.folders.certificates
        tls = ReloadingTlsContext(
            lambda: server_context(folder, client=Usage.NODE), folder
        )
        for address in self._settings.private_addresses:
            self._servers.append(self._serve(address, tls))

    def _serve(self, address: str, tls: ReloadingTlsContext) -> "NodeServer":
        place = (address, self._settings.node_api_port)
        with _listen(*place) as listening:
            server = NodeServer(
                place, self._app, tls, lambda: self._members, listening.fileno()
            )
        server.start()
        return server

    def close(self) -> None:
        """Close the ports; requests in flight get no answer."""
        for server in self._servers:
            server.stop()
        self._servers.clear()


def _listen(address: str, port: int) -> socket:
    # Bound here, since the bind of BaseWSGIServer exits the process when it fails.
    listening = socket()
    try:
        listening.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise ListenerError(
            f"the node API cannot listen on {address}:{port}: {error.strerror}; "
            "free the port or set HIGH_AVAILABILITY_PORT"
        ) from error
    return listening


class Handler(WSGIRequestHandler):
    """Serves one persistent connection: a handshake per heartbeat would cost more."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        """Find the entry of this connection, with its caller."""
        super().setup()
        self._node = cast(NodeServer, self.server).connection_of(self.connection)

    def make_environ(self) -> dict[str, Any]:
        """Add the caller to the WSGI environment."""
        return {**super().make_environ(), CALLER: self._node.caller}

    def handle_one_request(self) -> None:
        """Wait for a request, and answer it."""
        self._node.set_deadline(IDLE_TIMEOUT_S, idle=True)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Parse the head of a request, whose first line has arrived."""
        self._node.set_deadline(REQUEST_TIMEOUT_S)
        return super().parse_request()

    def run_wsgi(self) -> None:
        """Answer one request, and keep the connection for the next.

        Werkzeug's own closes each connection, as it does not know where a body ends.
        """
        body = self._body()
        if body is None:
            return
        self._node.set_deadline(None)
        try:
            environ = {**self.make_environ(), "wsgi.input": BytesIO(body)}
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "The address cannot be read")
            return
        app = cast(NodeServer, self.server).app
        pieces, status, headers = run_wsgi_app(app, environ, buffered=True)
        self._node.set_deadline(ANSWER_TIMEOUT_S)
        self.send_response(*_status(status))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"".join(pieces))

    def _body(self) -> bytes | None:
        """Read the body; return None, and close the connection, if that fails."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
        elif len(length) > MAX_LENGTH_DIGITS or int(length) > MAX_BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif len(body := self.rfile.read(int(length))) == int(length):
            return body
        self.close_connection = True
        return None

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: heartbeats arrive several times a second."""

    def log(self, type: str, message: str, *args: object) -> None:
        """Log the messages of the server at level DEBUG."""
        log.debug(message, *args)


class NodeServer(BaseWSGIServer):
    """Serves *app* on the socket *fd*, each connection on a thread of its own."""

    multithread = True

    def __init__(
        self,
        place: tuple[str, int],
        app: Flask,
        tls: ReloadingTlsContext,
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
        """Start to serve, on a thread of its own."""
        threading.Thread(
            target=self._gate.run, name=f"node-api-{self.host}", daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port and all connections.

        The other nodes must see that a node that stops is gone, not frozen.
        """
        self._gate.stop()
        self.server_close()
        self._connections.close()

    def connection_of(self, secured: ssl.SSLSocket) -> NodeConnection:
        """Return the entry of a connection that is being served."""
        return self._connections.find(secured)

    def _begin(self, plain: socket, address: str) -> Cut:
        """Serve a connection on a thread of its own.

        Returns:
            The function that cuts it.

        Raises:
            OSError: No TLS, or no thread, could be started.

        """
        # Blocking from now on: deadlines are watched by the gate's thread.
        plain.setblocking(True)
        try:
            secured = self._tls.current().wrap_socket(
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
                self.finish_request(secured, (address, 0))
        except (OSError, ValueError) as error:
            log.debug("the connection of %s broke: %s", address, error)
        except Exception:
            log.exception("a request of %s failed", address)
        finally:
            self._gate.release(plain)
            self._connections.remove(secured)
            self.shutdown_request(secured)

    def _admit(self, connection: NodeConnection, address: str) -> bool:
        """Return whether the peer is a node with fewer connections than the limit."""
        caller = _identify(connection.secured)
        if caller is None:
            reason = "its certificate is not a node's"
        elif not self._connections.admit(connection, caller):
            reason = "that node has too many connections"
        else:
            return True
        sentence = f"connection to the node API refused: {reason}"
        self._refusals.write(address, sentence, monotonic())
        return False


def _status(line: str) -> tuple[int, str]:
    code, _, words = line.partition(" ")
    return int(code), words


def _identify(connection: ssl.SSLSocket) -> Caller | None:
    """Return the node that the peer's certificate names; None if it names no node."""
    der = connection.getpeercert(binary_form=True)
    if der is None or peer_identity(der).usage is not Usage.NODE:
        return None
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    return Caller(peer_identity(der).common_name, fingerprint(pem))
