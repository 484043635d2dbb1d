"""Secrets are whole, private and on disk, or there is a sentence that says why not."""

import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from twistlock_console.common.atomic_files import (
    ensure_secret,
    read_secret,
    read_text_secret,
    write_secret,
)
from twistlock_console.common.errors import IdentityError


def mode(path: Path) -> int:
    """Give the permission bits of *path*."""
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """The file is only for its owner, whatever the umask says."""
    old = os.umask(0)
    try:
        write_secret(tmp_path / "s", b"\x00secret\n")
    finally:
        os.umask(old)

    assert read_secret(tmp_path / "s") == b"\x00secret\n"
    assert mode(tmp_path / "s") == 0o600


def test_writing_replaces_a_file_whole(tmp_path: Path) -> None:
    """A file open to others becomes private, and nothing else is left around."""
    (tmp_path / "s").write_text("old and longer")
    (tmp_path / "s").chmod(0o644)

    write_secret(tmp_path / "s", b"new")

    assert read_secret(tmp_path / "s") == b"new"
    assert list(tmp_path.iterdir()) == [tmp_path / "s"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """What cannot be put in place is taken away again."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "kept").touch()

    with pytest.raises(IdentityError, match="cannot write"):
        write_secret(tmp_path / "s", b"new")

    assert list(tmp_path.iterdir()) == [tmp_path / "s"]


def test_a_write_cut_short_leaves_the_old_file(tmp_path: Path) -> None:
    """A draft that cannot be written to its end is taken away, and it is said."""
    write_secret(tmp_path / "s", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(IdentityError, match="File too large"):
            write_secret(tmp_path / "s", b"new and longer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert read_secret(tmp_path / "s") == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "s"]


def test_the_folder_must_exist(tmp_path: Path) -> None:
    """Whoever wants a secret makes its folder first."""
    with pytest.raises(IdentityError, match="No such file"):
        write_secret(tmp_path / "no" / "s", b"x")
    with pytest.raises(IdentityError, match="No such file"):
        ensure_secret(tmp_path / "no" / "s")


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o610])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, bits: int) -> None:
    """The sentence holds the command that mends it."""
    path = tmp_path / "s"
    path.write_text("x")
    path.chmod(bits)

    with pytest.raises(IdentityError) as error:
        read_secret(path)

    assert str(error.value).endswith(f"run: chmod 600 {path}")


@pytest.mark.parametrize("content", [b"", b"\n", b" \n\t"])
def test_an_empty_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    """White space alone is no secret; a new one is not made in its place."""
    write_secret(tmp_path / "s", content)

    with pytest.raises(IdentityError, match="is empty"):
        read_secret(tmp_path / "s")
    with pytest.raises(IdentityError, match="is empty"):
        ensure_secret(tmp_path / "s")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, a pipe that nobody writes to: all answer at once."""
    os.mkfifo(tmp_path / "pipe", 0o600)

    with pytest.raises(IdentityError, match="is missing"):
        read_secret(tmp_path / "missing")
    with pytest.raises(IdentityError, match=r"Is a directory|not a plain file"):
        read_secret(tmp_path)
    with pytest.raises(IdentityError, match="not a plain file"):
        read_secret(tmp_path / "pipe")


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    """A text secret holds text."""
    write_secret(tmp_path / "s", b"\xff\xfe")

    with pytest.raises(IdentityError, match="is damaged"):
        read_text_secret(tmp_path / "s")


def test_a_made_secret_stays(tmp_path: Path) -> None:
    """The second call gives the first one's secret, fit for a mongod keyfile."""
    first = ensure_secret(tmp_path / "s")

    assert ensure_secret(tmp_path / "s") == first
    assert ensure_secret(tmp_path / "other") != first
    assert len(first) == 64
    assert first.isalnum()
    assert mode(tmp_path / "s") == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "s"]


def test_makers_at_the_same_time_get_the_same_secret(tmp_path: Path) -> None:
    """Nobody works with a secret that is not the one on disk."""
    gate = threading.Barrier(8)
    made: list[str] = []

    def make() -> None:
        gate.wait(60)
        made.append(ensure_secret(tmp_path / "s"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(made) == 8
    assert set(made) == {read_text_secret(tmp_path / "s")}
