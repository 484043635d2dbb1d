"""Changes to watched files are told, those made while nobody looked too."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hosts.node import PROJECT
from tests.hosts.waiting import wait_for
from twistlock_console.protocol import (
    Event,
    FileEvent,
    FilePart,
    HostRule,
    TroubleEvent,
    WatchedPath,
)
from twistlock_defender.common.problems import Problems
from twistlock_defender.files import baseline, fanotify, inotify, monitor
from twistlock_defender.files.monitor import FileMonitor
from twistlock_defender.files.rules import FileRecord, Watched, find_change

OLD = FileRecord("h1", "0644", "root:root", "1")


class Found(list[Event]):
    """What the watch reported."""

    def files(self) -> list[tuple[str, str]]:
        """Name and change of each file event."""
        events = [event for event in self if isinstance(event, FileEvent)]
        return [(Path(event.path).name, event.change) for event in events]

    def wait(self, *changes: tuple[str, str]) -> None:
        """Wait until exactly these were told, in any order."""
        wanted = sorted(changes)
        wait_for(lambda: len(self.files()) >= len(wanted), 10, f"{wanted}")
        assert sorted(self.files()) == wanted


@pytest.fixture
def found() -> Found:
    """Nothing yet."""
    return Found()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A watched folder."""
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "one").write_text("1")
    (tree / "deep" / "two").write_text("2")
    return tree


@pytest.fixture
def start(tmp_path: Path, found: Found) -> Iterator[Callable[[FilePart], FileMonitor]]:
    """Starts a watch that has looked at everything once."""
    with ExitStack() as stack:

        def started(part: FilePart) -> FileMonitor:
            folder = tmp_path / "defender"
            folder.mkdir(exist_ok=True)
            watch = FileMonitor(folder, found.extend, Problems(found.extend))
            looked = watch._compare_notified
            ready: list[bool] = []

            def noticed(*args: object) -> None:
                ready.append(True)
                looked(*args)  # type: ignore[arg-type]

            watch._compare_notified = noticed  # type: ignore[assignment]
            stack.callback(watch.close)
            watch.open()
            watch.apply(HostRule("files", files=part))
            wait_for(lambda: ready, 10, "everything was looked at once")
            return watch

        yield started


def part(*paths: Path, recursive: bool = True, without: Sequence[str] = ()) -> FilePart:
    """Watch *paths*."""
    watched = tuple(WatchedPath(str(path), recursive) for path in paths)
    return FilePart(watched, tuple(without))


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        pytest.param(None, OLD, "created", id="created"),
        pytest.param(OLD, None, "deleted", id="deleted"),
        pytest.param(
            OLD, FileRecord("h2", "0600", "a:a", "2"), "modified", id="content"
        ),
        pytest.param(
            OLD, FileRecord("h1", "0600", "root:root", "2"), "attributes", id="mode"
        ),
        pytest.param(
            OLD, FileRecord("h1", "0644", "a:root", "2"), "attributes", id="owner"
        ),
        pytest.param(
            OLD, FileRecord("h1", "0644", "root:root", "2"), None, id="touched"
        ),
        pytest.param(None, None, None, id="never-there"),
    ],
)
def test_what_counts_as_a_change(
    before: FileRecord | None, after: FileRecord | None, change: str | None
) -> None:
    """Content goes before rights; a new time alone is nothing."""
    assert find_change(before, after) == change


@pytest.mark.parametrize(
    ("path", "watched"),
    [
        ("/etc", True),
        ("/etc/passwd", True),
        ("/etc/ssh/sshd_config", False),
        ("/etcetera", False),
        ("/opt/a/b", True),
        ("/opt/cache/b", False),
        ("/opt/x.log", False),
        ("/opt/own/outbox.db", False),
    ],
)
def test_which_paths_are_watched(path: str, watched: bool) -> None:
    """Below a folder all or one level; exclusions, and the Defender's own, never."""
    roots = (WatchedPath("/etc"), WatchedPath("/opt/", recursive=True))
    rule = FilePart(roots, ("/opt/cache", "*.log"))

    assert (path in Watched(rule, "/opt/own")) is watched


def test_each_change_is_told(
    start: Callable[[FilePart], FileMonitor], found: Found, tree: Path
) -> None:
    """With the hash before and after, at any depth."""
    start(part(tree, without=["*.log"]))

    (tree / "one").write_text("11")
    (tree / "deep" / "two").chmod(0o600)
    (tree / "new").write_text("n")
    (tree / "noise.log").write_text("n")
    found.wait(("one", "modified"), ("two", "attributes"), ("new", "created"))
    (tree / "deep" / "two").unlink()

    found.wait(
        ("one", "modified"),
        ("two", "attributes"),
        ("new", "created"),
        ("two", "deleted"),
    )
    told = {(e.path, e.change): e for e in found if isinstance(e, FileEvent)}
    modified = told[str(tree / "one"), "modified"]
    assert modified.hash_before == hashlib.sha256(b"1").hexdigest()
    assert modified.hash_after == hashlib.sha256(b"11").hexdigest()
    assert told[str(tree / "deep" / "two"), "attributes"].mode == "0600"


