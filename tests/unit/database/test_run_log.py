"""The rotation of mongod's log."""

from pathlib import Path

from twistlock_console.common.log_bounds import MAX_LOG_FILES, rotate_files
from twistlock_console.database.mongod_run import RunLog
from twistlock_console.settings import Folders


def test_a_small_log_stays(tmp_path: Path) -> None:
    """Nothing is renamed below the size."""
    log = tmp_path / "mongod.log"
    log.write_text("few")

    assert not rotate_files(log, 4)
    assert log.read_text() == "few"


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    """The oldest is dropped, the newest is .1, and none is lost in between."""
    log = tmp_path / "mongod.log"
    for number in range(MAX_LOG_FILES + 2):
        log.write_text(f"log {number}")
        rotate_files(log, 1)

    kept = [Path(f"{log}.{n}").read_text() for n in range(1, MAX_LOG_FILES + 1)]
    assert kept == [f"log {MAX_LOG_FILES + 1 - n}" for n in range(MAX_LOG_FILES)]
    assert len(list(tmp_path.iterdir())) == MAX_LOG_FILES


def test_a_reason_is_of_this_run(tmp_path: Path) -> None:
    """What an earlier run wrote is not taken for the cause of this end."""
    folders = Folders(tmp_path)
    folders.create()
    log = folders.log / "mongod.log"
    log.write_text('{"s": "F", "id": 1, "msg": "the earlier one"}\n')
    run = RunLog(folders)
    run.output.touch()
    with log.open("a") as file:
        file.write('{"s": "F", "id": 2, "msg": "this one"}\n')

    assert "this one" in run.reason(14)
    assert "earlier" not in run.reason(14)
