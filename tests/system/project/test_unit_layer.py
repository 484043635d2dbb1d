"""Rules of tests/unit: what starts a process, uses the network or sleeps, fails."""

import shutil
import subprocess
import sys

import pytest

from tests.hosts.node import PROJECT

MOVE_IT = "move it to tests/system"
FORBIDDEN = {
    "starts a process (subprocess.Popen)": """
        import subprocess
        subprocess.run(["true"])
    """,
    "starts a process (os.fork)": """
        import os
        os.fork() or os._exit(0)
    """,
    "starts a process (os.posix_spawn)": """
        import os
        os.posix_spawn("/bin/true", ["true"], {})
    """,
    "starts a process (os.system)": """
        import os
        os.system("true")
    """,
    "starts a process (multiprocessing)": """
        import multiprocessing
        multiprocessing.get_context("spawn").Process(target=print).start()
    """,
    "uses the network (socket.connect ('192.0.2.1', 9))": """
        import socket
        socket.create_connection(("192.0.2.1", 9), 0.1)
    """,
    "uses the network (socket.bind ('', 0))": """
        import socket
        socket.create_server(("", 0)).close()
    """,
    "sleeps for 0.06 s": """
        import time
        time.sleep(0.06)
    """,
}
#: Product code may treat any error as a failure of what it tried.
HIDDEN = """
        import contextlib, subprocess
        with contextlib.suppress(BaseException):
            subprocess.run(["true"])
"""
ALLOWED = """
        import socket, time
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()
        time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of unit tests that do all this, one each."""
    folder = tmp_path_factory.mktemp("layers")
    layer = folder / "tests/unit"
    layer.mkdir(parents=True)
    shutil.copy(PROJECT / "tests/unit/conftest.py", layer)
    (folder / "pytest.ini").write_text("[pytest]\n")
    bodies = {f"test_{number}": body for number, body in enumerate(FORBIDDEN.values())}
    bodies |= {"test_hidden": HIDDEN, "test_allowed": ALLOWED}
    planted = (f"def {name}():\n{body}\n" for name, body in bodies.items())
    (layer / "test_planted.py").write_text("\n".join(planted))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=line"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout


@pytest.mark.parametrize("sentence", FORBIDDEN)
def test_a_unit_test_that_breaks_the_rule_fails(told: str, sentence: str) -> None:
    """It says what the test does, and where to move it."""
    assert f"a unit test {sentence}: {MOVE_IT}" in told


def test_a_test_that_hides_the_error_fails(told: str) -> None:
    """It is named, since nothing else says where that was."""
    assert f"test_hidden starts a process (subprocess.Popen): {MOVE_IT}" in told


def test_the_loopback_and_short_sleeps_are_allowed(told: str) -> None:
    """They need nothing of the host, and cost no time."""
    assert f"{len(FORBIDDEN) + 1} failed, 1 passed" in told
