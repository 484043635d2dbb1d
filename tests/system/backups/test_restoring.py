"""A restore gives back what the backup holds, or changes nothing at all."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.backups.backup_node import BackupNode, contents, fill, ignore_progress
from twistlock_console import __version__
from twistlock_console.backups.format.manifest import BackupName, CollectionEntry
from twistlock_console.backups.operations import identity, restore_journal
from twistlock_console.backups.operations.create import dump_database
from twistlock_console.backups.operations.restore_plan import (
    Add,
    Drop,
    Journal,
    Rename,
    RestoreState,
    active_run,
    steps,
)
from twistlock_console.backups.storage.volume import Volume
from twistlock_console.cli.restore import Candidate, find_backups
from twistlock_console.common.errors import Refused
from twistlock_console.database.client import Db

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SWITCHING = Journal("r", RestoreState.SWITCHING, "f", "admin", NOW, ("a", "b"))


def fingerprint(
    node: BackupNode, folder: Path, *left_out: str
) -> dict[str, CollectionEntry]:
    """Counts and hashes of all collections, as a backup would have them."""
    folder.mkdir()
    found = dump_database(node.database, folder, ignore_progress).collections
    return {
        each.name: replace(each, packed=0, metadata=0, metadata_sha256="")
        for each in found
        if each.name not in left_out
    }


def _changed(database: Db) -> None:
    """The Console goes on after the backup."""
    database["events"].delete_many({"n": {"$lt": 100}})
    database["events"].replace_one({"_id": "later"}, {"n": 5}, upsert=True)
    database["events"].drop_index("newest")
    database["later"].replace_one({"_id": 1}, {}, upsert=True)
    record = {"_id": 2, "time": datetime.now(UTC)}
    database["audits_mgmt"].replace_one({"_id": 2}, record, upsert=True)
    database["lease"].update_one({}, {"$set": {"epoch": 9}})


def test_what_was_backed_up_is_there_again(node: BackupNode, tmp_path: Path) -> None:
    """Documents, their order, indexes and options; what came later is gone."""
    fill(node.database)
    altered = ("audits_mgmt", "users")
    before = fingerprint(node, tmp_path / "before", *altered)
    indexes = node.database["events"].index_information()
    options = node.database["events"].options()
    made = node.make()
    _changed(node.database)

    node.load(made.file)
    file = restore_journal.complete(node.database)

    assert file == made.file
    assert fingerprint(node, tmp_path / "after", *altered) == before
    assert node.database["events"].index_information() == indexes
    assert node.database["events"].options() == options
    assert not any("restoring" in n for n in node.database.list_collection_names())


def test_a_backup_under_another_name_is_found_and_loaded(node: BackupNode) -> None:
    """The offline restore judges files by their content, as an upload does."""
    fill(node.database)
    made = node.make()
    volume = Volume(node.volume)
    renamed = made.file.replace(".tar.gz", " (1).tar.gz")
    volume.path(made.file).rename(volume.root / renamed)
    (volume.root / "notes.tar.gz").write_bytes(b"no backup")

    found = find_backups(volume)

    parsed = BackupName.of(made.file)
    assert found == [Candidate(volume.root / renamed, parsed, is_sealed=False)]
    assert node.load(renamed) == made.manifest


def test_the_cluster_and_the_records_stay(node: BackupNode) -> None:
    """Who serves is not restored; what was done since is still on record."""
    fill(node.database)
    made = node.make()
    _changed(node.database)

    node.load(made.file)
    restore_journal.complete(node.database)

    lease = node.database["lease"].find_one()
    assert lease == {"_id": "console", "epoch": 9}
    audits = list(node.database["audits_mgmt"].find(sort=[("_id", 1)]))
    assert [a["_id"] for a in audits[:2]] == [1, 2]
    assert audits[2]["status"] == f"restored the backup {made.file}"
    assert audits[2]["username"] == "admin"


def test_all_sessions_end(node: BackupNode) -> None:
    """No session that there ever was carries the new number."""
    fill(node.database)
    made = node.make()

    node.load(made.file)
    restore_journal.complete(node.database)

    user = node.database["users"].find_one()
    assert user is not None
    assert user["sessionEpoch"] >= 2**40


def test_until_it_is_committed_nothing_changes(node: BackupNode) -> None:
    """Loaded and not yet switched over: readers see the old data alone."""
    fill(node.database)
    made = node.make()
    _changed(node.database)
    before = contents(node.database, "events", "later", "users")

    node.load(made.file)

    assert contents(node.database, "events", "later", "users") == before


@pytest.mark.parametrize("place", [0.3, 0.9])
def test_a_damaged_backup_changes_nothing(node: BackupNode, place: float) -> None:
    """What it had loaded is dropped, and the journal says why it failed."""
    fill(node.database, 5000)
    made = node.make()
    path = node.volume / made.file
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged))] ^= 4
    path.write_bytes(damaged)
    before = contents(node.database, "events", "settings", "users")

    with pytest.raises(Refused):
        node.load(made.file)

    assert restore_journal.complete(node.database) is None
    assert contents(node.database, "events", "settings", "users") == before
    assert not any("restoring" in n for n in node.database.list_collection_names())
    noted = restore_journal.read(node.database)
    assert noted is not None
    assert noted.state is RestoreState.FAILED


def test_a_backup_that_is_not_the_sealed_one_changes_nothing(node: BackupNode) -> None:
    """However good it looks by itself; one that bears no seal may be restored."""
    fill(node.database)
    sealed = node.make("sealed").file
    _changed(node.database)
    other = node.make("other").file
    (node.volume / sealed).write_bytes((node.volume / other).read_bytes())
    before = contents(node.database, "events", "settings", "users")

    with pytest.raises(Refused, match="it was changed since it was made"):
        node.load(sealed)

    assert restore_journal.complete(node.database) is None
    assert contents(node.database, "events", "settings", "users") == before
    (node.volume / f"{sealed}.sha256").unlink()
    node.load(sealed)
    assert restore_journal.complete(node.database) == sealed


def test_another_version_is_refused(
    node: BackupNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says which version to install; nothing is loaded."""
    fill(node.database)
    made = node.make()
    monkeypatch.setattr(
        "twistlock_console.backups.operations.restore.__version__", "99.1.0"
    )

    with pytest.raises(Refused, match=f"install version {__version__}, restore there"):
        node.load(made.file)

    assert restore_journal.read(node.database) is None


