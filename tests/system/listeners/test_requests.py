"""How the management server receives requests, and what it answers by itself."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import (
    PATIENCE_S,
    get,
    is_cut,
    read_answer,
    send_request,
    tls_client,
)
from tests.listeners.served_here import ServedHere, served
from tests.listeners.small_app import HELD
from twistlock_console.servers.management import limits

ServeHere = Callable[..., ServedHere]
DRIP_S = 0.05
GREEDY, OTHER = "127.0.0.3", "127.0.0.4"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test opened."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(data_folder: Path, stack: ExitStack) -> ServeHere:
    """Serve the small application on a thread of the test."""

    def here(**options: object) -> ServedHere:
        return stack.enter_context(served(data_folder / "certificates", **options))

    return here


def post(port: int, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a POST with these header lines, and read the answer."""
    with tls_client(port) as client:
        client.sendall(f"POST {head}\r\n\r\n".encode() + body)
        return read_answer(client)


def sentence(answer: tuple[int, bytes]) -> tuple[int, str]:
    """The status, and the sentence of the JSON body."""
    return answer[0], str(json.loads(answer[1])["err"])


LONG = "HTTP/1.1\r\nHost: a\r\nContent-Length: 70000"
CHUNKED = "HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"


def test_a_large_body_needs_an_account(serve: ServeHere) -> None:
    """Without credentials it is refused by its head, and none of it is read."""
    port = serve().port

    assert sentence(post(port, f"/api/v1/policies {LONG}")) == (
        413,
        "the request is larger than 65536 bytes; more is accepted only from an account "
        "that is logged in",
    )
    assert sentence(post(port, f"/api/v1/policies {CHUNKED}")) == (
        411,
        "send a Content-Length; a body whose length is unknown is accepted only from "
        "an account that is logged in",
    )


@pytest.mark.parametrize("framing", [LONG, CHUNKED])
def test_a_large_body_is_read_once_the_application_wants_it(
    serve: ServeHere, framing: str
) -> None:
    """What it refuses by the credentials alone needs no body."""
    port = serve().port
    body = b"x" * 70_000
    if framing is CHUNKED:
        body = b"11170\r\n" + body + b"\r\n0\r\n\r\n"
    bad = post(port, f"/guarded {framing}\r\nAuthorization: bad")
    good = post(port, f"/guarded {framing}\r\nAuthorization: good", body)

    assert bad == (401, b"")
    assert good == (200, b"70000")


