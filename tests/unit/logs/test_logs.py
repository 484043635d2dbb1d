"""What is logged: one line a record, with its place, and never a secret."""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from twistlock_console.common.clock import SECOND, boottime_ns
from twistlock_console.logs.reader import LogLine, parse_line, read_latest_lines
from twistlock_console.logs.setup import (
    LOG_CONTEXT,
    JsonLines,
    PlainLines,
    log_as_node,
    log_as_server,
    log_file,
    rotate_log,
)
from twistlock_console.settings import LogFormat, Settings

log = logging.getLogger("tests.logs")


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A node's folders; the logging of the test run comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    made = Settings(node_address="192.0.2.1", data_folder=tmp_path / "data")
    made.folders.create()
    root.setLevel(logging.INFO)
    yield made
    for added in [one for one in root.handlers if one not in handlers]:
        added.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    LOG_CONTEXT.node, LOG_CONTEXT.epoch = "", lambda: 0


def record(message: str, *arguments: object) -> logging.LogRecord:
    """A record as a module makes it, with its place."""
    made = logging.LogRecord("a.b", logging.INFO, "", 1, message, arguments, None)
    LOG_CONTEXT.filter(made)
    return made


def test_a_record_is_one_json_object(settings: Settings) -> None:
    """Time, level, logger and message; node and epoch; no request where none is."""
    with log_as_node(settings):
        LOG_CONTEXT.epoch = lambda: 7
        log.info("opened %s", "8083")

    line = json.loads(log_file(settings.folders).read_text())
    assert {name: line[name] for name in line if name != "time"} == {
        "level": "INFO",
        "logger": "tests.logs",
        "message": "opened 8083",
        "node": "192.0.2.1",
        "epoch": 7,
    }


def test_people_may_have_it_in_words(settings: Settings) -> None:
    """LOG_FORMAT=human; servers write the same as the node, to the same file."""
    log_as_server(replace(settings, log_format=LogFormat.HUMAN), lambda: 3)

    log.warning("took %s s", 2)

    line = log_file(settings.folders).read_text()
    assert line.endswith("WARNING tests.logs: took 2 s node=192.0.2.1 epoch=3\n")


@pytest.mark.parametrize("form", [JsonLines, PlainLines])
@pytest.mark.parametrize(
    "trick", ["\n", "\r\n", "\x1b[2J", "\u2028", "\x85", "\u202e", "\u2066"]
)
def test_nobody_forges_a_line(
    form: Callable[[], logging.Formatter], trick: str
) -> None:
    """What a stranger sends into a message stays within its line."""
    line = form().format(record("login of %s", f"eve{trick}2026 INFO forged"))

    assert line.splitlines() == [line]
    assert line.isprintable()


def test_an_exception_keeps_its_traceback() -> None:
    """In JSON it is a field, in words it follows below."""
    try:
        int("why")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()

    assert "ValueError: invalid" in json.loads(JsonLines().format(made))["error"]
    assert PlainLines().format(made).endswith("'why'")


def test_a_large_file_gives_way_to_a_new_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes goes on in the new one, and reading spans both."""
    monkeypatch.setattr("twistlock_console.logs.setup.MAX_FILE_BYTES", 10)
    with log_as_node(settings):
        log.info("first")
    rotate_log(settings.folders)
    log_as_server(settings, lambda: 0)

    log.info("second")

    assert "first" not in log_file(settings.folders).read_text()
    assert [line.log.split()[1] for line in read_latest_lines(settings.folders, 5)] == [
        "first",
        "second",
    ]


def test_a_long_log_is_not_continued_from_an_older_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lines in between are left out, older lines would look like their sequel."""
    monkeypatch.setattr("twistlock_console.logs.reader.MAX_READ_BYTES", 30)
    newest = log_file(settings.folders)
    Path(f"{newest}.1").write_text("an older line\n")
    newest.write_text("".join(f"line {n}\n" for n in range(10)))

    assert [line.log for line in read_latest_lines(settings.folders, 100)] == [
        "line 6",
        "line 7",
        "line 8",
        "line 9",
    ]


def test_the_latest_lines_are_the_last_ones(settings: Settings) -> None:
    """However long the file is, only its end is read."""
    with log_file(settings.folders).open("w") as file:
        file.writelines(f"line {number}\n" for number in range(200_000))

    assert [line.log for line in read_latest_lines(settings.folders, 2)] == [
        "line 199998",
        "line 199999",
    ]
    assert (
        read_latest_lines(replace(settings, data_folder=Path("/nowhere")).folders, 2)
        == []
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '{"time": "T", "level": "INFO", "logger": "a", "message": "b", "epoch": 3}',
            LogLine("T", "INFO", "a: b epoch=3"),
        ),
        (
            '{"time": "T", "level": "E", "logger": "a", "message": "b", "error": "c"}',
            LogLine("T", "E", "a: b\nc"),
        ),
        (
            "2026-11-24T05:00:00.000Z INFO a.b: words",
            LogLine("2026-11-24T05:00:00.000Z", "INFO", "a.b: words"),
        ),
        ("  File x, line 3", LogLine("", "", "  File x, line 3")),
        ('{"torn": ', LogLine("", "", '{"torn": ')),
        ('{"other": 1}', LogLine("", "", '{"other": 1}')),
    ],
)
def test_both_formats_are_read_back(text: str, line: LogLine) -> None:
    """And what is neither is shown as it is."""
    assert parse_line(text) == line


def told(capsys: pytest.CaptureFixture[str], what: str, seconds: float = 20) -> str:
    """Wait until *what* is on standard error; give all that is there until then."""
    text, deadline = "", boottime_ns() + round(seconds * SECOND)
    while what not in text and boottime_ns() < deadline:
        threading.Event().wait(0.01)
        text += capsys.readouterr().err
    return text


def test_a_file_deleted_on_a_full_disk_is_made_anew(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be written holds up nothing that comes after it."""
    log_file(settings.folders).symlink_to("/dev/full")
    with log_as_node(settings):
        log.info("no room")
        text = told(capsys, "No space left on device")
        log_file(settings.folders).unlink()

        log.info("lost")
        log.info("written")

    assert "lines are not written to" in text
    assert '"message": "written"' in log_file(settings.folders).read_text()


def test_a_server_on_a_full_disk_goes_on(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its log fails none of its calls; why lines are missing is told once a minute."""
    log_file(settings.folders).symlink_to("/dev/full")
    log_as_server(settings, lambda: 0)
    for _ in range(9):
        log.info("no room")
    log_file(settings.folders).unlink()

    log.info("lost")
    log.info("written")

    text = capsys.readouterr().err
    assert text.count("No space left on device") == 1
    assert "Traceback" not in text
    assert '"message": "written"' in log_file(settings.folders).read_text()


def test_a_node_ends_on_a_full_disk(settings: Settings) -> None:
    """What still waits for room is left out."""
    log_file(settings.folders).symlink_to("/dev/full")

    with log_as_node(settings):
        log.info("no room")

    assert log_file(settings.folders).is_symlink()
