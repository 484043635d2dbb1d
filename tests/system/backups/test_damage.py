"""Whatever is wrong with a file, it is refused in one sentence."""

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backups.backup_node import BackupNode, fill, ignore_progress
from twistlock_console.backups.storage.volume import verify
from twistlock_console.common.errors import Refused

Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


@pytest.fixture
def good(node: BackupNode) -> Path:
    fill(node.database)
    return node.volume / node.make().file


def rewritten(good: Path, change: Change) -> Path:
    """The same backup with its members changed, packed again."""
    with tarfile.open(good) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar.getmembers()]
    change(members)
    bad = good.with_name(good.name.replace("manual", "bad"))
    with tarfile.open(bad, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return bad


def test_a_flipped_bit_is_found_wherever_it_is(good: Path) -> None:
    """Any byte of the file counts."""
    whole = good.read_bytes()
    chance = random.Random(6)  # noqa: S311 - it is to be the same each time
    # Not byte 3 to 9: flags, times and the like, which say nothing of the content.
    for place in [chance.randrange(10, len(whole)) for _ in range(200)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        good.write_bytes(flipped)
        with pytest.raises(Refused):
            verify(good, ignore_progress)


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(good: Path, part: float) -> None:
    """Wherever it ends."""
    whole = good.read_bytes()
    good.write_bytes(whole[: int(part * len(whole))])

    with pytest.raises(Refused, match=good.name):
        verify(good, ignore_progress)


def _member(name: str, data: bytes = b"x", **values: object) -> Change:
    def add(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        info = tarfile.TarInfo(name)
        for key, value in values.items():
            setattr(info, key, value)
        members.append((info, data))

    return add


def _without(part: str) -> Change:
    def remove(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[:] = [m for m in members if part not in m[0].name]

    return remove


def _swapped(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    bodies = {m[0].name: m[1] for m in members}
    for place, (member, _) in enumerate(members):
        if member.name.endswith("users.metadata.json.gz"):
            body = bodies[member.name.replace("users", "settings")]
            members[place] = (member, body)


def _bomb(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    for place, (member, body) in enumerate(members):
        if member.name.endswith("events.bson.gz"):
            inner = gzip.compress(bytes(5_000_000))[: len(body)]
            members[place] = (member, inner.ljust(len(body), b"\0"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_member("../../etc/passwd"), "holds '../../etc/passwd', which does not"),
        (_member("/etc/passwd"), "does not belong"),
        (_member("dump/twistlock/more.bson.gz"), "does not belong"),
        (_member("x", b"", type=tarfile.SYMTYPE, linkname="/etc"), "no plain file"),
        (_member("x", b"", type=tarfile.LNKTYPE, linkname="y"), "no plain file"),
        (_member("x", b"", type=tarfile.CHRTYPE), "no plain file"),
        (_member("y" * 200), "no plain file"),
        (_without("manifest"), "does not begin with a manifest"),
        (_without("events.bson"), "events.bson.gz is missing"),
        (_without("users.metadata"), "users.metadata.json.gz is missing"),
        (_swapped, "another size|damaged"),
        (_bomb, "events"),
        (_member("zeros", bytes(80_000_000)), "without end|does not belong"),
    ],
    ids=[
        "parent",
        "root",
        "foreign",
        "symlink",
        "hardlink",
        "device",
        "long-name",
        "no-manifest",
        "no-data",
        "no-metadata",
        "swapped",
        "inner-bomb",
        "outer-bomb",
    ],
)
def test_a_file_that_was_tampered_with_is_refused(
    good: Path, change: Change, sentence: str
) -> None:
    """Paths that lead elsewhere, links, devices, bombs, missing and foreign files."""
    bad = rewritten(good, change)

    with pytest.raises(Refused, match=sentence):
        verify(bad, ignore_progress)


def test_a_bomb_before_the_manifest_is_never_unpacked(good: Path) -> None:
    """A gigabyte of zeros in a megabyte: refused after a few megabytes."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    good.write_bytes(bomb)

    with pytest.raises(Refused, match=r"without end|manifest|too early"):
        verify(good, ignore_progress)


def test_anything_else_is_no_backup(good: Path) -> None:
    """An empty file, a text, and a folder that is called like one."""
    for content in (b"", b"hello", gzip.compress(b"hello"), bytes(5000)):
        good.write_bytes(content)
        with pytest.raises(Refused):
            verify(good, ignore_progress)
    good.unlink()
    with pytest.raises(Refused, match="there is no backup"):
        verify(good, ignore_progress)
    good.mkdir()
    with pytest.raises(Refused):
        verify(good, ignore_progress)