def test_a_replaced_file_is_a_modified_one(
    start: Callable[[FilePart], FileMonitor], found: Found, tree: Path
) -> None:
    """As editors do it; also where the file alone is watched."""
    start(part(tree / "one"))
    for text in ("a", "b"):
        (tree / "draft").write_text(text)
        (tree / "draft").replace(tree / "one")
        wait_for(lambda: found.files()[-1:], 10, "a finding")

    found.wait(("one", "modified"), ("one", "modified"))


def test_what_changed_while_nobody_looked_is_told(
    start: Callable[[FilePart], FileMonitor], found: Found, tree: Path
) -> None:
    """The baseline is on disk; the first look at a path makes it, silently."""
    start(part(tree)).close()
    assert found.files() == []
    (tree / "one").write_text("9")
    os.utime(tree / "one", (0, 0))
    (tree / "deep" / "two").unlink()
    (tree / "deep").rmdir()

    start(part(tree))

    found.wait(("one", "modified"), ("two", "deleted"), ("deep", "deleted"))


def test_a_path_that_is_not_there_is_told(
    start: Callable[[FilePart], FileMonitor], found: Found, tree: Path
) -> None:
    """The other paths are watched all the same."""
    start(part(tree / "nothing", tree))
    (tree / "one").write_text("11")

    found.wait(("one", "modified"))
    [trouble] = [event for event in found if isinstance(event, TroubleEvent)]
    assert trouble.sentence == (
        f"{tree}/nothing cannot be watched: it is not there; create it or take it out "
        "of the rule"
    )


def test_what_can_be_no_path_is_told(
    start: Callable[[FilePart], FileMonitor], found: Found, tree: Path
) -> None:
    """An older Console lets such rules pass; the other paths are watched."""
    start(part(Path("/etc/a\0b"), tree))
    (tree / "one").write_text("11")

    found.wait(("one", "modified"))
    [trouble] = [event for event in found if isinstance(event, TroubleEvent)]
    assert (
        "cannot be watched: it is not a valid path (embedded null" in trouble.sentence
    )


