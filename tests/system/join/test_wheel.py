"""The wheels in the release say what they need, for those who install them with pip."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.unit.packaging.test_dependencies import required, required_by_defender
from twistlock_console.defenders.deployment import RELEASE, defender_package

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import twistlock_defender
for module in pkgutil.walk_packages(twistlock_defender.__path__, "twistlock_defender."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(len(sys.modules))
"""


def needs_of(wheel: zipfile.ZipFile) -> list[str]:
    """What the metadata of *wheel* says that it requires."""
    metadata = next(n for n in wheel.namelist() if n.endswith("/METADATA"))
    said = HeaderParser().parsestr(wheel.read(metadata).decode())
    return said.get_all("Requires-Dist", [])


def test_the_wheel_depends_on_all_requirements(release: Path, tmp_path: Path) -> None:
    """As requirements.in lists them."""
    with tarfile.open(release) as packed:
        name = next(n for n in packed.getnames() if "/twistlock_console_ha-" in n)
        packed.extract(name, tmp_path, filter="data")
    with zipfile.ZipFile(tmp_path / name) as wheel:
        needs = needs_of(wheel)

    assert len(needs) == len(required())
    assert all(any(need.startswith(name) for need in needs) for name in required())


@pytest.fixture
def defender_wheels(release: Path, tmp_path: Path) -> list[Path]:
    """The wheels that the Console gives a Defender host, for every Python."""
    images, wheels = tmp_path / "images", tmp_path / "wheels"
    images.mkdir()
    shutil.copy(release, images / RELEASE)
    shutil.unpack_archive(defender_package(images), wheels, "tar", filter="data")
    return list(wheels.iterdir())


def test_a_defender_host_gets_the_defender_only(defender_wheels: list[Path]) -> None:
    """Of the Console the message protocol alone, and of its requirements just some."""
    [own] = [path for path in defender_wheels if path.name.startswith("twistlock_")]
    with zipfile.ZipFile(own) as wheel:
        needs, names = needs_of(wheel), wheel.namelist()

    assert sorted(name.partition("<")[0].partition(">")[0] for name in needs) == sorted(
        required_by_defender()
    )
    parts = {"/".join(name.split("/")[:2]) for name in names if "dist-info" not in name}
    of_console = {part for part in parts if not part.startswith("twistlock_defender/")}
    assert of_console == {"twistlock_console/__init__.py", "twistlock_console/protocol"}


def test_the_defender_runs_with_its_own_requirements_alone(
    defender_wheels: list[Path], tmp_path: Path
) -> None:
    """Each of its modules can be imported, with what its host gets and nothing else."""
    tags = ("-py3-none-", f"-cp3{sys.version_info[1]}-", "-abi3-")
    for path in defender_wheels:
        if any(tag in path.name for tag in tags):
            shutil.unpack_archive(path, tmp_path / "lib", "zip")
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(tmp_path / "lib")]

    ran = subprocess.run(command, capture_output=True, text=True)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert int(ran.stdout) > 100
