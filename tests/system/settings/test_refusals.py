"""What the program says, and does not start, when its configuration is wrong."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
HA = "HIGH_AVAILABILITY_ENABLED=true\n"


def run(config: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the node with this configuration until it ends."""
    return subprocess.run(
        [sys.executable, "app.py", "run", "--config", str(config)],
        cwd=PROJECT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "environ", "sentence"),
    [
        pytest.param(
            "COMMUNICATION_PORT=8083\n",
            {},
            "each needs its own port",
            id="duplicate-ports",
        ),
        pytest.param(
            "DATABASE_PORT=70000\n", {}, "DATABASE_PORT", id="port-out-of-range"
        ),
        pytest.param(
            f"{HA}HIGH_AVAILABILITY_STATE=BOSS\n", {}, "BOSS", id="unknown-state"
        ),
        pytest.param(f"{HA}PROJECTS_ENABLED=true\n", {}, "Projects", id="projects"),
        pytest.param(
            HA, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "Kubernetes", id="kubernetes"
        ),
        pytest.param(HA, {"ECS_CONTAINER_METADATA_URI": "http://x"}, "ECS", id="ecs"),
        pytest.param(
            "DATA_FOLDER=/proc/nowhere\n", {}, "DATA_FOLDER", id="unwritable-folder"
        ),
        pytest.param("CONSOLE_CN=$(rm -rf x)\n", {}, "line 3", id="shell-code"),
        pytest.param(
            "MONGOD_BINARY=/bin/true\n", {}, "MONGOD_BINARY", id="wrong-mongod"
        ),
        pytest.param("NODE_ADDRESS=192.0.2.77\n", {}, "NODE_ADDRESS", id="bad-address"),
        pytest.param("\0\x01\x02\xff\n", {}, "text", id="binary-garbage"),
    ],
)
def test_a_wrong_configuration_is_refused(
    text: str, environ: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    """The exit code is 1, the reason is told, and nothing is left half started."""
    config = tmp_path / "twistlock.cfg"
    folder = tmp_path / "data"
    usual = f"DATA_FOLDER={folder}\nDATA_RECOVERY_VOLUME={tmp_path}\n"
    if "DATA_FOLDER" in text:
        usual = f"\nDATA_RECOVERY_VOLUME={tmp_path}\n"
    config.write_text(usual + text, encoding="latin-1")

    ended = run(config, **environ)

    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (folder / "db").exists()


def test_a_missing_configuration_is_refused(tmp_path: Path) -> None:
    """The sentence names the file that must be there."""
    config = tmp_path / "nothing.cfg"

    ended = run(config)

    assert ended.returncode == 1
    assert ended.stderr.strip() == f"Configuration file {config} must be present"


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    """The sentence names the key, the port and what to do."""
    config = tmp_path / "twistlock.cfg"
    with socket.create_server(("127.0.0.77", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(
            f"NODE_ADDRESS=127.0.0.77\nDATA_FOLDER={tmp_path / 'data'}\n"
            f"DATA_RECOVERY_VOLUME={tmp_path}\nDATABASE_PORT={port}\n"
        )

        ended = run(config)

    assert ended.returncode == 1
    assert f"DATABASE_PORT: port {port} on 127.0.0.77 is taken" in ended.stderr
