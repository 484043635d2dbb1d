"""Every command in the pages about installing and repairing is run by a test."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.alone_node import NETWORK
from tests.hosts.waiting import wait_for
from tests.join.manual import PAGES, as_written, commands

PROJECT = Path(__file__).parents[3]


def run_as_written() -> set[str]:
    """The commands that tests here take from the manual, letter by letter."""
    found = set()
    for file in PROJECT.glob("tests/**/join/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == as_written.__name__
            ):
                assert isinstance(node.args[0], ast.Constant), file
                found.add(node.args[0].value)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run(page: str) -> None:
    """What a person copies from the manual was run by one of these tests."""
    assert set(commands(page)) - run_as_written() == set()


def test_a_checkout_runs(tmp_path: Path) -> None:
    """Set up, with a configuration of one's own, and started."""
    config = tmp_path / "twistlock.cfg"
    shutil.copytree(PROJECT / "packaging", tmp_path / "packaging")
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    shutil.copy(PROJECT / "requirements-demo.txt", tmp_path)
    (tmp_path / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (tmp_path / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    installed = tmp_path / ".venv/installed-requirements-demo.txt"
    shutil.copy(PROJECT / "requirements-demo.txt", installed)

    for command in (
        as_written("packaging/setup.sh demo"),
        as_written("cp config/twistlock.cfg /tmp/twistlock.cfg"),
    ):
        here = command.replace("/tmp/twistlock.cfg", str(config))  # noqa: S108
        subprocess.run(here.split(), cwd=tmp_path, check=True, timeout=120)
    for key, value in {
        "DATA_FOLDER": tmp_path / "data",
        "DATA_RECOVERY_VOLUME": tmp_path / "backup",
        "NODE_ADDRESS": f"{NETWORK}.83",
        "DATABASE_CACHE_GB": "0.25",
    }.items():
        text = config.read_text().splitlines()
        kept = [line for line in text if not line.startswith(f"{key}=")]
        config.write_text("\n".join([*kept, f"{key}={value}", ""]))
    run = as_written(".venv/bin/python app.py run --config /tmp/twistlock.cfg")
    (tmp_path / "app.py").symlink_to(PROJECT / "app.py")
    log = tmp_path / "log"
    with log.open("wb") as output:
        node = subprocess.Popen(
            run.replace("/tmp/twistlock.cfg", str(config)).split(),  # noqa: S108
            cwd=tmp_path,
            stderr=output,
        )
    try:
        wait_for(lambda: b"serving" in log.read_bytes(), 60, "it serves")
    finally:
        node.terminate()
        node.wait(60)


@pytest.mark.needs("apt-get")
def test_the_packages_exist() -> None:
    """What a host needs of Debian has these names."""
    command = as_written("apt-get install python3 python3-venv libcurl4 curl")
    subprocess.run(
        [*command.split(), "--simulate"],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
