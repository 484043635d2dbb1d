"""Which mongod is run."""

from pathlib import Path

import pytest

from twistlock_console.common.errors import DatabaseError
from twistlock_console.database.mongod_run import find_mongod
from twistlock_console.settings import Settings


def chosen(program: Path | None) -> Settings:
    return Settings(node_address="127.0.0.1", mongod_binary=program)


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_the_chosen_one_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MONGOD_BINARY wins over the mongod on PATH."""
    mine = program(tmp_path / "mine")
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin" / "mongod").parent))

    assert find_mongod(chosen(mine)) == mine


def test_the_hosts_comes_before_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mongod that is installed on the host is preferred to the embedded one."""
    installed = program(tmp_path / "bin" / "mongod")
    monkeypatch.setenv("PATH", str(installed.parent))

    assert find_mongod(chosen(None)) == installed


def test_ours_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any other, the one that our wheel brings is run."""
    monkeypatch.setenv("PATH", str(tmp_path))

    found = find_mongod(chosen(None))

    assert found.parts[-4:] == ("fiftyone", "db", "bin", "mongod")


def test_a_lost_executable_bit_is_set(tmp_path: Path) -> None:
    """Some unpackers drop the bit; the operator need not care."""
    found = find_mongod(chosen(program(tmp_path / "mongod", 0o600)))

    assert found.stat().st_mode & 0o777 == 0o755


def test_a_wrong_choice_is_told(tmp_path: Path) -> None:
    """A MONGOD_BINARY that is not there is not silently replaced by another."""
    with pytest.raises(DatabaseError, match=f"there is no file {tmp_path}/none"):
        find_mongod(chosen(tmp_path / "none"))
