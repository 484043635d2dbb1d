"""The sources of the release before this one, out of the project's history."""

import subprocess
from pathlib import Path

import pytest

from tests.hosts.node import PROJECT

#: Release 26.11.1, in which one authority issued to nodes and Defenders.
COMMIT = "fbc0aa2"


def unpack_earlier_release(folder: Path) -> Path:
    """Leave its sources in *folder*; skips the test where there is no history."""
    folder.mkdir(parents=True, exist_ok=True)
    tarball = folder / "sources.tar"
    made = subprocess.run(
        ["git", "archive", "--output", str(tarball), COMMIT],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"the history does not reach back to {COMMIT}: {made.stderr}")
    subprocess.run(["tar", "-xf", tarball, "-C", folder], timeout=60, check=True)
    tarball.unlink()
    return folder
