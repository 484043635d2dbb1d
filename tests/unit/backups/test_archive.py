"""The file of a backup: written once, read back whole, and refused if it is not."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import bson
import pytest

from twistlock_console.backups.format.archive import (
    BLOCK_BYTES,
    CHUNK_BYTES,
    COMPRESSION_LEVEL,
    MAX_EXPANSION_RATIO,
    MAX_TEXT_BYTES,
    ArchiveEntry,
    ArchiveWriter,
    BoundedSource,
    open_archive,
    packing,
    unpacked,
)
from twistlock_console.backups.format.manifest import (
    IDENTITY,
    MANIFEST,
    CollectionEntry,
    Manifest,
)
from twistlock_console.common.errors import Refused

MADE = 1_795_478_400
DATA = bytes(range(256)) * 5
OPTIONS = b"{}"
HELD = CollectionEntry(
    "events", 2, 40, "0" * 64, len(DATA), len(OPTIONS), hashlib.sha256().hexdigest()
)
CONTENT = Manifest("mine", "26.11.1", MADE, 7, "5.1", "AB", True, (HELD,))
FILES = (
    (MANIFEST, CONTENT.as_bytes()),
    (IDENTITY, b"sealed"),
    (HELD.metadata_file, OPTIONS),
    (HELD.data_file, DATA),
)


class CountingReader(io.BytesIO):
    """A file that notes how much was asked of it at a time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.asked: list[int | None] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked.append(size)
        return super().read(size)


def write(path: Path, *files: tuple[str, bytes]) -> ArchiveWriter:
    """Write a backup that holds *files*."""
    with path.open("wb") as file:
        writer = ArchiveWriter(file)
        for name, data in files:
            writer.add_bytes(name, data, MADE)
        writer.close()
    return writer


def read(path: Path, sha256: str | None = None) -> list[tuple[str, int, bytes]]:
    """Read all that follows the manifest."""
    with open_archive(path, sha256) as reader:
        return [(each.name, each.size, each.read()) for each in reader.entries()]


def walk(path: Path) -> None:
    """Go through a backup without reading what it holds."""
    with open_archive(path) as reader:
        for _ in reader.entries():
            pass


