"""What twistlock.sh asks the Python code of a release."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twistlock_console.installation.__main__ import main

PROJECT = Path(__file__).parents[3]
HERE = "NODE_ADDRESS=127.0.0.1\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A twistlock.cfg."""
    path = tmp_path / "twistlock.cfg"
    path.write_text(f"# words\n{HERE}DATA_FOLDER=/srv/a\n")
    return path


def ask(capsys: pytest.CaptureFixture[str], *words: str | Path) -> list[str]:
    """Ask with *words*, which must be right."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    assert code == 0, said.err
    return said.out.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Ask with *words*, which must be refused; the reason."""
    assert main([str(word) for word in words]) == 1
    return capsys.readouterr().err


def test_values_are_lines(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Without quotes, whatever is in them; plugins' keys too."""
    folder = "/srv/my 'data' $x"
    lines = ask(capsys, "values", "--config", config, "--data-folder", folder)

    assert f"DATA_FOLDER={folder}" in lines
    assert "DATABASE_PORT=27017" in lines
    assert "HIGH_AVAILABILITY_ENABLED=false" in lines


def test_text_is_the_file_as_it_was(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    """Unless something is merged into it."""
    assert ask(capsys, "text", "--config", config) == config.read_text().splitlines()
    merged = ask(capsys, "text", "--config", config, "--data-folder", "/b c")
    assert merged == ["# words", HERE.strip(), "DATA_FOLDER='/b c'"]


def test_kept_values_come_from_the_installed_file(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    """A mistake in it is told with its own name and line."""
    installed = tmp_path / "installed.cfg"
    installed.write_text("\n\tDATABASE_PORT=1 # c\n")
    keep = ("--account", "root")
    words = ("values", "--config", config, "--keep", installed)

    assert "DATABASE_PORT=1" in ask(capsys, *keep, *words)
    installed.write_text("\nexport A=1\n")
    assert refused(capsys, *keep, *words).startswith(f"{installed}, line 2: 'export")
    installed.write_bytes(b"\xff")
    assert refused(capsys, *keep, *words).startswith(f"{installed}: the file is not")
    installed.unlink()
    assert "cannot be read: No such file" in refused(capsys, *keep, *words)


def test_the_installed_settings_are_shown(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    """Whatever the host has of them."""
    config.write_text("NODE_ADDRESS=192.0.2.7\n HIGH_AVAILABILITY_ENABLED=True\n")

    lines = ask(capsys, "--account", "root", "installed", "--config", config)

    assert "HIGH_AVAILABILITY_ENABLED=true" in lines
    assert "NODE_ADDRESS 192.0.2.7 is not an address of this host" in refused(
        capsys, "values", "--config", config
    )


def test_a_cluster_manager_is_found(
    capsys: pytest.CaptureFixture[str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plugins are asked about the host too."""
    monkeypatch.setitem(os.environ, "KUBERNETES_SERVICE_HOST", "x")
    config.write_text(f"{HERE}HIGH_AVAILABILITY_ENABLED=true\n")

    assert "under Kubernetes" in refused(capsys, "values", "--config", config)


def test_the_unit_is_rendered(capsys: pytest.CaptureFixture[str]) -> None:
    """From the template of the release."""
    template = PROJECT / "packaging/twistlock-console.service"
    folders = ("--programs", "/o", "--data", "/d", "--volume", "/v")

    lines = ask(capsys, "unit", "--template", template, *folders)

    assert "ReadWritePaths=/d -/v" in lines


def test_what_may_be_removed_is_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not what holds a backup or its key."""
    for name in ("db", "log", "secrets", "scripts"):
        (tmp_path / name).mkdir()
    (tmp_path / "scripts/twistlock.cfg").touch()
    places = ("--volume", tmp_path / "db", "--key-file", tmp_path / "secrets/key")

    lines = ask(capsys, "removable", tmp_path, *places)

    assert lines == [
        f"warning\t{tmp_path}/db was left: the folder for backups is in it.",
        "remove\tlog",
        f"warning\t{tmp_path}/secrets was left: the key of the backups is in it.",
        "remove\tscripts",
    ]


@pytest.mark.needs(root=True)
def test_a_folder_is_given_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """To an account that is there."""
    (tmp_path / "data/db").mkdir(parents=True)

    assert ask(capsys, "--account", "nobody", "own", tmp_path / "data") == []
    assert (tmp_path / "data/db").owner() == "nobody"


@pytest.mark.needs(root=True)
def test_folders_are_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings come by standard input, with those that are installed."""
    given = (
        "DATA_FOLDER=/home/x\nDATA_RECOVERY_VOLUME=/var\nDATA_RECOVERY_ENABLED=false\n"
        "MONGOD_BINARY=/none\ninstalled.DATA_FOLDER=/home/x\nother\n"
    )
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))

    lines = ask(capsys, "folders", "--without-systemd")

    assert [line.partition("\t")[0] for line in lines] == ["warning", "error", "error"]
    assert lines[1].startswith("error\tDATA_RECOVERY_VOLUME /var is a folder of the")


def test_the_standard_library_is_enough() -> None:
    """It runs from the wheel, before anything is installed, plugins and all."""
    script = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n" + (
        "from twistlock_console import plugins\n"
        "from twistlock_console.installation import __main__\n"
        "plugins.installed()\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stderr
    loaded = set(eval(ran.stdout))  # noqa: S307 - a list of names
    ours = {"demo", "plugins", "twistlock_console"}
    assert "plugins" in loaded
    assert loaded - ours <= sys.stdlib_module_names | {"__main__", "__mp_main__"}
