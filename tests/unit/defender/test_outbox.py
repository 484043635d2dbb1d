"""The outbox: nothing is lost but what is told, and no number is given twice."""

import json
import sqlite3
import time
from pathlib import Path

import pytest

from tests.hosts.waiting import wait_for
from twistlock_defender.link.outbox import MAX_HELD_EVENTS, Outbox

MEGABYTE = 1024 * 1024


def opened(folder: Path, limit: int = MEGABYTE) -> Outbox:
    """The outbox in *folder*."""
    return Outbox(folder / "outbox.db", limit)


def everything(outbox: Outbox) -> list[tuple[int, str]]:
    """All that waits to be sent."""
    return [(e.number, e.body) for e in outbox.batch(0, 1_000_000, 1 << 40)]


def test_findings_wait_until_they_are_acknowledged(tmp_path: Path) -> None:
    """In order, over a restart; only what was acknowledged goes, and its size."""
    outbox = opened(tmp_path)
    outbox.add(["a", "b"])
    outbox.add(["c"])
    first = everything(outbox)[0][0]
    outbox.delete(first)
    outbox.close()

    again = opened(tmp_path)

    assert everything(again) == [(first + 1, "b"), (first + 2, "c")]
    assert again.state().count == 2
    assert again.state().oldest == "b"
    again.delete(first + 2)
    assert (again.state().count, again.state().bytes) == (0, 0)
    again.close()


def test_batches_are_bounded(tmp_path: Path) -> None:
    """By number and by size, but one finding at least comes, however big."""
    outbox = opened(tmp_path)
    outbox.add(["x" * 100] * 5)
    numbers = [number for number, _ in everything(outbox)]

    assert [e.number for e in outbox.batch(0, 2, 9999)] == numbers[:2]
    assert [e.number for e in outbox.batch(numbers[1], 9, 250)] == numbers[2:4]
    assert [e.number for e in outbox.batch(numbers[3], 9, 1)] == numbers[4:]
    assert outbox.batch(numbers[4], 9, 9) == []
    outbox.close()


def test_a_number_is_never_given_twice(tmp_path: Path) -> None:
    """Not after everything was acknowledged, nor after the file was lost."""
    outbox = opened(tmp_path)
    outbox.add(["a"])
    [(first, _)] = everything(outbox)
    outbox.delete(first)
    outbox.close()
    outbox = opened(tmp_path)
    outbox.add(["b"])
    [(second, _)] = everything(outbox)
    outbox.close()
    (tmp_path / "outbox.db").unlink()

    outbox = opened(tmp_path)
    outbox.add(["c"])

    [(third, _)] = everything(outbox)
    assert first < second < third
    outbox.close()