def test_what_nobody_foresaw_is_told_and_outlived(
    start: Callable[[FilePart], FileMonitor],
    found: Found,
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the error is, files are watched again once it is gone."""

    def broken(*_: object) -> bool:
        raise ValueError("unforeseen")

    monkeypatch.setattr(monitor, "UNWATCHED_SCAN_INTERVAL_S", 0.1)
    watch = start(part(tree))
    with monkeypatch.context() as context:
        context.setattr(monitor, "scan", broken)
        watch.apply(HostRule("again", files=part(tree)))
        wait_for(lambda: troubles(found), 10, "a trouble")
    (tree / "one").write_text("11")

    found.wait(("one", "modified"))
    assert troubles(found) == [
        "files are not watched: an error that was not foreseen; see the log; "
        "retried soon"
    ]


def troubles(found: Found) -> list[str]:
    """The sentences told."""
    return [event.sentence for event in found if isinstance(event, TroubleEvent)]


@pytest.mark.needs("setpriv", root=True)
def test_without_the_right_it_says_so(tree: Path) -> None:
    """What may be watched still is."""
    script = f"""
import sys, time, tempfile
from pathlib import Path
from twistlock_console.protocol import *
from twistlock_defender.files.monitor import FileMonitor
from twistlock_defender.common.problems import Problems
problems = Problems(lambda events: None)
paths = (WatchedPath("{tree}/deep", True),)
watch = FileMonitor(Path(tempfile.mkdtemp()), print, problems)
watch.open()
watch.apply(HostRule("r", files=FilePart(paths)))
while not problems.current():
    time.sleep(0.02)
print(*problems.current())
watch.close()
"""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*user, sys.executable, "-c", script]

    said = subprocess.check_output(command, cwd=PROJECT, text=True, timeout=120)

    assert "cannot be watched: not permitted; run the Defender as root" in said


def test_without_notices_files_are_still_compared(
    start: Callable[[FilePart], FileMonitor],
    tree: Path,
    found: Found,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel gives no more inotify instances: it says so, and goes on looking."""

    def refused() -> None:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(inotify, "InotifyObserver", refused)
    monkeypatch.setattr(monitor, "UNWATCHED_SCAN_INTERVAL_S", 0.2)
    start(part(tree))
    (tree / "one").write_text("changed")

    found.wait(("one", "modified"))
    told = [event.sentence for event in found if isinstance(event, TroubleEvent)]
    assert any("too many inotify instances" in sentence for sentence in told)


def test_a_baseline_damaged_inside_is_begun_anew(
    start: Callable[[FilePart], FileMonitor],
    tree: Path,
    found: Found,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its beginning is sound, so that shows only when the damaged part is read."""
    monkeypatch.setattr(monitor, "UNWATCHED_SCAN_INTERVAL_S", 0.1)
    for number in range(2000):
        (tree / f"file-{number}").touch()
    start(part(tree)).close()
    file = tmp_path / "defender" / "baseline.db"
    damaged = bytearray(file.read_bytes())
    damaged[4096 * 3 :] = os.urandom(len(damaged) - 4096 * 3)
    file.write_bytes(damaged)

    start(part(tree))

    told = [event.sentence for event in found if isinstance(event, TroubleEvent)]
    assert any("is damaged" in sentence for sentence in told)


def test_a_path_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    """A file may be called anything; the status must be written all the same."""
    name = os.fsdecode(b"/home/x/" + bytes([255]))
    problems = Problems(lambda _: None)
    problems.add("files", f"{name} cannot be read")

    [told] = problems.current()
    assert told.encode().endswith(b" cannot be read")


def test_a_folder_made_anew_is_watched_again(
    start: Callable[[FilePart], FileMonitor],
    tree: Path,
    found: Found,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel's notices belong to the folder that was there before."""
    monkeypatch.setattr(monitor, "SCAN_INTERVAL_S", 0.3)
    start(part(tree / "deep"))
    shutil.rmtree(tree / "deep")
    wait_for(lambda: ("deep", "deleted") in found.files(), 10, "its end")
    (tree / "deep").mkdir()
    wait_for(lambda: ("deep", "created") in found.files(), 10, "its return")
    monkeypatch.setattr(monitor, "SCAN_INTERVAL_S", 60)
    time.sleep(0.5)

    (tree / "deep" / "three").touch()

    wait_for(lambda: ("three", "created") in found.files(), 10, "a notice")


def test_what_cannot_be_kept_is_told_once(
    start: Callable[[FilePart], FileMonitor],
    tree: Path,
    found: Found,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The disk is full: the baseline stays behind what was told, in memory."""
    monkeypatch.setattr(monitor, "UNWATCHED_SCAN_INTERVAL_S", 0.1)
    start(part(tree))
    with monkeypatch.context() as broken:
        broken.setattr(
            baseline, "SAVE", "INSERT INTO files VALUES (nullif(?1,?1),?,?,?,?)"
        )
        (tree / "one").write_text("changed")
        found.wait(("one", "modified"))
        time.sleep(0.5)
    (tree / "deep" / "two").write_text("changed, too")

    found.wait(("one", "modified"), ("two", "modified"))


def test_a_link_to_a_folder_is_watched(
    start: Callable[[FilePart], FileMonitor], tree: Path, found: Found, tmp_path: Path
) -> None:
    """What is in the folder, under the link's name."""
    (tmp_path / "link").symlink_to(tree)
    start(part(tmp_path / "link"))

    (tree / "one").write_text("11")

    found.wait(("one", "modified"))
    assert [e.path for e in found if isinstance(e, FileEvent)] == [
        str(tmp_path / "link" / "one")
    ]


@pytest.mark.needs(root=True)
def test_who_wrote_is_told(
    start: Callable[[FilePart], FileMonitor], tree: Path, found: Found
) -> None:
    """With all rights: the process that wrote, also through a file that was replaced.

    Who changed rights stays unknown.
    """
    start(part(tree))
    script = f"""
import pathlib, time
tree = pathlib.Path("{tree}")
(tree / "one").write_text("11")
(tree / "draft").write_text("22")
(tree / "draft").replace(tree / "deep" / "two")
(tree / "deep").chmod(0o711)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script]) as writer:
        try:
            found.wait(("one", "modified"), ("two", "modified"), ("deep", "attributes"))
            name = Path(f"/proc/{writer.pid}/comm").read_text().strip()
        finally:
            writer.kill()

    told = {Path(e.path).name: e.process for e in found if isinstance(e, FileEvent)}
    who = f"{name} ({writer.pid})"
    assert told == {"one": who, "two": who, "deep": None}


def test_without_the_right_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is not even asked."""
    monkeypatch.setattr(fanotify, "has_capability", lambda _: False)
    writers = fanotify.WriterTracker()
    writers.watch("/etc")

    assert writers.pop_writer("/etc/passwd") is None
    assert writers.pop_writer("/nothing") is None
    writers.close()


@pytest.mark.needs("unshare", root=True)
def test_a_new_folder_for_which_no_watch_is_left_is_told(tree: Path) -> None:
    """watchdog would be silent; it is compared every 10 s then."""
    script = f"""
import sys, time, tempfile
from pathlib import Path
from twistlock_console.protocol import *
from twistlock_defender.files import monitor as file_watch
from twistlock_defender.common.problems import Problems
Path("/proc/sys/user/max_inotify_watches").write_text("4")
file_watch.SCAN_INTERVAL_S = 0.3
problems = Problems(lambda events: None)
watch = file_watch.FileMonitor(Path(tempfile.mkdtemp()), print, problems)
watch.open()
watch.apply(HostRule("r", files=FilePart((WatchedPath("{tree}", True),))))
time.sleep(2)
assert not problems.current(), problems.current()
for number in range(5):
    Path("{tree}", f"more-{{number}}").mkdir()
while not problems.current():
    time.sleep(0.02)
print(*problems.current())
watch.close()
"""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script]

    said = subprocess.check_output(command, cwd=PROJECT, text=True, timeout=120)

    assert f"folders below {tree} are not watched: too many inotify wat" in said
