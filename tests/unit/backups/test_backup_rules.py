"""The decisions about backups: names, contents, schedule, manifest, documents."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import bson
import pytest

from twistlock_console.backups.format.bson_stream import (
    MAX_DOCUMENT_BYTES,
    DocumentCounter,
    count,
    split,
)
from twistlock_console.backups.format.manifest import (
    IDENTITY,
    BackupKind,
    BackupName,
    CollectionEntry,
    Manifest,
    check_name,
    is_allowed,
    is_dumped,
    is_leftover,
    is_replaced,
    restore_refusal,
    temporary,
)
from twistlock_console.backups.jobs.schedule import BackupHistory, due
from twistlock_console.common.errors import Refused

SINCE = datetime(2026, 11, 1, tzinfo=UTC)
HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
HELD = CollectionEntry("events", 2, 40, "0" * 64, 10, 20, "0" * 64)
MANIFEST = Manifest("x", "26.11.1", 5, 7, "5.1", "AB", True, (HELD,))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("daily-20.03.140-1583278547.tar.gz", ("daily", "20.03.140", 1583278547)),
        ("a-b_c-20.04.177-1594329052.tar.gz", ("a-b_c", "20.04.177", 1594329052)),
        ("x-1-2-26.11.1.dev1-5.tar.gz", ("x-1-2", "26.11.1.dev1", 5)),
    ],
)
def test_a_file_name_says_what_it_is(file: str, name: tuple[str, str, int]) -> None:
    """Names are written and read back as the product's are."""
    found = BackupName.of(file)

    assert (found.name, found.version, found.time) == name
    assert found.file == file
    assert found.made.timestamp() == name[2]
    assert found.is_system is (name[0] == "daily")


@pytest.mark.parametrize(
    "file", ["../x-1.0-5.tar.gz", "x.tar.gz", "x-1.0-5.tar", "", "a/b-1.0-5.tar.gz"]
)
def test_other_files_are_no_backups(file: str) -> None:
    """No name leads out of the volume, and the refusal shows what is meant."""
    assert BackupName.parse(file) is None
    with pytest.raises(Refused) as caught:
        BackupName.of(file)
    assert str(caught.value) == (
        f"{file!r} is not the name of a backup; a valid name is "
        "before-upgrade-26.11.0-1795478400.tar.gz"
    )


def test_of_a_long_name_a_hundred_letters_are_shown() -> None:
    """A sentence stays one."""
    with pytest.raises(Refused, match=f"^'{'x' * 100}' is not"):
        BackupName.of("x" * 5000)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("nightly-26.11.0-1795478400.tar.gz", "nightly"),
        ("nightly-26.11.0-1795478400 (1).tar.gz", "nightly"),
        ("nightly-26.11.0-1795478400.tar(2).gz", "nightly"),
        ("Copy of nightly-26.11.0-1795478400.tar.gz", "nightly"),
        ("nightly-1.0-5.tar.gz", "nightly"),
        ("nightly-26.11.0-1795478400.tar.gz.part", "nightly"),
        ("../nightly-26.11.0-1795478400.tar.gz", "nightly"),
        ("backup.tgz", "made"),
        ("", "made"),
        ("x" * 5000, "made"),
        ("Sicherung\n.tar.gz", "made"),
    ],
)
def test_a_backup_is_named_by_its_content(file: str, name: str) -> None:
    """A file's name gives at most the given name; moment and version are inside."""
    named = BackupName.of_content(file, "made", "26.11.1", 7)

    assert named == BackupName(name, "26.11.1", 7)


@pytest.mark.parametrize(
    ("name", "version"), [("../x", "1.0"), ("x", "../1"), ("", "")]
)
def test_a_content_without_a_name_is_refused(name: str, version: str) -> None:
    """What a manifest says must not lead out of the volume."""
    with pytest.raises(Refused, match="is not the name of a backup"):
        BackupName.of_content("backup.tgz", name, version, 7)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "x" * 65, "ä", "weekly"])
def test_a_bad_name_is_refused(name: str) -> None:
    """A person's names are short and plain, and not those of the Console."""
    with pytest.raises(Refused) as caught:
        check_name(name)
    assert str(caught.value) == (
        "weekly is what the Console calls its own backups; choose another"
        if name == "weekly"
        else "give the backup a name of up to 64 letters, digits, - and _, which "
        "begins with a letter or a digit"
    )
    assert check_name("before-upgrade_2") == "before-upgrade_2"