def test_a_number_is_not_given_twice_though_the_disk_is_set_back(
    tmp_path: Path,
) -> None:
    """To a snapshot of before: the Console has findings that the outbox has not."""
    outbox = opened(tmp_path)
    outbox.add(["a"])
    outbox.close()
    snapshot = (tmp_path / "outbox.db").read_bytes()
    outbox = opened(tmp_path)
    outbox.add(["b"])
    (first, _), (second, _) = everything(outbox)
    outbox.close()
    (tmp_path / "outbox.db").write_bytes(snapshot)
    wait_for(lambda: time.time_ns() // 1_000_000 > second, 5, "the next millisecond")

    outbox = opened(tmp_path)
    outbox.add(["c"])

    assert everything(outbox)[0] == (first, "a")
    assert everything(outbox)[1][0] > second
    outbox.close()


def test_numbers_rise_though_the_clock_is_set_back(tmp_path: Path) -> None:
    """An outbox that began while the clock was ahead goes on where it was."""
    outbox = opened(tmp_path)
    ahead = 2 * time.time_ns() // 1_000_000
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("UPDATE sqlite_sequence SET seq = ?", (ahead,))
    other.close()
    outbox.add(["a"])
    outbox.close()

    outbox = opened(tmp_path)
    outbox.add(["b"])

    assert everything(outbox) == [(ahead + 1, "a"), (ahead + 2, "b")]
    outbox.close()


def test_the_oldest_go_when_it_is_full_and_one_finding_tells(tmp_path: Path) -> None:
    """It says how many and which; what stays is the newest, without a gap."""
    outbox = opened(tmp_path, limit=10_000)
    for number in range(300):
        outbox.add([f'{{"n":{number},"x":"{"x" * 50}"}}'])

    assert outbox.state().bytes <= 10_000
    *kept, (_, told) = everything(outbox)
    lost = json.loads(told)
    assert lost["kind"] == "dropped"
    assert [json.loads(body)["n"] for _, body in kept] == [*range(lost["count"], 300)]
    assert lost["last"] - lost["first"] == lost["count"] - 1
    assert kept[0][0] == lost["last"] + 1
    assert everything(outbox)[-1][1] == told
    outbox.close()


def test_what_does_not_fit_into_memory_is_counted(tmp_path: Path) -> None:
    """Where disk and memory are full, the number of what went is told."""
    outbox = opened(tmp_path, limit=64 * MEGABYTE)
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON events "
            "BEGIN SELECT RAISE(FAIL, 'no room'); END"
        )
    outbox.add([str(number) for number in range(MAX_HELD_EVENTS + 50)])
    assert "no room" in str(outbox.state().trouble)
    with sqlite3.connect(tmp_path / "outbox.db") as other:
        other.execute("DROP TRIGGER full")
    other.close()

    outbox.retry()

    first, *_, (_, told) = everything(outbox)
    assert first[1] == "50"
    assert json.loads(told)["count"] == 50
    assert json.loads(told)["last"] == first[0] - 1
    outbox.close()


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """The Defender goes on with a new one, and says so."""
    (tmp_path / "outbox.db").write_bytes(b"no database at all" * 1000)

    outbox = opened(tmp_path)
    outbox.add(["a"])

    assert [body for _, body in everything(outbox)] == ["a"]
    assert (tmp_path / "outbox.db.damaged").exists()
    outbox.close()


@pytest.mark.parametrize("use", ["add", "delete"])
def test_damage_that_opening_does_not_notice(use: str, tmp_path: Path) -> None:
    """In the list of free pages, which is read when something is added or deleted."""
    outbox = opened(tmp_path, limit=64 * MEGABYTE)
    outbox.add([f"{number}" + "x" * 3000 for number in range(100)])
    numbers = [number for number, _ in everything(outbox)]
    outbox.delete(numbers[49])
    outbox.close()
    damage_free_pages(tmp_path / "outbox.db")
    outbox = opened(tmp_path, limit=64 * MEGABYTE)
    assert [number for number, _ in everything(outbox)] == numbers[50:]
    assert not (tmp_path / "outbox.db.damaged").exists()

    if use == "delete":
        outbox.delete(numbers[-1])
    outbox.add(["a" * 9000, "b"])

    assert [body[0] for _, body in everything(outbox)] == ["a", "b"]
    assert everything(outbox)[0][0] > numbers[-1]
    assert outbox.state().trouble is None
    assert (tmp_path / "outbox.db.damaged").exists()
    outbox.close()


def test_a_damaged_file_that_stays_is_told(tmp_path: Path) -> None:
    """It cannot be set aside: findings are held until it can."""
    (tmp_path / "outbox.db").write_bytes(b"no database at all" * 1000)
    (tmp_path / "outbox.db.damaged").mkdir()

    outbox = opened(tmp_path)
    outbox.add(["a"])
    assert "cannot be written" in str(outbox.state().trouble)
    (tmp_path / "outbox.db.damaged").rmdir()
    outbox.retry()

    assert [body for _, body in everything(outbox)] == ["a"]
    assert outbox.state().trouble is None
    outbox.close()


def damage_free_pages(path: Path) -> None:
    """Spoil the first page that lists free ones (sqlite.org/fileformat2.html)."""
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18])
    trunk = (int.from_bytes(content[32:36]) - 1) * size
    assert trunk > 0
    content[trunk : trunk + size] = b"\xff" * size
    path.write_bytes(content)
