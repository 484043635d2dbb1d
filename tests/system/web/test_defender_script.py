"""Rules of the Defender script: options, Python, and the processes it ends."""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from twistlock_defender.common.folder import RunLock

SCRIPT = Path("twistlock_console/web/scripts/defender.sh")
CALL = 'main "$@" </dev/null\nexit\n'
SERVES = """
import sys
from pathlib import Path
from twistlock_defender.common.folder import RunLock
with RunLock(Path(sys.argv[1])) as lock:
    print(lock.acquire(), flush=True)
    sys.stdin.read()
"""
BEGINS = "#!/bin/sh\necho begins\nread -r line\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return the folder of the Defender's data; its programs are beside it."""
    for name in ("data", "programs"):
        (tmp_path / name).mkdir()
    return tmp_path / "data"


def remove_program(data: Path) -> None:
    """Let the script remove the programs that use *data*."""
    text = SCRIPT.read_text()
    assert text.endswith(CALL)
    folders = f"FOLDER={data.parent}/programs DATA={data} UNIT={data}/unit\n"
    script = f"set -euo pipefail\n{text.removesuffix(CALL)}{folders}remove_program\n"
    subprocess.run(["bash"], input=script, text=True, check=True, timeout=120)
    assert not (data.parent / "programs").exists()


@contextmanager
def running(*command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the context, from its first output to its end."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        process.stdout.readline()
        yield process
        # It ends when nothing more comes.


def test_a_defender_that_was_started_by_hand_is_ended(data: Path) -> None:
    """Without systemd, an administrator starts it after each boot."""
    with running(sys.executable, "-c", SERVES, data / "lock") as defender:
        remove_program(data)

        assert defender.wait(60) < 0


def test_a_defender_that_is_starting_is_ended(data: Path) -> None:
    """It has no lock yet; the script stored its process id."""
    program = data.parent / "programs/twistlock-defender"
    program.write_text(BEGINS)
    program.chmod(0o755)
    with running(program, "run", "--folder", data) as defender:
        (data.parent / "programs/pid").write_text(f"{defender.pid}\n")
        remove_program(data)

        assert defender.wait(60) < 0


def test_no_other_process_is_ended(data: Path) -> None:
    """The pid of an ended Defender may be reused; another folder is not touched."""
    other = data.parent / "lock"
    with RunLock(data / "lock") as lock:
        assert lock.acquire()
    with running(sys.executable, "-c", SERVES, other) as program:
        (data.parent / "programs/pid").write_text(f"{program.pid}\n")
        remove_program(data)

        assert program.poll() is None


def call(arguments: str, *, unit: str = "/none") -> subprocess.CompletedProcess[str]:
    """Call the script with *arguments*; its steps only print their names."""
    text = SCRIPT.read_text().removesuffix(CALL)
    steps = """
    id() { echo 0; }
    deploy() { echo "deploy with $GIVEN_PYTHON as $NAME"; }
    remove() { echo remove; }
    running() { :; }
    setsid() { echo "start $*"; }
    systemctl() { echo "systemctl $*"; }
    """
    folders = f"FOLDER=/tmp/none DATA=/tmp UNIT={unit}\n"
    script = f"set -euo pipefail\n{text}{folders}{steps}main {arguments}\n"
    return subprocess.run(
        ["bash"], input=script, text=True, capture_output=True, timeout=120
    )


@pytest.mark.parametrize(
    ("arguments", "did"),
    [
        ("--python /a -n b", "deploy with /a as b"),
        ("-n b --python=/a", "deploy with /a as b"),
        ("-pw --python /a -n b", "deploy with /a as b"),
        ("-u", "remove"),
    ],
)
def test_options_are_understood(arguments: str, did: str) -> None:
    """The long option works with a blank and with =."""
    assert call(arguments).stdout == f"{did}\n"


def find_python(python: Path | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Return the Python that the script chooses for *python*, run in *folder*."""
    text = SCRIPT.read_text().removesuffix(CALL)
    find = 'find_python; echo "$PYTHON"\n'
    script = f"set -euo pipefail\n{text}GIVEN_PYTHON={shlex.quote(str(python))}\n{find}"
    return subprocess.run(
        ["bash"], input=script, cwd=folder, text=True, capture_output=True, timeout=120
    )


@pytest.mark.needs(root=True)
def test_the_python_is_known_by_its_full_path() -> None:
    """The Defender starts in another folder than the installation."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        folder = Path(made, "some where")
        folder.mkdir()
        Path(made).chmod(0o755)
        (folder / "python3").symlink_to("/usr/bin/python3")

        assert find_python("./python3", folder).stdout == f"{folder}/python3\n"

        Path(made).chmod(0o700)
        refused = find_python("./python3", folder)
        assert "that every user may run was found" in refused.stderr
        assert refused.returncode == 1


@pytest.mark.parametrize("arguments", ["--python", "--other x", "-x", "stop"])
def test_an_unknown_argument_is_refused(arguments: str) -> None:
    """The script names the argument and does nothing."""
    ran = call(arguments)

    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: ") or "Error: Options are" in ran.stderr
    assert ran.stdout == ""


def test_an_installed_defender_is_started_at_boot(tmp_path: Path) -> None:
    """The script uses systemd if that runs the Defender, else it starts it itself."""
    unit = tmp_path / "unit"
    unit.touch()

    assert (
        call("start", unit=str(unit)).stdout == "systemctl start twistlock-defender\n"
    )
