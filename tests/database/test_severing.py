"""Connections of a child are cut from outside, and no others."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from twistlock_console.database.severing import sever

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
            first = sever(child.pid, "127.0.0.1", int(ports[0]))
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
    sever(os.getpid(), "127.0.0.1", 9)

    assert open_descriptors() == before
