"""A node whose database cannot start lives on, with its ports closed, and says why."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.cluster.alone_node import PROJECT, AloneNode
from tests.hosts.server_folder import server_folder
from tests.hosts.waiting import wait_for


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of a node that has served, and was stopped."""
    with server_folder(request, "broken") as made:
        with running(made) as node:
            wait_for(node.serves, 60, "the node to serve")
        yield made


@contextmanager
def running(folder: Path) -> Iterator[AloneNode]:
    """A node that runs; it ends in an orderly way, whatever state it is in."""
    node = AloneNode(folder)
    try:
        yield node
        node.process.send_signal(SIGTERM)
        assert node.process.wait(60) == 0
    finally:
        with suppress(OSError):
            node.process.kill()
        node.process.wait()


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def refuses(node: AloneNode) -> bool:
    """Whether every service port refuses."""
    settings = node.settings
    ports = (settings.management_port_https, settings.communication_port)
    for port in ports:
        with suppress(ConnectionRefusedError):
            socket.create_connection((settings.node_address, port), 2).close()
            return False
    return True


def command(node: AloneNode, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "app.py", *words, "--config", str(node.config)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        pytest.param(
            lambda db: cut(db / "WiredTiger.wt"), "data files are damaged", id="cut"
        ),
        pytest.param(
            lambda db: ((db / "mongod.lock").unlink(), (db / "mongod.lock").mkdir()),
            "mongod.lock cannot be used: is a directory",
            id="no-lock",
        ),
    ],
)
def test_a_node_with_damaged_files_says_so(
    folder: Path, damage: Callable[[Path], object], cause: str
) -> None:
    """Its process and node API live; mended, it serves without a restart."""
    db = folder / "data" / "db"
    good = folder / "good"
    shutil.copytree(db, good)
    damage(db)
    with running(folder) as node:
        wait_for(
            lambda: cause in node.status().get("failing", {}).get("database", ""),
            60,
            "the cause",
        )
        told = json.loads(command(node, "status", "--json"))
        closed = refuses(node)
        mend(db, good)
        wait_for(node.serves, 60, "the mended node to serve")

        assert (told["pid"], told["serving"]) == (node.process.pid, False)
        assert closed
        wait_for(lambda: "database" not in node.status()["failing"], 10, "its health")


def mend(db: Path, good: Path) -> None:
    """Put the *good* files in the place of those in *db*, while no mongod has them."""
    lock = db / "mongod.lock"
    if lock.is_dir():
        lock.rmdir()
    with lock.open("ab") as file:
        # mongod tries to get it before it touches anything else.
        wait_for(lambda: has_locked(file.fileno()), 30, "the end of mongod", every=0.01)
        for path in db.iterdir():
            if path != lock:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (good / lock.name).unlink()
        shutil.copytree(good, db, dirs_exist_ok=True)
    shutil.rmtree(good)


def has_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, on which a node has served."""
    disk = tmp_path / "disk"
    disk.mkdir()
    size = "size=600m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "small", str(disk)], check=True)
    try:
        with running(disk) as node:
            wait_for(node.serves, 60, "the node to serve")
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.needs("mount", root=True)
def test_a_node_on_a_full_disk_says_so(small_disk: Path) -> None:
    """It starts though it can store nothing, and serves when there is room again."""
    for compiled in (small_disk / "data" / "run").glob("__jinja2*"):
        compiled.unlink()  # as after an upgrade
    filler = small_disk / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(1024**2))
            file.flush()
    with running(small_disk) as node:
        wait_for(
            lambda: "the disk is full" in str(node.status().get("failing", "")),
            60,
            "the cause",
        )
        closed = refuses(node)
        filler.unlink()
        wait_for(node.serves, 60, "the node to serve again")

        assert closed


@pytest.mark.needs("mount", root=True)
def test_a_node_on_a_disk_that_cannot_be_written_says_so(folder: Path) -> None:
    """As after an error of the file system, when the kernel remounts it."""
    db = folder / "data" / "db"
    subprocess.run(["mount", "--bind", str(db), str(db)], check=True)
    try:
        read_only = ["mount", "-o", "remount,bind,ro", str(db)]
        subprocess.run(read_only, check=True)
        with running(folder) as node:
            wait_for(
                lambda: "read-only" in str(node.status().get("failing", "")),
                60,
                "the cause",
            )
            assert refuses(node)
    finally:
        subprocess.run(["umount", "--lazy", str(db)], check=True)
