"""Runs the servers that Defenders' figures are held against."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hosts.ports import free_port


@contextmanager
def plain_server(kind: str, folder: Path) -> Iterator[int]:
    """Run one of the servers to compare with; gives its port."""
    port = free_port()
    arguments = ["-m", "tests.bench.plain_servers", kind, str(folder), str(port)]
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()
