"""Remote control of a browser on a test host."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hosts.laboratory import Host


class RemoteVisitor:
    """Sends commands to the browser program and returns the results."""

    def __init__(self, program: subprocess.Popen[bytes]) -> None:
        self._program = program

    def __call__(self, name: str, *arguments: object) -> Any:
        """Execute one command; fail the test if it fails."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps([name, *arguments]).encode() + b"\n")
        self._program.stdin.flush()
        answer = json.loads(self._program.stdout.readline() or '{"error": "ended"}')
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer


@contextmanager
def visitor_on(host: Host, pictures: Path) -> Iterator[RemoteVisitor]:
    """Return a browser on *host*; screenshots go to the folder *pictures*."""
    pictures.mkdir(parents=True, exist_ok=True)
    program = host.start(
        *(sys.executable, "-m", "tests.browser.program", str(pictures)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    yield RemoteVisitor(program)
    assert program.stdin is not None
    program.stdin.close()
    program.wait(20)
    assert program.stdout is not None
    program.stdout.close()
