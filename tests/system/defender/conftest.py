"""What the Defender's tests share: its papers, and the Console that signed them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from twistlock_console.pki.authority import create_authority, sign_request
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.pki.tls import Usage
from twistlock_defender.common.folder import Folder

NAME = "agent-1"


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Console's certificates."""
    folder = tmp_path_factory.mktemp("console")
    create_authority(folder)
    issue_node_certificate(folder, ["127.0.0.1", "localhost"])
    return folder


@pytest.fixture
def folder(tmp_path: Path, console: Path) -> Folder:
    """A Defender's folder, enrolled, with no Console to reach yet."""
    path = tmp_path / "defender"
    path.mkdir()
    make_key(path / "key.pem")
    request = make_request(path / "key.pem", NAME)
    signed = sign_request(
        console, request, usage=Usage.DEFENDER, common_name=NAME, names=[NAME]
    )
    (path / "certificate.pem").write_bytes(signed)
    (path / "ca.pem").write_bytes((console / "ca.pem").read_bytes())
    point(path, "127.0.0.1:9")
    return Folder(path)


def point(folder: Path, *addresses: str) -> None:
    """Let the Defender's Console be at *addresses*."""
    settings = {"defender": NAME, "addresses": addresses, "outboxMB": 16}
    (folder / "settings.json").write_text(json.dumps(settings))


@pytest.fixture
def miner(tmp_path: Path) -> Path:
    """A program that sleeps; tests beside this one must not deny its name."""
    path = tmp_path / f"miner-{os.getpid()}"
    shutil.copy("/bin/sleep", path)
    return path
