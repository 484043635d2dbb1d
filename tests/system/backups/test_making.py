"""A backup holds the database as it was at one moment, and is good once sealed."""

import errno
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bson
import pytest

from tests.backups.backup_node import PASSPHRASE, BackupNode, fill, ignore_progress
from tests.hosts.pace import Pace
from twistlock_console import __version__
from twistlock_console.backups.format.archive import open_archive
from twistlock_console.backups.format.manifest import IDENTITY
from twistlock_console.backups.operations import identity
from twistlock_console.backups.operations.create import BackupRequest, create_backup
from twistlock_console.backups.storage.volume import Volume, verify
from twistlock_console.backups.storage.work import (
    FOLDER,
    JobProgress,
    WorkFolder,
    sweep,
)
from twistlock_console.common.errors import ConsoleError, Refused
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.identity_files import AUTHORITY_KEY


def test_it_holds_what_was_there(node: BackupNode) -> None:
    """Every collection that belongs in it, and none of the cluster's own."""
    fill(node.database)

    made = node.make("first")
    manifest = verify(node.volume / made.file, ignore_progress, decode=True)

    held = {each.name: each.documents for each in manifest.collections}
    assert held == {
        "audits_mgmt": 1,
        "empty": 0,
        "events": 300,
        "settings": 1,
        "users": 1,
    }
    assert (manifest.version, manifest.epoch) == (__version__, 7)
    assert not manifest.identity


def test_it_is_laid_out_as_mongodump_does(node: BackupNode, tmp_path: Path) -> None:
    """tar, gzip and sha256sum read it; the files are those that mongorestore takes."""
    fill(node.database)

    made = node.make()
    run = {"check": True, "cwd": node.volume, "stdout": subprocess.DEVNULL}
    subprocess.run(["sha256sum", "-c", f"{made.file}.sha256"], **run)
    subprocess.run(["tar", "xzf", made.file, "-C", str(tmp_path)], **run)
    dump = tmp_path / "dump" / "twistlock"
    subprocess.run(["gzip", "-d", *map(str, dump.iterdir())], **run)

    assert len(bson.decode_all((dump / "events.bson").read_bytes())) == 300
    assert '"expireAfterSeconds"' in (dump / "events.metadata.json").read_text()
    assert (node.volume / made.file).stat().st_mode & 0o077 == 0


def test_it_is_one_moment_across_collections(node: BackupNode) -> None:
    """Pairs that are written one after the other are never seen the other way round."""
    fill(node.database, documents=20_000)
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            # "a" sorts before "z": what is read late would have more, not less.
            node.database["a_first"].insert_one({"_id": number})
            node.database["z_second"].insert_one({"_id": number})
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while node.database["z_second"].estimated_document_count() < 20:
            time.sleep(0.01)
        made = node.make()
    finally:
        ended.set()
        writer.join()

    held = {each.name: each.documents for each in made.manifest.collections}
    assert held["a_first"] - held["z_second"] in (0, 1)


def test_the_newest_of_a_kind_replaces_the_one_before(node: BackupNode) -> None:
    """Once it has been verified; backups of other names stay."""
    fill(node.database)
    kept = _made_at(5, node, "mine")
    _made_at(5, node, "daily")

    made = node.make("daily", "weekly")

    found = {each.name.file for each in Volume(node.volume).list()}
    assert found == {made.file, made.file.replace("daily", "weekly"), kept}


def test_what_another_console_left_is_not_replaced(
    node: BackupNode, tmp_path: Path
) -> None:
    """It was installed anew on the old volume: that holds all there is of the old one.

    Nor is what cannot be read: it is not known to be of this Console.
    """
    fill(node.database)
    unreadable = f"daily-{__version__}-4.tar.gz"
    (node.volume / unreadable).write_bytes(b"x")
    lost = replace(node.settings, data_folder=tmp_path / "lost")
    lost.folders.create()
    create_authority(lost.folders.certificates)
    theirs = _made_at(5, replace(node, settings=lost), "daily")

    made = node.make("daily")

    found = {each.name.file for each in Volume(node.volume).list()}
    assert found == {made.file, theirs, unreadable}


def _made_at(time: int, node: BackupNode, name: str) -> str:
    request = BackupRequest((name,), time, 7)
    (made,) = create_backup(
        node.settings, node.database, request, None, ignore_progress
    )
    return made.file


def test_the_identity_is_unsealed_with_the_passphrase(node: BackupNode) -> None:
    """And for nobody else; the keys stand nowhere in the file."""
    fill(node.database)
    made = node.make(passphrase=PASSPHRASE)
    with open_archive(node.volume / made.file) as reader:
        sealed = next(e.read() for e in reader.entries() if e.name == IDENTITY)
    key = node.settings.folders.certificates / AUTHORITY_KEY

    assert identity.unseal(sealed, PASSPHRASE)[AUTHORITY_KEY] == key.read_text()
    assert b"PRIVATE" not in sealed
    for wrong in (b"another passphrase", PASSPHRASE[:-1]):
        with pytest.raises(Refused, match="cannot be decrypted"):
            identity.unseal(sealed, wrong)
    with pytest.raises(Refused, match="cannot be decrypted"):
        identity.unseal(b"{}", PASSPHRASE)