def test_a_body_of_megabytes_is_read_by_a_thread_of_its_own(serve: ServeHere) -> None:
    """Whatever the threads for other requests do."""
    port = serve().port
    size = 3_000_000
    head = f"/guarded HTTP/1.1\r\nHost: a\r\nContent-Length: {size}"

    assert post(port, f"{head}\r\nAuthorization: good", b"x" * size) == (
        200,
        str(size).encode(),
    )


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"-3\r\nabc\r\n0\r\n\r\n", id="sign"),
        pytest.param(b"0_3\r\nabc\r\n0\r\n\r\n", id="underscore"),
        pytest.param(b"3;a\nb\r\nabc\r\n0\r\n\r\n", id="extension"),
        pytest.param(b"3\r\nabcXX0\r\n\r\n", id="no-end"),
        pytest.param(b"3\nabc\n0\n\n\r\n", id="line-ends"),
        pytest.param(b"0\r\nno trailer\r\n\r\n", id="trailer"),
    ],
)
def test_a_body_in_wrong_pieces_is_the_clients_mistake(
    serve: ServeHere, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    """It is refused with a sentence, and no failure of the Console in the log."""
    port = serve().port

    status, page = post(port, f"/guarded {CHUNKED}\r\nAuthorization: good", body)

    assert status == 400
    assert b"The body of the request is not valid HTTP" in page
    assert caplog.messages == []


def test_a_client_that_expects_100_continue_gets_it(serve: ServeHere) -> None:
    """``Expect: 100-continue``, for small bodies and for large ones."""
    port = serve().port
    answers = []
    for size in (5, 70_000, 2_000_000):
        with tls_client(port) as client:
            client.sendall(
                b"POST /guarded HTTP/1.1\r\nHost: a\r\nAuthorization: good\r\n"
                b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size
            )
            answers.append(client.recv(1000))
            client.sendall(b"x" * size)
            answers.append(read_answer(client))

    told = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answers[::2] == [told] * 3
    assert answers[1::2] == [(200, b"5"), (200, b"70000"), (200, b"2000000")]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", id="head"),
        pytest.param(
            b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\nab",
            id="body",
        ),
        pytest.param(
            b"POST /guarded HTTP/1.1\r\nHost: a\r\nAuthorization: good\r\n"
            b"Content-Length: 70000\r\n\r\nab",
            id="large-body",
        ),
        pytest.param(
            b"POST /guarded HTTP/1.1\r\nHost: a\r\nAuthorization: good\r\n"
            b"Content-Length: 3000000\r\n\r\nab",
            id="upload",
        ),
        pytest.param(
            b"POST /guarded HTTP/1.1\r\nHost: a\r\nAuthorization: good\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nff\r\nab",
            id="chunked",
        ),
    ],
)
def test_a_request_that_does_not_arrive_in_time_gets_408(
    serve: ServeHere, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """One limit for all of it: what drips has no more time than what stops."""
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT_S", 0.6)
    monkeypatch.setattr(limits, "UPLOAD_STALL_TIMEOUT_S", 0.6)
    monkeypatch.setattr(limits, "MIN_RECEIVE_RATE_BPS", 1024 * 1024)
    here = serve()
    with tls_client(here.port) as client:
        client.sendall(sent)
        client.settimeout(DRIP_S)
        answer = drip_until_answered(client)

    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"did not arrive within the time that the Console allows" in answer
    assert here.server.dispatcher.timed_out == 1


def drip_until_answered(client: ssl.SSLSocket) -> bytes:
    """Send a byte whenever nothing was received for a while."""
    for _ in range(round(PATIENCE_S / DRIP_S)):
        try:
            return client.recv(4096)
        except TimeoutError:
            client.sendall(b"x")
    return b""


def silent(port: int) -> socket.socket:
    """Connect, and say nothing."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def kept_alive(port: int) -> ssl.SSLSocket:
    """Connect, and say nothing after an answer."""
    client = tls_client(port)
    send_request(client)
    assert read_answer(client)[0] == 200
    return client


@pytest.mark.parametrize(
    ("limit", "begin"),
    [
        pytest.param("HANDSHAKE_TIMEOUT_S", silent, id="before-the-handshake"),
        pytest.param("REQUEST_TIMEOUT_S", tls_client, id="after-the-handshake"),
        pytest.param("KEEPALIVE_TIMEOUT_S", kept_alive, id="after-an-answer"),
    ],
)
def test_a_connection_without_a_request_ends_without_a_word(
    serve: ServeHere,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    begin: Callable[[int], socket.socket],
) -> None:
    """Silent from the start, before and after the handshake, and kept alive."""
    monkeypatch.setattr(limits, limit, 0.3)
    with begin(serve().port) as client:
        assert is_cut(client)


def test_a_download_that_is_not_read_is_cut(
    serve: ServeHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client has to keep up a rate, however much it was sent before."""
    monkeypatch.setattr(limits, "SEND_STALL_TIMEOUT_S", 0.5)
    here = serve()
    with tls_client(here.port) as client:
        send_request(client, "/large/100000")
        client.recv(65536)

        assert eventually(lambda: here.server.dispatcher.timed_out == 1)
        assert eventually(lambda: len(here.server.connections) == 0)
        assert eventually(lambda: not here.server.dispatcher.is_busy)


def test_a_download_holds_no_thread_and_little_memory(
    serve: ServeHere, stack: ExitStack
) -> None:
    """Many of them are under way, and no thread is busy."""
    here = serve()
    for _ in range(3 * limits.THREADS):
        client = stack.enter_context(tls_client(here.port))
        send_request(client, "/large/100000")
        client.recv(1000)

    assert eventually(lambda: here.server.dispatcher.load().busy_threads == 0)
    assert get(here.port)[0] == 200


def test_a_download_arrives_whole(serve: ServeHere) -> None:
    """In as many pieces as it takes."""
    size = 8192 * 1000

    assert get(serve().port, "/large/1000") == (200, b"x" * size)


def test_an_answer_that_comes_slowly_is_sent_as_it_comes(serve: ServeHere) -> None:
    """A page that makes its answer for ever is heard at once."""
    with tls_client(serve().port) as client:
        send_request(client, "/stream")
        received = b""
        while received.count(b"piece") < 20:
            received += client.recv(65536)

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_page_that_fails_is_answered(serve: ServeHere) -> None:
    """With a sentence; the connection ends."""
    port = serve().port

    status, body = get(port, "/failing")
    assert status == 500
    assert (
        b"The Console could not answer this request; the reason is in its log." in body
    )
    assert get(port)[0] == 200


def test_one_address_does_not_get_all_threads(
    serve: ServeHere, stack: ExitStack
) -> None:
    """Another is answered at once, while the first one's requests wait."""
    here = serve()
    load = here.server.dispatcher.load
    for _ in range(2 * limits.THREADS):
        client = stack.enter_context(tls_client(here.port, source=GREEDY))
        send_request(client, HELD)

    assert eventually(lambda: load().waiting_requests >= limits.THREADS)
    assert load().busy_threads == limits.MAX_THREADS_PER_ADDRESS
    assert get(here.port, source=OTHER)[0] == 200
    assert load().busy_threads == limits.MAX_THREADS_PER_ADDRESS


def test_more_requests_than_may_wait_are_refused_with_a_time(
    serve: ServeHere, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 and Retry-After; one that waits too long gets the same."""
    monkeypatch.setattr(limits, "QUEUE_TIMEOUT_S", 0.5)
    here = serve()
    for _ in range(limits.MAX_THREADS_PER_ADDRESS):
        client = stack.enter_context(tls_client(here.port, source=GREEDY))
        send_request(client, HELD)
    busy = limits.MAX_THREADS_PER_ADDRESS
    assert eventually(lambda: here.server.dispatcher.load().busy_threads == busy)
    late = tls_client(here.port, source=GREEDY)
    with late:
        send_request(late)
        answer = late.recv(4096)

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert here.server.dispatcher.refused == 1


def test_a_trusted_proxy_may_use_everything(serve: ServeHere, stack: ExitStack) -> None:
    """Its connections come from many clients; pings are answered all the same."""
    here = serve(proxies=GREEDY)
    count = limits.MAX_CONNECTIONS_PER_ADDRESS + 20
    idle = [
        stack.enter_context(
            socket.create_connection(("127.0.0.1", here.port), PATIENCE_S)
        )
        for _ in range(5)
    ]
    proxied = [
        stack.enter_context(
            socket.create_connection(("127.0.0.1", here.port), PATIENCE_S, (GREEDY, 0))
        )
        for _ in range(count)
    ]

    assert eventually(lambda: len(here.server.connections) == count + len(idle))
    assert here.server.connections.refused == 0
    assert not is_cut(proxied[0], 0.1)
    for _ in range(2 * limits.THREADS):
        client = stack.enter_context(tls_client(here.port, source=GREEDY))
        send_request(client, HELD)
    load = here.server.dispatcher.load
    assert eventually(lambda: load().busy_threads == limits.THREADS)
    assert get(here.port, "/api/v1/_ping", source=GREEDY)[0] == 200
    assert load().busy_threads == limits.THREADS


def test_a_greedy_address_loses_its_oldest_connections(
    serve: ServeHere, stack: ExitStack
) -> None:
    """Others lose none."""
    here = serve()
    other = stack.enter_context(
        socket.create_connection(("127.0.0.1", here.port), PATIENCE_S, (OTHER, 0))
    )
    greedy = [
        stack.enter_context(
            socket.create_connection(("127.0.0.1", here.port), PATIENCE_S, (GREEDY, 0))
        )
        for _ in range(limits.MAX_CONNECTIONS_PER_ADDRESS + 10)
    ]

    assert eventually(lambda: here.server.connections.refused == 10)
    assert [is_cut(each) for each in greedy[:10]] == [True] * 10
    assert not is_cut(greedy[10], 0.05)
    assert not is_cut(other, 0.05)


def test_a_full_server_closes_a_connection_of_the_greediest_client(
    serve: ServeHere, stack: ExitStack
) -> None:
    """A client of which it never heard is answered."""
    here = serve(max_connections=20)
    greedy = [
        stack.enter_context(
            socket.create_connection(("127.0.0.1", here.port), PATIENCE_S, (GREEDY, 0))
        )
        for _ in range(20)
    ]

    assert eventually(lambda: len(here.server.connections) == 20)
    assert get(here.port, source=OTHER)[0] == 200
    assert is_cut(greedy[0])


PINGS = [
    ("GET", "/api/v1/_ping", ""),
    ("HEAD", "/api/v1/_ping", ""),
    ("GET", "/api/v1/_ping/", ""),
    ("GET", "/api/v1/_ping?x=1", ""),
    ("GET", "/api/v1/_ping", "Authorization: Basic bm9ib2R5Og==\r\n"),
    ("GET", "/api/v1/_ping", "Cookie: a=b\r\n"),
]


def test_ping_is_answered_while_every_thread_is_busy(
    serve: ServeHere, stack: ExitStack
) -> None:
    """By the main loop; the connection stays open for the next question."""
    here = serve()
    for source in (GREEDY, OTHER):
        for _ in range(limits.THREADS):
            client = stack.enter_context(tls_client(here.port, source=source))
            send_request(client, HELD)
    assert eventually(
        lambda: here.server.dispatcher.load().busy_threads == limits.THREADS
    )
    with tls_client(here.port) as client:
        for method, path, headers in PINGS:
            head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"
            client.sendall(head.encode())
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: keep-alive\r\n" in answer
            assert answer.endswith(b"\r\n\r\n") is (method == "HEAD")
    assert here.server.dispatcher.pings == len(PINGS)
    assert here.server.dispatcher.load().busy_threads == limits.THREADS


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n", 417),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: wild\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ],
)
def test_what_is_no_valid_request_is_refused(
    serve: ServeHere, request_text: bytes, status: int
) -> None:
    """With a sentence, after which the connection ends."""
    here = serve()
    with tls_client(here.port) as client:
        client.sendall(request_text)
        answer = read_answer(client)
        ended = is_cut(client)

    assert answer[0] == status
    assert sentence(answer)[1]
    assert ended
    assert here.server.dispatcher.refused == 1


def test_a_client_that_gives_up_ends_what_is_made_for_it(serve: ServeHere) -> None:
    """A page that would go on for ever does not hold its thread."""
    here = serve()
    with tls_client(here.port) as client:
        send_request(client, "/stream")
        client.recv(1000)

    assert eventually(lambda: here.server.dispatcher.load().busy_threads == 0)
    assert eventually(lambda: len(here.server.connections) == 0)


def test_a_client_that_sends_faster_than_it_is_answered_has_to_wait(
    serve: ServeHere,
) -> None:
    """Requests that it sends ahead do not pile up in memory."""
    here = serve()
    piece = b"GET /sleep/1 HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
    sent = 0
    with tls_client(here.port) as client:
        client.settimeout(0.5)
        with suppress(TimeoutError):
            while sent < 64 * 1024 * 1024:
                client.sendall(piece)
                sent += len(piece)

    assert sent < 32 * 1024 * 1024
    assert here.server.dispatcher.refused == 0


def test_pipelined_pings_are_answered_in_turn(serve: ServeHere) -> None:
    """However many come in one piece."""
    here = serve()
    count = 500
    with tls_client(here.port) as client:
        client.sendall(b"GET /api/v1/_ping HTTP/1.1\r\nHost: a\r\n\r\n" * count)
        received = b""
        while received.count(b"HTTP/1.1 200") < count:
            received += client.recv(65536)

    assert here.server.dispatcher.pings == count
