"""The release tarball, built once for all tests that install it."""

import subprocess
from pathlib import Path

import pytest

from twistlock_console import __version__

NEXT_VERSION = "99.1.0"
BUILD_SECONDS = 300


def _built(folder: Path, *arguments: str) -> Path:
    subprocess.run(
        ["packaging/release.sh", "--output", str(folder), *arguments],
        check=True,
        timeout=BUILD_SECONDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball of this version."""
    built = _built(tmp_path_factory.mktemp("release"))
    assert built.name == f"twistlock_console_{__version__}.tar.gz"
    return built


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball of a later version, which differs in nothing else."""
    folder = tmp_path_factory.mktemp("next-release")
    return _built(folder, "--version", NEXT_VERSION)