def test_the_identity_costs_little_memory() -> None:
    """A backup may use 150 MB in all; deriving the key takes a fifth of it."""
    assert identity.SCRYPT_COST * 8 * 128 <= 32 * 1024**2


def test_one_restore_at_a_time(node: BackupNode) -> None:
    """A second one waits for the first to be decided."""
    fill(node.database)
    made = node.make()
    node.load(made.file, "first")

    with pytest.raises(Refused, match=r"^a restore is running already"):
        node.load(made.file, "second")

    assert restore_journal.complete(node.database) == made.file
    node.load(made.file, "second")
    assert restore_journal.complete(node.database) == made.file


def test_a_killed_restore_is_failed_by_the_next_primary(node: BackupNode) -> None:
    """Its collections are dropped; it cannot be committed any more."""
    fill(node.database)
    order = Journal("dead", RestoreState.LOADING, "f", "admin", NOW)
    restore_journal.begin(node.database, order)
    node.database["restoring.dead.events"].insert_one({"_id": 1})
    node.database["restoring.dead.more"].insert_one({"_id": 1})

    restore_journal.sweep(node.database, "dead")
    assert "restoring.dead.events" in node.database.list_collection_names()
    restore_journal.sweep(node.database, None)

    assert not any("restoring" in n for n in node.database.list_collection_names())
    with pytest.raises(Refused, match="nothing was changed"):
        restore_journal.commit(node.database, "dead", ["events"])


def test_it_is_completed_from_wherever_it_stopped(node: BackupNode) -> None:
    """After any number of its steps, the rest leads to the same end."""
    fill(node.database)
    made = node.make()
    expected = contents(node.database, "empty", "events", "settings")
    found = len(node.load(made.file, "counting").collections)
    restore_journal.complete(node.database)
    for done in range(found + 1):
        _changed(node.database)
        node.load(made.file, f"run{done}")
        noted = restore_journal.read(node.database)
        assert noted is not None
        for step in steps(noted, node.database.list_collection_names())[:done]:
            if isinstance(step, Rename):
                node.database[step.source].rename(step.target, dropTarget=True)

        assert restore_journal.complete(node.database) == made.file

        assert contents(node.database, "empty", "events", "settings") == expected
        assert "later" not in node.database.list_collection_names()


def test_the_steps_end_with_what_the_backup_does_not_hold() -> None:
    """Renames first; the cluster's own collections and the records are not dropped."""
    present = ["a", "restoring.r.a", "restoring.r.b", "c", "lease", "audits_mgmt"]

    assert steps(SWITCHING, present) == [
        Rename("restoring.r.a", "a"),
        Rename("restoring.r.b", "b"),
        Drop("c"),
    ]
    assert steps(replace(SWITCHING, state=RestoreState.DONE), present) == []


def test_some_collections_are_added_to_and_never_dropped() -> None:
    """Accounts after the revocations, which say what accounts were deleted."""
    names = ("users", "a", "revocations", "deploy_tokens")
    loaded = [f"restoring.r.{name}" for name in names]
    ours = ["users", "revocations", "enrolled_defenders", "deploy_tokens"]
    journal = replace(SWITCHING, collections=names)

    assert steps(journal, [*loaded, *ours]) == [
        Rename("restoring.r.a", "a"),
        Add("restoring.r.revocations", "revocations"),
        Add("restoring.r.users", "users"),
        Drop("restoring.r.deploy_tokens"),
    ]


def test_only_a_living_or_committed_restore_keeps_its_collections() -> None:
    """One that loads and is not ours died with its node."""
    loading = replace(SWITCHING, state=RestoreState.LOADING)

    assert active_run(None, "r") is None
    assert active_run(loading, "r") == "r"
    assert active_run(loading, None) is None
    assert active_run(SWITCHING, None) == "r"
    assert active_run(replace(SWITCHING, state=RestoreState.FAILED), None) is None
