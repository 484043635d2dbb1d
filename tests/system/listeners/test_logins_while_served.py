"""Logins wait for each other, in a server that serves everybody else meanwhile."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import get, read_answer, tls_client
from tests.listeners.served_here import served
from tests.listeners.small_app import released
from twistlock_console.servers.management import dispatcher, limits
from twistlock_console.servers.management.client_bounds import QueueLimits

FLOOD, OTHER, HONEST = "127.0.0.3", "127.0.0.4", "127.0.0.5"
LOGIN = b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
HELD = LOGIN.replace(b"\r\n\r\n", b"\r\nX-Held: yes\r\n\r\n")


def test_waiting_logins_delay_no_other_request(data_folder: Path) -> None:
    """60 logins of two clients last: requests and other logins are answered."""
    with served(data_folder / "certificates") as here, ExitStack() as stack:
        logins = [
            stack.enter_context(tls_client(here.port, source=source))
            for source in [FLOOD, OTHER] * 30
        ]
        for each in logins:
            each.sendall(HELD)
        pages = [get(here.port, "/", source=FLOOD)[0] for _ in range(10)]
        own = stack.enter_context(tls_client(here.port, source=HONEST))
        own.sendall(LOGIN)
        first = read_answer(own)[0]
        busy = here.server.dispatcher.load().busy_threads
        released.set()
        answers = [read_answer(each)[0] for each in logins]

    assert pages == [200] * 10
    assert first == 200
    assert busy == 0
    assert answers == [200] * 60


def test_too_many_waiting_logins_are_refused_with_retry_after(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound of one client: 503 with seconds to wait."""
    monkeypatch.setattr(limits, "LOGIN_THREADS", 2)
    monkeypatch.setattr(dispatcher, "LOGIN_LIMITS", QueueLimits(8, 3, 2))
    with served(data_folder / "certificates") as here, ExitStack() as stack:
        for _ in range(2 + 3):
            login = stack.enter_context(tls_client(here.port, source=FLOOD))
            login.sendall(HELD)
        load = here.server.dispatcher.load
        assert eventually(lambda: load().waiting_logins == 3)
        one_more = stack.enter_context(tls_client(here.port, source=FLOOD))
        one_more.sendall(LOGIN)
        answer = one_more.recv(4096)

    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: " in answer.lower()
