"""Strangers at MongoDB's port can neither end it nor lock out the Console."""

import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.database.database_node import HERE, set_of_one
from tests.hosts.waiting import eventually
from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.bootstrap import wait_until_answering
from twistlock_console.database.client import connect, root_credentials
from twistlock_console.database.known_members import (
    read_known_members,
    write_known_members,
)
from twistlock_console.database.mongod import Mongod
from twistlock_console.database.mongod_run import find_mongod
from twistlock_console.database.options import (
    MAX_INCOMING_CONNECTIONS,
    ConnectionLimits,
    limits_for,
    mongod_options,
    raise_open_files_limit,
    to_config_file,
)
from twistlock_console.events.bus import Bus
from twistlock_console.pki.tls import client_context
from twistlock_console.settings import Settings

STRANGER = "127.0.0.9"
CROWD = MAX_INCOMING_CONNECTIONS + 200
#: So few are no crowd: they may stay.
FEW = 150


@contextmanager
def silent_connections(settings: Settings, count: int) -> Iterator[list[socket.socket]]:
    """Connect *count* times from the stranger's address, and say nothing."""
    with ExitStack() as things:
        place, source = (settings.node_address, settings.database_port), (STRANGER, 0)
        yield [
            things.enter_context(socket.create_connection(place, 5, source))
            for _ in range(count)
        ]


def closed_by_mongod(connections: list[socket.socket]) -> int:
    """Return how many of *connections* mongod has closed."""
    closed = 0
    for connection in connections:
        try:
            connection.setblocking(False)
            closed += connection.recv(1) == b""
        except BlockingIOError:
            continue
        except OSError:
            closed += 1
    return closed


def answers_a_new_client(settings: Settings) -> bool:
    """Return whether the database lets another client in."""
    try:
        wait_until_answering(settings, 1)
    except DatabaseError:
        return False
    return True


@pytest.mark.parametrize(
    ("open_files", "members", "limits"),
    [
        pytest.param(64_000, [], ConnectionLimits(1000), id="usual"),
        pytest.param(8_000, [], ConnectionLimits(1000), id="just-enough"),
        pytest.param(4_096, [], ConnectionLimits(512), id="few-files"),
        pytest.param(256, [], ConnectionLimits(100), id="too-few"),
        pytest.param(
            64_000,
            ["10.0.0.1", "10.0.0.2", "10.0.0.1"],
            ConnectionLimits(1000, ("10.0.0.1", "10.0.0.2")),
            id="members-are-exempt",
        ),
        pytest.param(
            64_000, ["127.0.0.12"], ConnectionLimits(1000), id="loopback-is-not"
        ),
    ],
)
def test_the_limits_follow_from_the_open_files(
    open_files: int, members: list[str], limits: ConnectionLimits
) -> None:
    """Far below the limit of open files; the members are not counted."""
    assert limits_for(open_files, members) == limits


def test_the_limit_of_open_files_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    """To what the host allows; it is logged when that is too little."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
        raised = raise_open_files_limit()
        now = resource.getrlimit(resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert now == (before[1], before[1])
    assert ("LimitNOFILE" in caplog.text) is (raised < 8_000)


def test_the_members_are_known_at_the_next_start(tmp_path: Path) -> None:
    """A damaged file costs nothing but their exemption."""
    folders = Settings(node_address=HERE, data_folder=tmp_path).folders
    folders.create()
    assert read_known_members(folders) == ()

    write_known_members(folders, ["10.0.0.2", "10.0.0.1"])
    assert read_known_members(folders) == ("10.0.0.1", "10.0.0.2")

    (folders.secrets / "members.json").write_text('["; drop"]')
    assert read_known_members(folders) == ()


def test_zlib_is_never_negotiated(running: Settings) -> None:
    """mongod decompresses before a login, and 6.0.5 discloses memory with zlib."""
    offered = ["zlib", "snappy", "zstd"]
    with connect(running, None, app_name="test") as client:
        answer = client.admin.command({"hello": 1, "compression": offered})

    assert answer["compression"] == ["snappy", "zstd"]


def test_a_crowd_of_silent_connections(settings: Settings) -> None:
    """mongod lives on and serves those that it has; then the silent ones are closed."""
    raise_open_files_limit()
    root = root_credentials(settings)
    with (
        set_of_one(settings) as mongod,
        connect(settings, root, app_name="test") as client,
    ):
        pid = mongod.pid
        client.admin.command("ping")
        with silent_connections(settings, CROWD) as crowd:
            # Those beyond the maximum are closed at once.
            assert eventually(lambda: closed_by_mongod(crowd) >= CROWD - 1000)
            assert client.admin.command("ping")["ok"] == 1

            def crowd_is_closed() -> bool:
                mongod.close_silent_connections()
                return closed_by_mongod(crowd) >= CROWD - FEW

            assert eventually(crowd_is_closed)
            assert answers_a_new_client(settings)
        assert client.admin.command("ping")["ok"] == 1
        assert mongod.pid == pid


def test_exempt_addresses_always_get_in(settings: Settings) -> None:
    """A stranger that holds all the places does not lock out the members."""
    limits = ConnectionLimits(20, (HERE,))
    options = settings.folders.run / "mongod.conf"
    options.write_bytes(to_config_file(mongod_options(settings, limits)))
    command = [str(find_mongod(settings)), "--config", str(options)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_answering(settings, 30)
            with silent_connections(settings, 40) as crowd:
                assert eventually(lambda: closed_by_mongod(crowd) >= 20)

                assert answers_a_new_client(settings)
                with silent_connections(settings, 1) as another:
                    assert eventually(lambda: closed_by_mongod(another) == 1)
        finally:
            process.terminate()


def test_a_connection_that_speaks_stays(settings: Settings) -> None:
    """Only what completes no handshake is closed, and only when there are many."""
    with set_of_one(settings) as mongod, ExitStack() as things:
        place = (settings.node_address, settings.database_port)
        tls = client_context(settings.folders.certificates)
        plain = things.enter_context(socket.create_connection(place, 5))
        spoken = things.enter_context(tls.wrap_socket(plain, server_hostname=HERE))
        lonely = things.enter_context(socket.create_connection(place, 5))

        def quiet_for(seconds: int) -> bool:
            info = spoken.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
            return int.from_bytes(info[44:48], "little") > seconds * 1000

        assert eventually(lambda: quiet_for(3))
        mongod.close_silent_connections()
        assert closed_by_mongod([lonely]) == 0

        with silent_connections(settings, 300) as crowd:

            def closes() -> bool:
                mongod.close_silent_connections()
                return closed_by_mongod([lonely, *crowd]) >= 301 - FEW

            assert eventually(closes)
            assert closed_by_mongod([lonely]) == 1
            spoken.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                spoken.recv(1)


def test_a_mongod_that_does_not_run_has_no_connections(settings: Settings) -> None:
    """The check does nothing before its start."""
    Mongod(settings, Bus()).close_silent_connections()
