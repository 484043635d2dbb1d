"""Connections of a child are cut from outside, and no others."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from twistlock_console.database.mongod_sockets import (
    shut_down_connections,
    shut_down_connections_to,
)

CLIENT = """
import socket, sys
ports = [int(word) for word in sys.argv[1:]]
cut, kept = [socket.create_connection(("127.0.0.1", port), 5) for port in ports]
print("connected", flush=True)
print(cut.recv(1), kept.recv(1), flush=True)
"""


def test_only_connections_to_that_host_and_port_are_cut() -> None:
    """Whoever waits for an answer there learns at once that none will come."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        ports = [str(server.getsockname()[1]) for server in (silent, other)]
        command = [sys.executable, "-I", "-c", CLIENT, *ports]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            child.stdout.readline()
            first = shut_down_connections_to(child.pid, "127.0.0.1", int(ports[0]))
            with silent.accept()[0], other.accept()[0] as kept:
                kept.sendall(b"x")
                told = child.stdout.readline()

    assert first == 1
    assert told == "b'' b'x'\n"


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_of_it_is_kept() -> None:
    """A copy of a descriptor that stayed would keep a connection open."""
    before = open_descriptors()
    shut_down_connections_to(os.getpid(), "127.0.0.1", 9)

    assert open_descriptors() == before


HOLDER = """
import os, socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
pipe, _ = os.pipe()
file = os.open("/dev/null", os.O_RDONLY)
closed = os.open("/dev/null", os.O_RDONLY)
os.close(closed)
print(pipe, file, closed, connection.fileno(), flush=True)
print(connection.recv(1), flush=True)
sys.stdin.read()
"""


def test_a_descriptor_that_changed_after_the_look_is_passed_over() -> None:
    """Numbers of sockets may be those of pipes, files or nothing when we use them.

    They stop nothing: the connection behind them in the list is cut.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-I", "-c", HOLDER, str(port)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            descriptors = [int(word) for word in child.stdout.readline().split()]
            process = os.pidfd_open(child.pid)
            before = open_descriptors()

            def is_unwanted(connection: socket.socket) -> bool:
                return connection.getpeername() == ("127.0.0.1", port)

            cut = shut_down_connections(process, descriptors, is_unwanted)
            after = open_descriptors()
            told = child.stdout.readline()
            child.kill()
            child.wait()
            late = shut_down_connections(process, descriptors, is_unwanted)
            os.close(process)

    assert (cut, told) == (1, "b''\n")
    assert late == 0
    assert after == before
