"""A node that is to be a secondary and cannot: the message says how to join."""

import subprocess
import sys
from pathlib import Path

import pytest

from plugins.ha.membership.join_client import CLUSTER_SECRETS, check_secrets
from tests.cluster.alone_node import PORTS, PROJECT
from twistlock_console.common.errors import IdentityError
from twistlock_console.settings import Settings


@pytest.mark.parametrize("emptied", [False, True], ids=["by-hand", "emptied"])
def test_a_secondary_without_an_invitation_says_how_to_join(
    tmp_path: Path, emptied: bool
) -> None:
    """It founds no cluster and asks for no backup that there never was."""
    data = tmp_path / "data"
    if emptied:
        data.mkdir()
    keys = {
        **PORTS,
        "NODE_ADDRESS": "127.0.0.93",
        "DATA_FOLDER": str(data),
        "HIGH_AVAILABILITY_ENABLED": "true",
        "HIGH_AVAILABILITY_STATE": "SECONDARY",
    }
    config = tmp_path / "twistlock.cfg"
    config.write_text("".join(f"{name}={value}\n" for name, value in keys.items()))

    done = subprocess.run(
        [sys.executable, "app.py", "run", "--config", str(config)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 1
    assert "copy the join command from Manage > System > High Availability" in (
        done.stderr
    )
    assert "If this host was a node before and its folder was emptied" in done.stderr
    assert "backup" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((data / "certificates").iterdir())


@pytest.mark.parametrize("name", sorted(CLUSTER_SECRETS))
def test_a_member_without_one_of_its_secrets_says_how_to_join_again(
    tmp_path: Path, name: str
) -> None:
    """A folder that was emptied in part cannot be completed from the others."""
    settings = Settings(node_address="127.0.0.93", data_folder=tmp_path)
    settings.folders.create()
    for each, folder in CLUSTER_SECRETS.items():
        (tmp_path / folder / each).write_text("x")
    check_secrets(settings)
    (tmp_path / CLUSTER_SECRETS[name] / name).unlink()

    with pytest.raises(IdentityError, match=r"run the join command again") as raised:
        check_secrets(settings)

    assert f"{name} is missing" in str(raised.value)
