"""What one writes first: poll `rs.status()`, and open the port while PRIMARY."""

import socketserver
import sys
import threading
import time

import pymongo
from pymongo.errors import PyMongoError

POLL_SECONDS = 2.0


class Store(socketserver.StreamRequestHandler):
    """Stores one document on a majority for each line that arrives."""

    def handle(self) -> None:
        """Answer the one line of this connection."""
        self.rfile.readline()
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            directConnection=True, timeoutMS=2000
        )
        with client:
            try:
                client.bench.get_collection(
                    "writes", write_concern=pymongo.WriteConcern("majority")
                ).insert_one({"at": time.time()})
            except PyMongoError:
                self.wfile.write(b"failed\n")
            else:
                self.wfile.write(b"stored\n")


class Server(socketserver.ThreadingTCPServer):
    """One connection a thread."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Poll for ever."""
    address, port = sys.argv[1], int(sys.argv[2])
    server: Server | None = None
    while True:
        primary = _is_primary()
        if primary and server is None:
            server = Server((address, port), Store)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        elif not primary and server is not None:
            server.shutdown()
            server.server_close()
            server = None
        time.sleep(POLL_SECONDS)


def _is_primary() -> bool:
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        directConnection=True, timeoutMS=1000
    )
    with client:
        try:
            return client.admin.command("replSetGetStatus")["myState"] == 1
        except PyMongoError:
            return False


if __name__ == "__main__":
    main()