def test_a_passphrase_is_one_however_it_is_typed() -> None:
    """Also one that a release before took as it was typed."""
    typed, other = "cafe\u0301 au lait", "caf\u00e9 au lait"
    now = identity.seal({"a": "b"}, identity.check_passphrase(typed))
    earlier = identity.seal({"a": "b"}, typed.encode())

    assert identity.unseal(now, typed.encode()) == {"a": "b"}
    assert identity.unseal(now, other.encode()) == {"a": "b"}
    assert identity.unseal(earlier, typed.encode()) == {"a": "b"}
    with pytest.raises(Refused):
        identity.unseal(now, b"\xff of a key file")


def test_a_key_file_must_be_a_secret_and_long_enough(tmp_path: Path) -> None:
    """Each mistake has its sentence, which says how to make a good one."""
    path = tmp_path / "key"
    with pytest.raises(ConsoleError, match="missing"):
        identity.read_key_file(path)
    path.write_text("short")
    path.chmod(0o600)
    with pytest.raises(ConsoleError, match="openssl rand"):
        identity.read_key_file(path)
    path.write_text("long enough for a key\n")
    assert identity.read_key_file(path) == b"long enough for a key"
    with pytest.raises(Refused, match="at least 12"):
        identity.check_passphrase("short")
    assert (
        identity.check_passphrase("long enough to be one") == b"long enough to be one"
    )


def test_progress_is_reported_in_bytes(node: BackupNode) -> None:
    """Each phase begins at nothing and knows its total."""
    fill(node.database)
    told: list[JobProgress] = []
    create_backup(
        node.settings, node.database, BackupRequest(("x",), 5, 1), None, told.append
    )

    phases = list(dict.fromkeys(each.phase for each in told))
    assert phases == ["reading the database", "writing to the volume", "verifying"]
    assert all(each.total > 0 for each in told)


@pytest.fixture
def small_volume(node: BackupNode) -> Iterator[BackupNode]:
    """A volume of 512 KB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(node.volume)]
    subprocess.run(mount, check=True)
    yield node
    subprocess.run(["umount", str(node.volume)], check=True)


@pytest.mark.needs("mount", "umount", root=True)
def test_a_volume_that_fills_up_halfway_is_left_clean(small_volume: BackupNode) -> None:
    """The sentence says what to look at, and the half backup is gone."""
    fill(small_volume.database, documents=30_000)

    with pytest.raises(ConsoleError, match="No space left on device; see that"):
        small_volume.make()

    assert list(small_volume.volume.iterdir()) == []
    assert list((small_volume.settings.data_folder / FOLDER).iterdir()) == []


@pytest.mark.needs("mount", "umount", root=True)
def test_a_read_only_volume_keeps_its_backups(small_volume: BackupNode) -> None:
    """What is there is listed; nothing new is written, and that is said."""
    kept = small_volume.make("kept")
    remount = ["mount", "-o", "remount,ro", str(small_volume.volume)]
    subprocess.run(remount, check=True)

    with pytest.raises(ConsoleError, match="Read-only file system"):
        small_volume.make()
    with pytest.raises(ConsoleError, match="Read-only file system"):
        Volume(small_volume.volume).delete(kept.file)

    (found,) = Volume(small_volume.volume).list()
    assert found.name.file == kept.file


def test_a_missing_volume_is_said(node: BackupNode) -> None:
    """It is not made in its place: it may be a disk that is not mounted."""
    node.volume.rmdir()

    with pytest.raises(ConsoleError, match="No such file or directory"):
        node.make()
    with pytest.raises(ConsoleError, match="No such file or directory"):
        Volume(node.volume).list()


def test_what_was_killed_is_swept(node: BackupNode) -> None:
    """The half backup in the volume and the local files go; a sealed one stays."""
    good = node.make("good")
    half = node.volume / f"half-{__version__}-5.tar.gz"
    half.write_bytes(b"x")
    place = WorkFolder(node.settings.folders)
    place.__enter__()
    place.claim(half)
    place.claim(node.volume / good.file)
    upload = place.folder.parent / "upload-1"
    upload.write_bytes(b"x")
    os.utime(upload, (5, 5))

    sweep(node.settings.folders)

    assert list(place.folder.parent.iterdir()) == []
    assert [each.name.name for each in Volume(node.volume).list()] == ["good"]


def test_ten_thousand_other_files_do_not_matter() -> None:
    """The list is quick and holds the backups alone."""
    good = f"good-{__version__}-5.tar.gz"
    # In memory: making the files on a disk would take far longer than the test.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for name in (good, *(f"note-{number}.txt" for number in range(10_000))):
            Path(folder, name).write_bytes(b"x")

        with Pace() as pace:
            began = time.monotonic()
            found = Volume(Path(folder)).list()
            seconds = time.monotonic() - began

    assert [each.name.file for each in found] == [good]
    assert seconds < pace.limit(2)


def _no_rename(_old: Path, _new: Path) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.mark.parametrize("rename", [Path.rename, _no_rename], ids=["disk", "store"])
def test_a_backup_gets_another_name(node: BackupNode, rename: object) -> None:
    """With its seal, also where the volume cannot rename."""
    old = node.make("old").file
    new = old.replace("old", "new")
    volume = Volume(node.volume, rename=rename)

    volume.rename(old, new)

    (found,) = volume.list()
    assert (found.name.file, found.verified is not None) == (new, True)
    assert sorted(p.name for p in node.volume.iterdir()) == [new, f"{new}.sha256"]
    with pytest.raises(Refused, match="there is no backup old"):
        volume.rename(old, new.replace("new", "newer"))
    with pytest.raises(Refused, match="already"):
        volume.rename(new, new)
