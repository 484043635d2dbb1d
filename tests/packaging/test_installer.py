"""What twistlock.sh does at moments that no whole installation meets by itself."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path("packaging/twistlock.sh")
CHECKS = Path("plugins/ha/web/scripts/checks.sh")
CALL = 'main "$@"\n'


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """The installer's functions, for a file in which nobody has called them yet."""
    text = SCRIPT.read_text()
    assert text.endswith(CALL)
    path = tmp_path / SCRIPT.name
    path.write_text(
        f"{text.removesuffix(CALL)}"
        f"INSTALL_FOLDER={tmp_path}/opt DATA_FOLDER={tmp_path}/data "
        f"LOG={tmp_path}/install.log COMMAND={tmp_path}/opt/command\n"
    )
    (tmp_path / CHECKS.name).write_text(CHECKS.read_text())
    return path


def run(installer: Path, calls: str) -> subprocess.CompletedProcess[str]:
    """Run the functions that *calls* calls, or puts in the place of others."""
    with installer.open("a") as file:
        file.write(calls)
    return subprocess.run(
        ["bash", installer], capture_output=True, text=True, timeout=20
    )


def test_what_is_installed_stays_whatever_interrupts_the_tidying(
    installer: Path,
) -> None:
    """Old releases are removed last: then there is nothing to be put back."""
    releases = installer.parent / "opt/releases"
    for name in ("new", "old"):
        (releases / name).mkdir(parents=True)

    ran = run(
        installer,
        """
        install_console() { NEW=$INSTALL_FOLDER/releases/new SWITCHED=true; finish 2; }
        rm() { unset -f rm; kill -TERM $BASHPID; }
        guarded_install
        """,
    )

    assert ran.returncode == 1
    assert (releases / "new").exists(), ran.stderr