def test_what_is_about_the_cluster_itself_is_left_out() -> None:
    """A restore changes neither who serves nor who has logged out."""
    left_out = ["lease", "ha_nodes", "revoked_sessions", "backup_results", "system.js"]

    assert not any(is_allowed(name) for name in [*left_out, temporary("r", "users")])
    assert is_allowed("users")


@pytest.mark.parametrize(
    ("collection", "kept", "dumped", "replaced"),
    [
        ("events", True, True, True),
        ("users", True, True, False),
        ("revocations", True, True, False),
        ("deploy_tokens", True, False, False),
        ("defender_orders", True, False, False),
        ("lease", False, False, False),
    ],
)
def test_a_restore_replaces_what_is_only_content(
    collection: str, *, kept: bool, dumped: bool, replaced: bool
) -> None:
    """Accounts and revocations are added to; what an older backup has beside is not."""
    assert (
        is_allowed(collection),
        is_dumped(collection),
        is_replaced(collection),
    ) == (kept, dumped, replaced)


def test_leftovers_are_those_of_other_restores() -> None:
    """What a killed restore loaded is told from what is being loaded now."""
    assert is_leftover(temporary("old", "users"), "new")
    assert is_leftover(temporary("old", "users"), None)
    assert not is_leftover(temporary("new", "users"), "new")
    assert not is_leftover("users", None)


@pytest.mark.parametrize(
    ("past", "now", "kinds"),
    [
        pytest.param({}, SINCE + 59 * MINUTE, (), id="just-installed"),
        pytest.param({}, SINCE + HOUR, tuple(BackupKind), id="first"),
        pytest.param({}, SINCE - HOUR, (), id="clock-before-the-first-start"),
        pytest.param(
            {k: BackupHistory(SINCE) for k in BackupKind},
            SINCE + DAY,
            (BackupKind.DAILY,),
            id="next-day",
        ),
        pytest.param(
            {k: BackupHistory(SINCE) for k in BackupKind},
            SINCE + DAY - MINUTE,
            (),
            id="not-yet",
        ),
        pytest.param(
            {k: BackupHistory(SINCE) for k in BackupKind},
            SINCE + 7 * DAY,
            (BackupKind.DAILY, BackupKind.WEEKLY),
            id="next-week",
        ),
        pytest.param(
            {k: BackupHistory(SINCE + DAY) for k in BackupKind},
            SINCE + HOUR,
            (),
            id="clock-back",
        ),
        pytest.param(
            {k: BackupHistory(SINCE + 90 * DAY) for k in BackupKind},
            SINCE + HOUR,
            tuple(BackupKind),
            id="noted-under-a-wrong-clock",
        ),
    ],
)
def test_each_kind_has_its_period(
    past: dict[BackupKind, BackupHistory], now: datetime, kinds: tuple[BackupKind, ...]
) -> None:
    """A day, a week, thirty days; the first an hour after the start."""
    assert due(SINCE, past, now) == kinds


def test_a_failure_is_tried_again_and_not_at_once() -> None:
    """Fifteen minutes after an error, seconds after the end of the node."""
    done = {
        BackupKind.WEEKLY: BackupHistory(SINCE),
        BackupKind.MONTHLY: BackupHistory(SINCE),
    }
    at = SINCE + DAY
    failed = {**done, BackupKind.DAILY: BackupHistory(SINCE, failed=at)}
    cut_short = {
        **done,
        BackupKind.DAILY: BackupHistory(SINCE, failed=at, interrupted=True),
    }

    assert due(SINCE, failed, at + 14 * MINUTE) == ()
    assert due(SINCE, failed, at + 15 * MINUTE) == (BackupKind.DAILY,)
    assert due(SINCE, cut_short, at + MINUTE) == (BackupKind.DAILY,)
    assert due(SINCE, cut_short, at) == ()
    assert due(SINCE, failed, at - MINUTE) == ()


def test_a_manifest_is_read_as_it_was_written() -> None:
    """It names the files that follow, with their sizes."""
    read = Manifest.from_bytes(MANIFEST.as_bytes())
    plain = replace(MANIFEST, identity=False)

    assert read == MANIFEST
    assert Manifest.from_bytes(plain.as_bytes()) == plain
    assert MANIFEST.as_bytes().startswith(b'{\n  "name": "x",\n  "version"')
    assert read.size == 40
    assert read.files == {
        IDENTITY: None,
        "dump/twistlock/events.metadata.json.gz": 20,
        "dump/twistlock/events.bson.gz": 10,
    }


