"""The node API: what peers and the local command line may ask of this node.

It is always open, on its own port, and speaks mutual TLS with nodes only; a
Defender's certificate comes from the same authority and is turned away.
"""

import logging
from collections.abc import Collection
from socket import SO_REUSEADDR, SOL_SOCKET, socket
from typing import cast

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException

from twistlock_console.common.errors import (
    ConsoleError,
    DatabaseError,
    ListenerError,
    Removed,
)
from twistlock_console.node_api.connections import Caller
from twistlock_console.node_api.server import CALLER, MOST_BYTES, NodeServer
from twistlock_console.pki.certificates import Usage, server_context
from twistlock_console.pki.reloading_tls import FollowedContext
from twistlock_console.settings import Settings

log = logging.getLogger(__name__)


def caller() -> Caller:
    """Who sent the present request."""
    return cast(Caller, request.environ[CALLER])


def node_app() -> Flask:
    """An application whose errors are JSON sentences, to hang routes on."""
    app = Flask("node_api")
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

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

    app.after_request(_add_retry_after)
    return app


def _add_retry_after(response: Response) -> Response:
    if response.status_code == 503:
        response.headers.setdefault("Retry-After", "1")
    return response


class NodeApi:
    """Serves *app* on the node's private addresses from threads of its own."""

    def __init__(self, settings: Settings, app: Flask) -> None:
        self._settings = settings
        self._app = app
        self._servers: list[NodeServer] = []
        self._members: frozenset[str] = frozenset()

    def reserve_slots(self, members: Collection[str]) -> None:
        """Reserve slots for handshakes with these addresses, and with our own."""
        self._members = frozenset(members) | frozenset(self._settings.private_addresses)

    def open(self) -> None:
        """Bind every private address and begin to serve.

        Raises ListenerError when an address cannot be bound.
        """
        if self._servers:
            return
        self.reserve_slots(self._members)
        folder = self._settings.folders.certificates
        tls = FollowedContext(lambda: server_context(folder, client=Usage.NODE), folder)
        for address in self._settings.private_addresses:
            self._servers.append(self._serve(address, tls))

    def _serve(self, address: str, tls: FollowedContext) -> NodeServer:
        place = (address, self._settings.node_api_port)
        with _listen(*place) as listening:
            server = NodeServer(
                place, self._app, tls, lambda: self._members, listening.fileno()
            )
        server.start()
        return server

    def close(self) -> None:
        """Free the port; requests in flight get no answer."""
        for server in self._servers:
            server.end()
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
