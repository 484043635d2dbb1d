"""Clients that come while the ports open are answered or refused, never cut off."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import read_answer, send_request, tls_client
from twistlock_console.common.errors import ListenerError
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings

OPENINGS = 6
#: So long the server works on each request: it is under way when something fails.
PATH = "/sleep/0.2"


def ask(port: int) -> str:
    """Ask for one page; say how it ended."""
    try:
        # From another address: between two of one a socket may connect to itself while
        # nothing listens, and then it receives its own handshake.
        client = tls_client(port, source="127.0.0.3")
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return f"cut in the handshake: {error}"
    with client:
        try:
            send_request(client, PATH)
            return str(read_answer(client)[0])
        except OSError as error:
            return f"cut without an answer: {error}"


class Crowd:
    """Clients that ask for pages again and again until they are stopped."""

    def __init__(self, settings: Settings) -> None:
        self.seen: Counter[str] = Counter()
        self._stopped = threading.Event()
        ports = (settings.management_port_https, settings.management_port_ui or 0)
        self._threads = [
            threading.Thread(target=self._run, args=(port,)) for port in ports * 2
        ]

    def _run(self, port: int) -> None:
        while not self._stopped.is_set():
            self.seen[ask(port)] += 1
            self._stopped.wait(0.001)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Have them ask; at the end each has its last answer."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in self._threads:
                thread.join()

    def was_answered(self, times: int) -> Callable[[], bool]:
        """Make the question whether so many requests were answered."""
        return lambda: self.seen["200"] >= times


def test_a_request_while_the_ports_open_is_answered_or_refused(
    ports: ServicePorts, settings: Settings
) -> None:
    """From the first moment at which a connection is accepted."""
    for _ in range(OPENINGS):
        crowd = Crowd(settings)
        with crowd.asking():
            ports.open_all()
            assert eventually(crowd.was_answered(4), 20)
        ports.close_all()

        assert set(crowd.seen) <= {"refused", "200"}, crowd.seen


def test_a_server_that_cannot_open_cuts_no_page(
    ports: ServicePorts, settings: Settings
) -> None:
    """Pages that were asked for meanwhile are given, and go on being given."""
    crowd = Crowd(settings)
    taken = ("127.0.0.1", settings.communication_port)
    with socket.create_server(taken), crowd.asking():
        with pytest.raises(ListenerError, match="Address already in use"):
            ports.open_all()
        answered = crowd.seen["200"]
        assert eventually(crowd.was_answered(answered + 4), 20)

    assert set(crowd.seen) <= {"refused", "200"}, crowd.seen
