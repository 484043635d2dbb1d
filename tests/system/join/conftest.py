"""The release tarball and a cluster made from it, once for all tests that need them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.earlier_release import unpack_earlier_release
from tests.hosts.laboratory import Laboratory
from tests.hosts.node import PROJECT
from tests.hosts.server_folder import server_folder
from tests.join.formation import Formed, form
from tests.join.installed import Site
from twistlock_console import __version__

NEXT_VERSION = "99.1.0"
#: The number that the release before this one gets here: its own may be ours as well.
EARLIER_VERSION = "26.10.1"
BUILD_SECONDS = 300


def _run(*command: str | Path) -> None:
    subprocess.run(
        command,
        check=True,
        timeout=BUILD_SECONDS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _built(folder: Path, *arguments: str, sources: Path = PROJECT) -> Path:
    script = sources / "packaging/release.sh"
    _run(script, "--output", str(folder), *arguments)
    return next(folder.glob("*.tar.gz"))


def _add_environment(environments: Path, tarball: Path, version: str) -> None:
    """Make what twistlock.sh would, from the wheels of *tarball*."""
    made = environments / version
    before = next(environments.glob("*/bin"), None)
    if before is None:
        _run("/usr/bin/python3", "-I", "-m", "venv", "--without-pip", made)
    else:
        _run("cp", "-a", before.parent, made)
    _run("tar", "-xzf", tarball, "-C", environments)
    unpacked = environments / tarball.name.removesuffix(".tar.gz")
    wheels = ("--quiet", "--no-index", "--find-links", unpacked / "wheels")
    known = ("--no-deps", "--require-hashes", "-r", unpacked / "requirements.txt")
    pip = next((unpacked / "wheels").glob("pip-*.whl")) / "pip"
    _run(made / "bin/python", "-I", pip, "install", *wheels, *known)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tarball of this version."""
    built = _built(tmp_path_factory.mktemp("release"))
    assert built.name == f"twistlock_console_{__version__}.tar.gz"
    return built


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory, release: Path) -> Path:
    """The Python environments of the releases that were built, by version."""
    folder = tmp_path_factory.mktemp("environments")
    # The Console's own user reads there.
    folder.chmod(0o755)
    _add_environment(folder, release, __version__)
    return folder


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Path:
    """The tarball of a later version, which differs in nothing else."""
    folder = tmp_path_factory.mktemp("next-release")
    built = _built(folder, "--version", NEXT_VERSION)
    _add_environment(environments, built, NEXT_VERSION)
    return built


@pytest.fixture(scope="session")
def earlier_release(
    tmp_path_factory: pytest.TempPathFactory, environments: Path
) -> Path:
    """The tarball of the release before this one."""
    folder = tmp_path_factory.mktemp("earlier-release")
    sources = unpack_earlier_release(folder / "sources")
    # What was fetched for our own release is not fetched again.
    (sources / "build").symlink_to(PROJECT / "build")
    (sources / ".venv").symlink_to(PROJECT / ".venv")
    built = _built(folder, "--version", EARLIER_VERSION, sources=sources)
    _add_environment(environments, built, EARLIER_VERSION)
    return built


@pytest.fixture(scope="package")
def formed(
    request: pytest.FixtureRequest, release: Path, environments: Path
) -> Iterator[Formed]:
    """Three hosts that became a cluster. Each test leaves a whole one behind."""
    with server_folder(request, "site") as folder, Laboratory(folder) as laboratory:
        yield form(Site(laboratory, environments), release)


@pytest.fixture
def site(formed: Formed) -> Site:
    """The hosts of the cluster, which is whole."""
    formed.site.wait_whole(formed.site.serving())
    return formed.site
