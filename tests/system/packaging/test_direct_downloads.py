"""What hosts download comes from the Console itself, whatever proxy they have."""

import os
import select
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.ha.web.join_script import join_command
from twistlock_console.defenders.deployment import deploy_command
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate
from twistlock_console.settings import Settings

CHECKS = Path("plugins/ha/web/scripts/checks.sh")
JOIN = Path("plugins/ha/web/scripts/console.sh")
DEFENDER = Path("twistlock_console/web/scripts/defender.sh")
VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture
def proxy() -> Iterator[socket.socket]:
    """A proxy that only listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture
def settings(tmp_path: Path, closed_port: int) -> Settings:
    """Those of a node that has its certificate."""
    made = Settings(
        node_address="127.0.0.1",
        data_folder=tmp_path / "data",
        management_port_https=closed_port,
    )
    made.folders.create()
    create_authority(made.folders.certificates)
    issue_node_certificate(made.folders.certificates, ["127.0.0.1"])
    return made


def run_behind(
    proxy: socket.socket, script: str, variable: str = "https_proxy"
) -> subprocess.CompletedProcess[str]:
    """Run *script* where *variable* names the proxy, which must not be asked."""
    unset = dict.fromkeys(VARIABLES, "")
    address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
    ran = subprocess.run(
        ["bash"],
        input=script,
        capture_output=True,
        text=True,
        env={**os.environ, **unset, variable: address},
        timeout=120,
    )
    assert select.select([proxy], [], [], 0)[0] == []
    return ran


def downloads(part: str, port: int, folder: Path) -> str:
    """The part of a script that downloads."""
    values = (
        f"CONSOLE=127.0.0.1:{port} PRIMARY=127.0.0.1 PORT={port} PIN=sha256//x\n"
        f"TOKEN=t PYTHON=python3\n"
    )
    paths = [DEFENDER] if part == "defender" else [CHECKS, JOIN]
    text = "".join(path.read_text() for path in paths)
    body = text.rpartition('main "$@"')[0]
    return f"set -euo pipefail\n{values}{body}WORK={folder}\ndownload\n"


@pytest.mark.needs("curl")
@pytest.mark.parametrize("part", ["defender", "join"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_no_script_asks_a_proxy(
    proxy: socket.socket, closed_port: int, tmp_path: Path, part: str, variable: str
) -> None:
    """Its message says that the Console was asked directly."""
    ran = run_behind(proxy, downloads(part, closed_port, tmp_path), variable)

    assert ran.returncode == 1
    assert "does not answer" in ran.stderr
    assert f"It was asked directly, not through the proxy in {variable}." in ran.stderr


@pytest.mark.needs("curl")
@pytest.mark.parametrize("what", ["join", "deploy"])
def test_no_copied_command_asks_a_proxy(
    proxy: socket.socket, settings: Settings, what: str
) -> None:
    """Neither the one that joins a host nor the one that deploys a Defender."""
    commands = {
        "join": join_command(settings, "token"),
        "deploy": deploy_command(settings, "127.0.0.1", "token"),
    }
    download, pipe, _ = commands[what].rpartition(" | sudo bash")
    assert pipe

    ran = run_behind(proxy, download)

    port = settings.management_port_https
    assert f"Failed to connect to 127.0.0.1 port {port}" in ran.stderr