def repack(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the tar inside the gzip."""
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A good backup."""
    write(tmp_path / "good.tar.gz", *FILES)
    return tmp_path / "good.tar.gz"


def test_a_backup_is_read_as_it_was_written(tmp_path: Path) -> None:
    """The manifest first, then each file with its size, and the hash is the file's."""
    path = tmp_path / "good.tar.gz"
    writer = write(path, *FILES)

    with open_archive(path, writer.sha256) as reader:
        assert reader.manifest == CONTENT
        found = [(each.name, each.size, each.read()) for each in reader.entries()]

    assert found == [(name, len(data), data) for name, data in FILES[1:]]
    assert writer.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert writer.size == path.stat().st_size


def test_every_tar_reads_a_backup(backup: Path) -> None:
    """Only its owner may read the files, and they are as old as the backup."""
    with tarfile.open(backup) as tar:
        members = tar.getmembers()
        bodies = [tar.extractfile(member) for member in members]
        assert [body.read() for body in bodies if body] == [data for _, data in FILES]

    assert [(m.name, m.mtime, m.mode) for m in members] == [
        (name, MADE, 0o600) for name, _ in FILES
    ]


def test_a_backup_ends_with_two_empty_blocks(backup: Path) -> None:
    """As tar demands; and each file fills whole blocks."""
    tar = gzip.decompress(backup.read_bytes())
    blocks = sum(1 + -(-len(data) // BLOCK_BYTES) for _, data in FILES)

    assert len(tar) == (blocks + 2) * BLOCK_BYTES
    assert not tar[-2 * BLOCK_BYTES :].strip(b"\0")


def test_the_same_content_makes_the_same_file(backup: Path, tmp_path: Path) -> None:
    """The gzip names no file and no time."""
    write(tmp_path / "again.tar.gz", *FILES)

    assert (tmp_path / "again.tar.gz").read_bytes() == backup.read_bytes()
    assert backup.read_bytes()[3:8] == bytes(5)


def test_the_outer_gzip_only_frames(backup: Path) -> None:
    """What it holds is compressed already: its bytes stand in the file as they are."""
    assert DATA in backup.read_bytes()


def test_a_file_that_became_shorter_is_an_error() -> None:
    """A backup never holds less than its manifest says."""
    writer = ArchiveWriter(io.BytesIO())

    with pytest.raises(OSError, match=r"^x became shorter while it was packed$"):
        writer.add("x", 6, io.BytesIO(b"short"), MADE)


def test_of_a_file_that_became_longer_the_beginning_is_kept(tmp_path: Path) -> None:
    """As much as the manifest says."""
    path = tmp_path / "good.tar.gz"
    with path.open("wb") as file:
        writer = ArchiveWriter(file)
        for name, data in FILES[:-1]:
            writer.add_bytes(name, data, MADE)
        writer.add(HELD.data_file, len(DATA), io.BytesIO(DATA + b"more"), MADE)
        writer.close()

    assert read(path)[-1] == (HELD.data_file, len(DATA), DATA)


def test_a_large_file_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    """It is written and read a megabyte at a time."""
    large = bytes(2 * CHUNK_BYTES + 1)
    held = replace(HELD, packed=len(large))
    source = CountingReader(large)
    path = tmp_path / "large.tar.gz"
    with path.open("wb") as file:
        writer = ArchiveWriter(file)
        content = replace(CONTENT, identity=False, collections=(held,))
        writer.add_bytes(MANIFEST, content.as_bytes(), MADE)
        writer.add_bytes(HELD.metadata_file, OPTIONS, MADE)
        writer.add(HELD.data_file, len(large), source, MADE)
        writer.close()

    with open_archive(path) as reader:
        *_, chunks = ([len(c) for c in each.chunks()] for each in reader.entries())

    assert source.asked == [CHUNK_BYTES, CHUNK_BYTES, 1]
    assert chunks == [CHUNK_BYTES, CHUNK_BYTES, 1]


def test_what_is_not_read_is_skipped(backup: Path) -> None:
    """Whoever wants one file of a backup need not read the others."""
    with open_archive(backup) as reader:
        found = [
            each.read() for each in reader.entries() if each.name == HELD.data_file
        ]

    assert found == [DATA]


def test_a_file_that_is_no_small_text_is_refused() -> None:
    """Of a manifest at most four megabytes are read."""
    source = BoundedSource(io.BytesIO(bytes(2 * MAX_TEXT_BYTES)), MAX_TEXT_BYTES)

    assert len(ArchiveEntry("x", MAX_TEXT_BYTES, source).read()) == MAX_TEXT_BYTES
    with pytest.raises(Refused, match=r"^x in it is far too large$"):
        ArchiveEntry("x", MAX_TEXT_BYTES + 1, source).read()


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_a_backup_may_grow_to_four_times_its_size_and_a_megabyte(size: int) -> None:
    """What grows more when it is unpacked is there to fill the memory."""
    most = MAX_EXPANSION_RATIO * size + CHUNK_BYTES

    assert BoundedSource(io.BytesIO(bytes(most)), size).exactly(most) == bytes(most)
    with pytest.raises(Refused, match=r"^it grows without end when it is unpacked$"):
        BoundedSource(io.BytesIO(bytes(most + 1)), size).exactly(most + 1)


def test_the_growth_of_all_files_counts_together() -> None:
    """Many small files make a bomb too."""
    source = BoundedSource(io.BytesIO(bytes(2 * CHUNK_BYTES)), 0)

    assert source.read(CHUNK_BYTES) == bytes(CHUNK_BYTES)
    with pytest.raises(Refused, match="grows without end"):
        source.read(1)


class ShortReads(io.BytesIO):
    """A file that gives one byte at a time, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size, 1) if size else size)


def test_a_file_may_give_less_than_was_asked_for() -> None:
    """Then it is asked again; only its end is an error."""
    source = BoundedSource(ShortReads(b"abc"), 0)

    assert source.exactly(3) == b"abc"
    with pytest.raises(Refused, match=r"^it ends too early$"):
        source.exactly(1)


def _header(name: str, size: int = 0, **values: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in values.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT if len(name) > 100 else tarfile.GNU_FORMAT)


LONG = "d" * 80 + "/" + "f" * 80


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ((), "it does not begin with a manifest"),
        (FILES[1:], "it does not begin with a manifest"),
        ((FILES[0], ("x", b"")), "it holds 'x', which does not belong"),
        ((*FILES, FILES[3]), f"it holds {HELD.data_file!r}, which does not belong"),
        (
            (*FILES[:2], (HELD.metadata_file, b"{ }")),
            f"{HELD.metadata_file} in it has another size than it should",
        ),
        (FILES[:3], f"{HELD.data_file} is missing in it"),
        ((FILES[0], *FILES[2:]), f"{IDENTITY} is missing in it"),
    ],
    ids=[
        "empty",
        "no-manifest",
        "foreign",
        "twice",
        "another-size",
        "no-data",
        "no-identity",
    ],
)
def test_a_backup_holds_what_its_manifest_says(
    tmp_path: Path, files: tuple[tuple[str, bytes], ...], sentence: str
) -> None:
    """All of it, and nothing else; the sentence names the backup."""
    path = tmp_path / "bad.tar.gz"
    write(path, *files)

    with pytest.raises(Refused) as caught:
        read(path)

    assert str(caught.value) == f"invalid backup bad.tar.gz: {sentence}"


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (_header("x", type=tarfile.SYMTYPE), "it holds 'x', which is no plain file"),
        (_header("x", type=tarfile.DIRTYPE), "it holds 'x', which is no plain file"),
        (_header("x", size=-1), "it holds 'x', which is no plain file"),
        (
            _header(LONG, type=tarfile.SYMTYPE),
            f"it holds {LONG[:100]!r}, which is no plain file",
        ),
        (_header(LONG), f"it holds {LONG[:100]!r}, which does not belong"),
    ],
    ids=["link", "folder", "negative-size", "long-name", "long-foreign"],
)
def test_a_backup_holds_plain_files_alone(
    backup: Path, block: bytes, sentence: str
) -> None:
    """Of a name that somebody chose a hundred letters are shown."""
    repack(backup, lambda tar: tar[: -2 * BLOCK_BYTES] + block + bytes(2 * BLOCK_BYTES))

    with pytest.raises(Refused) as caught:
        read(backup)

    assert str(caught.value) == f"invalid backup good.tar.gz: {sentence}"


def test_a_file_whose_name_is_no_text_is_refused(backup: Path) -> None:
    """Names in a backup are UTF-8."""
    block = _header("\udcff")
    repack(backup, lambda tar: tar[: -2 * BLOCK_BYTES] + block + bytes(2 * BLOCK_BYTES))

    with pytest.raises(Refused, match="it is damaged, or not a backup"):
        read(backup)


def test_nothing_follows_the_end_of_a_backup(backup: Path) -> None:
    """But zeros, with which tar may fill its last record."""
    repack(backup, lambda tar: tar + bytes(20 * BLOCK_BYTES))
    assert len(read(backup)) == 3

    repack(backup, lambda tar: tar + b"X")
    with pytest.raises(Refused, match=": something follows its end"):
        read(backup)


def test_the_checksum_at_the_end_counts(backup: Path) -> None:
    """A bit that changed on the disk is found when all was read, not before."""
    flipped = bytearray(backup.read_bytes())
    flipped[flipped.index(DATA)] ^= 1
    backup.write_bytes(flipped)

    with pytest.raises(Refused, match="it is damaged, or not a backup"):
        walk(backup)


def test_a_backup_that_was_changed_after_its_seal_is_refused(backup: Path) -> None:
    """Also where its own checksums are right."""
    sealed = hashlib.sha256(backup.read_bytes()).hexdigest()
    assert len(read(backup, sealed)) == 3

    repack(backup, lambda tar: tar)
    assert len(read(backup)) == 3
    with pytest.raises(Refused) as caught:
        read(backup, sealed)

    assert str(caught.value) == (
        "invalid backup good.tar.gz: it was changed since it was made"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        gzip.compress(bytes([255]) * BLOCK_BYTES),
        gzip.compress(b"x" * 2000)[:-9],
    ],
    ids=["text", "no-tar", "cut-off"],
)
def test_another_file_is_no_backup(tmp_path: Path, content: bytes) -> None:
    """Whatever is in it, the sentence says which file and that it is damaged."""
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(content)

    with pytest.raises(Refused) as caught:
        read(path)

    assert str(caught.value) == (
        "bad.tar.gz cannot be read: it is damaged, or not a backup"
    )


def test_an_error_of_the_host_is_reported(tmp_path: Path) -> None:
    """A file that is not there, and one that cannot be read."""
    (tmp_path / "folder.tar.gz").mkdir()

    with pytest.raises(Refused, match=r"^there is no backup none\.tar\.gz$"):
        read(tmp_path / "none.tar.gz")
    with pytest.raises(Refused, match=r"^folder\.tar\.gz cannot be read: .*directory"):
        read(tmp_path / "folder.tar.gz")


BATCHES = [
    b"".join(bson.encode({"n": n, "text": "x" * n}) for n in range(start, start + 20))
    for start in (0, 20, 40)
]


def test_a_collection_is_packed_with_its_number_size_and_hash(tmp_path: Path) -> None:
    """So that a manifest can say what must come out again."""
    with packing(tmp_path / "events.gz") as packer:
        for batch in BATCHES:
            packer.put(batch)
        packer.flush()
        assert packer.documents == 60

    whole = b"".join(BATCHES)
    assert packer.bytes == len(whole)
    assert packer.sha256 == hashlib.sha256(whole).hexdigest()
    packed = (tmp_path / "events.gz").read_bytes()
    assert gzip.decompress(packed) == whole
    assert packed[3:8] == bytes(5)


def test_what_was_put_last_is_packed_too(tmp_path: Path) -> None:
    """The file is complete when the block ends."""
    with packing(tmp_path / "events.gz") as packer:
        packer.put(BATCHES[0])

    assert packer.documents == 20
    assert gzip.decompress((tmp_path / "events.gz").read_bytes()) == BATCHES[0]


def pack(path: Path, batches: list[bytes]) -> None:
    """Pack *batches*, and remove each from the list once it could be put."""
    with packing(path) as packer:
        while batches:
            packer.put(batches[0])
            del batches[0]


def test_an_error_of_packing_reaches_the_caller_of_put(tmp_path: Path) -> None:
    """A backup does not go on, nor end well, when its thread cannot pack."""
    wrong = b"\x04\0\0\0"
    left = [BATCHES[0], wrong, *BATCHES]

    with pytest.raises(Refused, match="no documents"):
        pack(tmp_path / "events.gz", left)
    assert left == BATCHES
    with pytest.raises(Refused, match="no documents"):
        pack(tmp_path / "events.gz", [BATCHES[0], wrong])


def _entry(packed: bytes, file: BinaryIO | None = None) -> ArchiveEntry:
    source = BoundedSource(file or io.BytesIO(packed), len(packed))
    return ArchiveEntry("events", len(packed), source)


def test_a_packed_file_comes_out_as_it_went_in() -> None:
    """A megabyte at a time, and no more than the manifest says."""
    whole = bytes(3 * CHUNK_BYTES) + b"end"
    parts = list(unpacked(_entry(gzip.compress(whole)), len(whole)))

    assert b"".join(parts) == whole
    assert max(map(len, parts)) <= CHUNK_BYTES
    with pytest.raises(Refused) as caught:
        list(unpacked(_entry(gzip.compress(whole)), len(whole) - 1))
    assert str(caught.value) == "events in it holds more than its manifest says"


def test_a_packed_file_may_come_in_several_chunks() -> None:
    """One that hardly shrinks is longer than a chunk itself."""
    whole = zlib.compress(b"x") * (CHUNK_BYTES // 4)
    packed = gzip.compress(whole, 0)

    assert len(packed) > 2 * CHUNK_BYTES
    assert b"".join(unpacked(_entry(packed), len(whole))) == whole
    assert COMPRESSION_LEVEL == 1


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"hello")[:-1],
        gzip.compress(b"hello") + b"x",
        gzip.compress(b"hello") * 2,
        gzip.compress(bytes(CHUNK_BYTES), 0)[:CHUNK_BYTES] + b"x",
        gzip.compress(bytes(CHUNK_BYTES - 100), 0).ljust(CHUNK_BYTES + 5, b"x"),
        b"",
    ],
    ids=["cut-off", "longer", "two", "cut-in-a-chunk", "more-chunks", "empty"],
)
def test_a_packed_file_that_is_damaged_is_refused(packed: bytes) -> None:
    """Cut off, or with something behind its end."""
    with pytest.raises(Refused, match=r"^events in it is damaged$"):
        list(unpacked(_entry(packed), 2 * CHUNK_BYTES))
