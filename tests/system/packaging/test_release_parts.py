"""The parts of the release that can be tried without installing anything."""

import subprocess
from pathlib import Path

import pytest

from plugins.ha.settings import HaSettings
from plugins.ha.web.join_script import Console, Release, join_script, refusal_script
from twistlock_console.settings import Settings
from twistlock_console.settings.config_file import parse
from twistlock_console.settings.keys import values_of

SCRIPT = Path("packaging/twistlock.sh")
CHECKS = Path("plugins/ha/web/scripts/checks.sh")
CONSOLE = Console("10.0.0.1", 8083, "sha256//p'n", "join-token")


def script(settings: Settings) -> str:
    """The join script of a node with these settings."""
    return join_script(CONSOLE, Release("26.1", "ab" * 32), values_of(settings), 1)


def value(text: str, name: str) -> str:
    """What bash gives *name* in the head of the script."""
    head = text.partition("# shellcheck")[0]
    return subprocess.run(
        ["bash", "-c", f'{head}\nprintf %s "${name}"'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_values_reach_the_script_as_they_are() -> None:
    """No value is run, whatever is in it."""
    settings = Settings(
        node_address="10.0.0.1", data_folder=Path("/srv/$(touch x) 'y'"), console_cn="a"
    )
    text = script(settings)

    assert value(text, "PIN") == "sha256//p'n"
    assert value(text, "DATA_FOLDER") == "/srv/$(touch x) 'y'"


def test_a_joining_node_gets_the_primarys_settings() -> None:
    """All but what is each host's own."""
    settings = Settings(
        node_address="10.0.0.1",
        console_cn="first",
        console_san=("lb.example.com",),
        management_port_ui=None,
        plugin_values=HaSettings(lease_ttl_ms=2000).values(),
        data_folder=Path("/srv/my data"),
    )
    text = script(settings)
    entries = parse(value(text, "SETTINGS").encode(), {}).entries
    joined = {entry.key: entry.value for entry in entries}

    assert "NODE_ADDRESS" not in joined
    assert joined["CONSOLE_CN"] == ""
    assert joined["CONSOLE_SAN"] == "lb.example.com"
    assert joined["HIGH_AVAILABILITY_STATE"] == "SECONDARY"
    assert joined["HIGH_AVAILABILITY_LEASE_TTL_MS"] == "2000"
    assert joined["DATA_FOLDER"] == "/srv/my data"
    assert value(text, "PORTS") == "27017 8083 8084 8086"


def test_a_refusal_is_a_script_that_says_so() -> None:
    """It prints its sentence and fails, and does nothing else."""
    ran = subprocess.run(
        ["bash"], input=refusal_script("it's over"), capture_output=True, text=True
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "Error: it's over\n")


def test_half_a_script_does_nothing() -> None:
    """A download that broke off leaves functions that nobody calls."""
    text = script(Settings(node_address="10.0.0.1"))
    half = text[: text.rindex('main "$@"')]
    ran = subprocess.run(["bash"], input=half, capture_output=True, text=True)

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_defender_is_deployed_by_its_console(tmp_path: Path) -> None:
    """The installer says where the command is."""
    for part in (SCRIPT, CHECKS):
        (tmp_path / part.name).write_text(part.read_text())
    bash = ["bash", str(tmp_path / SCRIPT.name), "defender"]
    ran = subprocess.run(bash, capture_output=True, text=True)

    assert ran.returncode == 1
    assert "Manage > Defenders > Deploy" in ran.stderr


@pytest.mark.parametrize("arguments", [[], ["-x"], ["console", "more"], ["-c"]])
def test_wrong_usage_is_told(arguments: list[str], tmp_path: Path) -> None:
    """Exit code 2 and the usage."""
    for part in (SCRIPT, CHECKS):
        (tmp_path / part.name).write_text(part.read_text())
    bash = ["bash", str(tmp_path / SCRIPT.name), *arguments]
    ran = subprocess.run(bash, capture_output=True, text=True)

    assert ran.returncode == 2
    assert "Usage: sudo ./twistlock.sh" in ran.stderr