@pytest.mark.parametrize(
    "change",
    [
        (b'"format": 1', b'"format": 2'),
        (b'"documents": 2', b'"documents": -2'),
        (b'"sha256": "00', b'"sha256": "zz'),
        (b"{", b"["),
        (b'"collections": [', b'"collections": [' + HELD.name.encode()),
    ],
)
def test_a_damaged_manifest_is_refused(change: tuple[bytes, bytes]) -> None:
    """Nothing is believed of a manifest that is not one."""
    with pytest.raises(Refused) as caught:
        Manifest.from_bytes(MANIFEST.as_bytes().replace(*change))
    assert str(caught.value) == "its manifest is damaged or of another format"


@pytest.mark.parametrize(
    "name", ["lease", "ha_nodes", "backup_journal", "restoring.r.users", "system.js"]
)
def test_a_backup_of_the_clusters_own_is_refused(name: str) -> None:
    """Whoever made that file: no restore replaces the lease or the register."""
    made = replace(MANIFEST, collections=(HELD, replace(HELD, name=name)))

    with pytest.raises(Refused) as caught:
        Manifest.from_bytes(made.as_bytes())
    assert str(caught.value) == (
        f"it holds {name!r}, which is the cluster's own and is in no backup that a "
        "Console made"
    )


def test_two_collections_of_one_name_are_refused() -> None:
    """Each file of a backup has one meaning."""
    twice = Manifest("x", "26.11.1", 5, 7, "5.1", "AB", False, (HELD, HELD))

    with pytest.raises(Refused):
        Manifest.from_bytes(twice.as_bytes())


def test_a_backup_of_another_version_says_which_to_install() -> None:
    """The version must match exactly, and the database must have room."""
    assert restore_refusal(MANIFEST, "26.11.1", 40) is None
    assert restore_refusal(MANIFEST, "26.11.2", 40) == (
        "this backup was made by version 26.11.1, and this Console is 26.11.2; install "
        "version 26.11.1, restore there, and upgrade afterwards"
    )


def test_a_backup_needs_free_space() -> None:
    """Each begun megabyte of it counts."""
    size = 1500 * 1024**2 + 1
    large = replace(MANIFEST, collections=(replace(HELD, bytes=size),))

    assert restore_refusal(large, "26.11.1", size) is None
    assert restore_refusal(large, "26.11.1", 1000 * 1024**2) == (
        "the backup needs 1501 MB for the database, and 1000 MB are free in "
        "DATA_FOLDER; make room there"
    )


def test_documents_are_found_across_chunks() -> None:
    """Wherever a stream is cut, the same documents come out."""
    documents = [bson.encode({"n": n, "text": "x" * n}) for n in range(50)]
    stream = b"".join(documents)

    for size in (1, 3, 100, 10_000):
        cut = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [d for chunk in split(cut) for d in chunk] == documents
        counting = DocumentCounter()
        for chunk in cut:
            counting.feed(chunk)
        counting.close()
        assert counting.documents == 50
    assert count(stream) == 50


def begun(length: int) -> bytes:
    """The first bytes of a document that says it is so long."""
    return length.to_bytes(4, "little")


CUT_OFF = "it ends in the middle of a document"
NO_DOCUMENTS = "it holds bytes that are no documents"


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (begun(4), NO_DOCUMENTS),
        (begun(MAX_DOCUMENT_BYTES + 1), NO_DOCUMENTS),
        (b"\xff\xff\xff\xff", NO_DOCUMENTS),
        (bson.encode({}) + begun(4), NO_DOCUMENTS),
        (begun(5), CUT_OFF),
        (begun(MAX_DOCUMENT_BYTES), CUT_OFF),
        (begun(6) + b"\0", CUT_OFF),
        (b"\1\2", CUT_OFF),
    ],
)
def test_other_bytes_are_no_documents(stream: bytes, sentence: str) -> None:
    """Too small, too large, cut off: refused."""
    for read in (lambda data: list(split([data])), count):
        with pytest.raises(Refused) as caught:
            read(stream)
        assert str(caught.value) == sentence


def test_a_document_has_from_five_bytes_to_a_little_over_sixteen_megabytes() -> None:
    """As MongoDB has it."""
    for size in (5, MAX_DOCUMENT_BYTES):
        document = begun(size).ljust(size, b"\0")
        assert list(split([document])) == [[document]]
        assert count(document) == 1


def test_what_is_no_document_is_refused_as_soon_as_its_length_is_there() -> None:
    """Not only at the end of a stream that may be long."""
    with pytest.raises(Refused, match=NO_DOCUMENTS):
        DocumentCounter().feed(begun(4))
    with pytest.raises(Refused, match=NO_DOCUMENTS):
        next(split([begun(4)]))
