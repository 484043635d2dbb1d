"""The websocket server: who is let in, what is said first, how it ends."""

import json
import ssl
import threading
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

import twistlock_console
from tests.hosts.waiting import eventually
from tests.listeners.listener_clients import PATIENCE_S, refuses
from twistlock_console.protocol import (
    MAX_MESSAGE_CHARACTERS,
    DefenderHello,
    Ping,
    encode,
)
from twistlock_console.servers.service_ports import ServicePorts
from twistlock_console.settings import Settings
from twistlock_console.system.serving_permit import Permit

pytestmark = pytest.mark.usefixtures("mongod")
HELLO = encode(DefenderHello("defender-1", "1.0"))


def context_of(settings: Settings, name: str | None) -> ssl.SSLContext:
    """The TLS context of the client *name*; of one without a certificate for None."""
    folder = settings.folders.certificates
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}-key.pem")
    return context


def dial(settings: Settings, name: str | None = "defender-1") -> ClientConnection:
    """Connect as *name*; use it as a context manager."""
    return connect(
        f"wss://127.0.0.1:{settings.communication_port}",
        ssl=context_of(settings, name),
        open_timeout=PATIENCE_S,
        close_timeout=1,
    )


def answer_of(connection: ClientConnection) -> object:
    """The next message that is no policy."""
    while (message := json.loads(connection.recv(timeout=PATIENCE_S)))[
        "type"
    ] == "policy":
        pass
    return message


@pytest.fixture
def open_settings(ports: ServicePorts, settings: Settings) -> Settings:
    """Settings whose ports are open."""
    ports.open_all()
    return settings


def ending(connection: ClientConnection) -> tuple[int, str]:
    """Wait for the server's goodbye; its code and reason."""
    try:
        while True:
            connection.recv(timeout=PATIENCE_S)
    except ConnectionClosed as closed:
        received = closed.rcvd
        return (received.code, received.reason) if received else (1006, "")


def test_the_console_speaks_first_and_tells_its_epoch(open_settings: Settings) -> None:
    """A Defender knows whom it obeys before it has said a word."""
    with dial(open_settings) as connection:
        greeting = json.loads(connection.recv(timeout=PATIENCE_S))

    assert greeting == {
        "type": "hello",
        "protocol": 1,
        "epoch": 7,
        "version": twistlock_console.__version__,
        "renews": True,
    }


def test_a_ping_is_answered(open_settings: Settings) -> None:
    """A Defender can ask whether it is still served."""
    with dial(open_settings) as connection:
        connection.recv(timeout=PATIENCE_S)
        connection.send(HELLO)
        connection.send(encode(Ping()))

        assert answer_of(connection) == {"type": "pong"}


def test_a_node_is_no_defender(open_settings: Settings) -> None:
    """One authority issues to both, so the usage in the certificate decides."""
    with (
        pytest.raises(InvalidStatus, match="403"),
        dial(open_settings, "node-2"),
    ):
        pass


def test_a_connection_without_a_certificate_is_refused(open_settings: Settings) -> None:
    """TLS itself refuses."""
    with (
        pytest.raises((OSError, WebSocketException)),
        dial(open_settings, None),
    ):
        pass


def test_older_tls_is_refused(open_settings: Settings) -> None:
    """Certificates of Defenders are not sent in the clear."""
    context = context_of(open_settings, "defender-1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        pytest.raises((OSError, WebSocketException)),
        connect(f"wss://127.0.0.1:{open_settings.communication_port}", ssl=context),
    ):
        pass


@pytest.mark.parametrize(
    ("frames", "code", "words"),
    [
        pytest.param(["{"], 1007, "malformed", id="not-json"),
        pytest.param([b"{}"], 1003, "text", id="bytes"),
        pytest.param(['{"type":"ping"}'], 1002, "must be a hello", id="no-hello"),
        pytest.param([HELLO, HELLO], 1002, "second", id="two-hellos"),
        pytest.param([HELLO, '{"type":"x"}'], 1007, "malformed", id="unknown"),
        pytest.param(
            [HELLO, "x" * (MAX_MESSAGE_CHARACTERS + 1)], 1009, "at most", id="oversized"
        ),
        pytest.param(
            [encode(DefenderHello("defender-1", "1.0", 2))],
            1002,
            "protocol 1, not 2",
            id="newer-protocol",
        ),
        pytest.param(
            [encode(DefenderHello("defender-2", "1.0"))],
            1008,
            "certificate",
            id="another's-name",
        ),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_closed_with_the_reason(
    open_settings: Settings, frames: list[str | bytes], code: int, words: str
) -> None:
    """The others notice nothing."""
    with dial(open_settings, "defender-3") as other, dial(open_settings) as rude:
        for connection in (other, rude):
            connection.recv(timeout=PATIENCE_S)
        other.send(encode(DefenderHello("defender-3", "1.0")))
        with suppress(ConnectionClosed):
            for frame in frames:
                rude.send(frame)
        goodbye = ending(rude)
        other.send(encode(Ping()))
        answer = answer_of(other)

    assert goodbye[0] == code
    assert words in goodbye[1]
    assert answer == {"type": "pong"}


def test_a_peer_that_sends_far_too_much_is_reset(open_settings: Settings) -> None:
    """It is not read to its end, so the goodbye may not arrive."""
    with dial(open_settings) as connection:
        connection.recv(timeout=PATIENCE_S)
        with suppress(ConnectionClosed):
            connection.send("x" * 5 * MAX_MESSAGE_CHARACTERS)

        assert ending(connection)[0] in {1006, 1009}


def test_a_planned_close_says_that_another_console_serves_soon(
    ports: ServicePorts, settings: Settings
) -> None:
    """Code 1012 tells a Defender to come back at once."""
    ports.open_all()
    with dial(settings) as connection:
        connection.recv(timeout=PATIENCE_S)
        closing = threading.Thread(target=ports.close_all, args=(PATIENCE_S,))
        closing.start()
        goodbye = ending(connection)
        closing.join()

    assert goodbye == (1012, "this Console stops serving")


def test_an_immediate_close_cuts_websockets(
    ports: ServicePorts, settings: Settings
) -> None:
    """A lost lease leaves no time for goodbyes."""
    ports.open_all()
    with dial(settings) as connection:
        connection.recv(timeout=PATIENCE_S)
        ports.close_all()

        assert ending(connection) == (1006, "")


def test_no_frame_comes_after_the_permit_has_ended(
    open_settings: Settings, permit: Permit
) -> None:
    """What arrives too late is neither read nor answered."""
    with dial(open_settings) as connection:
        connection.recv(timeout=PATIENCE_S)
        connection.send(HELLO)
        permit.revoke()
        try:
            connection.send(encode(Ping()))
            frame = connection.recv(timeout=PATIENCE_S)
        except ConnectionClosed:
            frame = None

    assert frame is None
    assert eventually(lambda: refuses(open_settings.communication_port), 1.0)
