"""A restore brings data back and no rights: what was revoked since stays revoked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from plugins.ha.membership.credentials import NodeKeyRegistry, hash_token
from plugins.ha.membership.rules import JoinRequest
from plugins.ha.membership.service import JoinRequests
from plugins.ha.replication.collections import Collections
from tests.backups.backup_node import BackupNode
from twistlock_console.accounts import sessions, users
from twistlock_console.accounts.rights import UserRole
from twistlock_console.backups.format import manifest
from twistlock_console.backups.operations import create, restore_journal
from twistlock_console.backups.operations.restore_plan import Add, Rename, steps
from twistlock_console.common.errors import Refused
from twistlock_console.database.client import Db
from twistlock_console.defenders import enrolled, register
from twistlock_console.defenders.deployment import (
    check_token,
    create_token,
    revoke_token,
    token_id,
)
from twistlock_console.defenders.enrolled import IssuedCertificate
from twistlock_console.defenders.enrolment import EnrolmentRequest, enrol
from twistlock_console.pki.identity_files import make_key, make_request
from twistlock_console.revocation.store import RevocationKind, is_revoked, read_revoked
from twistlock_console.stored_formats import upgrade_if_needed

LATER = datetime.now(UTC) + timedelta(days=900)


@pytest.fixture
def database(node: BackupNode) -> Db:
    """The node's database: an administrator, and nothing else."""
    users.create_first(node.database, "admin", "hash of now")
    return node.database


@pytest.fixture
def restore(node: BackupNode) -> Callable[[str], str]:
    """Put a backup in force, and give what the history says of it."""

    def restored(file: str) -> str:
        node.load(file)
        assert restore_journal.complete(node.database) == file
        upgrade_if_needed(node.database)
        latest = node.database["audits_mgmt"].find_one(sort=[("time", -1)])
        assert latest
        return str(latest["status"])

    return restored


def _enrol(node: BackupNode, name: str, key: str = "first") -> str:
    """Enrol a host that has the key *key*; gives the serial of its certificate."""
    path = node.volume.parent / f"{key}.pem"
    if not path.exists():
        make_key(path)
    asked = EnrolmentRequest(name, make_request(path, name).decode())
    folder = node.settings.folders.certificates
    made = enrol(node.database, folder, asked).certificate
    return IssuedCertificate.of(made.encode()).serial


def test_a_decommissioned_defender(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """Its certificate stays revoked, its name taken; it is in no list."""
    serial, other = _enrol(node, "web-1"), _enrol(node, "web-2", "other")
    enrolled.allow(database, "web-1", "admin")
    file = node.make().file
    enrolled.decommission(database, "web-1")
    database[register.COLLECTION].delete_one({"_id": "web-1"})

    told = restore(file)

    assert read_revoked(database, RevocationKind.CERTIFICATE) == {serial}
    assert database[register.COLLECTION].distinct("_id") == ["web-2"]
    assert told.endswith("; revoked Defenders stay revoked: web-1")
    with pytest.raises(Refused, match="was enrolled before"):
        _enrol(node, "web-1", "stranger")
    assert enrolled.certificates_of(database, "web-2")[0].serial == other


def test_a_certificate_that_was_replaced(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """By an enrolment it stays revoked; what followed it is still known by its name."""
    first = _enrol(node, "web-1")
    file = node.make().file
    second = _enrol(node, "web-1")
    held = IssuedCertificate(second, LATER)
    enrolled.add_successor(database, "web-1", held, IssuedCertificate("f00", LATER))
    follower = {"_id": second, "defender": "web-1", "serial": "f00"}
    database[enrolled.SUCCESSORS].insert_one(follower)

    restore(file)

    assert read_revoked(database, RevocationKind.CERTIFICATE) == {first}
    assert database[enrolled.SUCCESSORS].find_one({"_id": second})
    assert enrolled.decommission(database, "WEB-1") == "web-1"
    assert read_revoked(database, RevocationKind.CERTIFICATE) == {first, second, "f00"}


def test_a_permission_to_enrol(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """One that was used, or taken back, is not given again."""
    _enrol(node, "web-1")
    enrolled.allow(database, "web-1", "admin")
    file = node.make().file
    _enrol(node, "web-1", "second")

    restore(file)

    with pytest.raises(Refused, match="was enrolled before"):
        _enrol(node, "web-1", "third")


def test_a_deploy_token(
    node: BackupNode,
    database: Db,
    restore: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of the backup are passed over, also in a backup of a release before."""
    kept, revoked_one, ended = (create_token(database)[0] for _ in range(3))
    new = node.make("new").file
    monkeypatch.setattr(create, "is_dumped", manifest.is_allowed)
    old = node.make("old").file
    revoke_token(database, str(token_id(database, revoked_one)))
    begins = {"$regex": f"^{token_id(database, ended)}"}
    database["deploy_tokens"].delete_one({"_id": begins})

    for file in (new, old):
        restore(file)

        check_token(database, kept)
        for bad in (revoked_one, ended):
            with pytest.raises(Refused, match="was revoked, is not known"):
                check_token(database, bad, use=True)


def test_a_join_token(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """Neither does the token let a host join, nor is the host that waits with it."""
    requests = JoinRequests(Collections(database.client, database.client))
    token, _ = requests.tokens.create()
    other, _ = requests.tokens.create()
    asked = JoinRequest("10.0.0.2", "1", "AB:CD", approved=False)
    requests.tokens.check(token, asked.address)
    requests.add(token, asked, "a request")
    file = node.make().file
    requests.revoke_token(hash_token(token)[:12])

    restore(file)

    assert requests.list() == ()
    assert [t.id for t in requests.tokens.list()] == [hash_token(other)[:12]]
    with pytest.raises(Refused, match="The join token was revoked"):
        requests.tokens.check(token, asked.address)
    requests.tokens.check(other, asked.address)


def test_a_join_token_ends_with_the_account_that_made_it(database: Db) -> None:
    """Or when it may administer high availability no longer; its name tells nothing."""
    tokens = JoinRequests(Collections(database.client, database.client)).tokens
    names = ("jane", "joe", "jim")
    for name in names:
        users.add(database, name, "hash", UserRole.ADMIN)
    janes, joes, jims = (tokens.create(name)[0] for name in names)
    tokens.check(janes, "10.0.0.2")
    users.remove(database, "jane")
    users.change(database, "joe", UserRole.OPERATOR, None)
    users.remove(database, "jim")
    users.add(database, "Jim", "hash", UserRole.ADMIN)

    for token in (janes, joes, jims):
        with pytest.raises(Refused, match="The join token was revoked"):
            tokens.check(token, "10.0.0.2")


def test_a_node_that_was_removed(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """Its key stays revoked until it is admitted again, whatever a backup says."""
    stores = Collections(database.client, database.client)
    path = node.volume.parent / "removed-nodes.json"
    nodes = NodeKeyRegistry(stores, path)
    nodes.admit("10.0.0.1", "AA:01")
    nodes.admit("10.0.0.2", "AA:02")
    before = node.make("before").file
    nodes.remove("10.0.0.2")
    nodes.refresh()
    after = node.make("after").file
    started = NodeKeyRegistry(stores, path)
    while_unread = (
        started.is_removed("AA:02"),
        started.was_removed_before_start("AA:02"),
    )

    restore(before)
    started.refresh()
    removed = (started.is_removed("AA:02"), started.was_removed_before_start("AA:02"))
    nodes.admit("10.0.0.2", "AA:02")
    restore(after)
    started.refresh()

    assert while_unread == (False, True)
    assert removed == (True, False)
    assert started.pins().keys() == {"10.0.0.1", "10.0.0.2"}
    assert not NodeKeyRegistry(stores, path).was_removed_before_start("AA:02")


def test_a_node_with_another_key(node: BackupNode, database: Db) -> None:
    """A host that was installed anew shuts out the key that it had."""
    stores = Collections(database.client, database.client)
    nodes = NodeKeyRegistry(stores, node.volume.parent / "removed-nodes.json")
    nodes.admit("10.0.0.1", "AA:01")
    nodes.admit("10.0.0.1", "AA:02")
    database["ha_nodes"].insert_one(
        {"_id": "AA:03", "address": "10.0.0.3", "removed": True}
    )
    nodes.refresh()

    assert read_revoked(database, RevocationKind.NODE_KEY) == {"AA:01"}
    assert [nodes.is_removed(f"AA:0{n}") for n in (1, 2, 3)] == [True, False, True]


def test_a_session(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """One that was ended stays so, and those that were not end with the restore."""
    before = users.find(database, "admin")
    file = node.make().file
    sessions.revoke_session(database, "a session")

    restore(file)

    after = users.find(database, "admin")
    assert before
    assert after
    assert sessions.is_session_revoked(database, "a session")
    assert after.session_epoch != before.session_epoch


def test_a_deleted_account(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """It is not there again; added anew, it is, and then each restore leaves it."""
    for name in ("jane", "Joe"):
        users.add(database, name, "hash", UserRole.ADMIN)
    file = node.make().file
    users.remove(database, "jane")
    users.remove(database, "joe")

    told = restore(file)
    left = database["users"].distinct("_id")
    users.add(database, "jane", "another hash", UserRole.AUDITOR)
    again = restore(file)

    assert told.endswith("; deleted accounts stay deleted: Joe, jane")
    assert left == ["admin"]
    assert again.endswith("; deleted accounts stay deleted: Joe")
    found = users.find(database, "jane")
    assert found
    assert (found.password_hash, found.role) == ("another hash", UserRole.AUDITOR)


def test_a_changed_password_and_role(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """Accounts stay as they are: nobody is shut out, and no right comes back."""
    users.add(database, "jane", "old hash", UserRole.ADMIN)
    file = node.make().file
    users.change(database, "jane", UserRole.AUDITOR, "new hash")
    users.set_password(database, "admin", "new hash")
    users.add(database, "ann", "hash", UserRole.ADMIN)

    restore(file)

    found = {each["_id"]: each for each in database["users"].find()}
    assert {name: each["passwordHash"] for name, each in found.items()} == {
        "admin": "new hash",
        "ann": "hash",
        "jane": "new hash",
    }
    assert found["jane"]["role"] == UserRole.AUDITOR


def test_signing_up(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """A backup from before the first administrator invites nobody to become that."""
    database["settings"].delete_one({"_id": "initialized"})
    database["users"].delete_many({})
    file = node.make().file
    users.create_first(database, "admin", "hash")

    restore(file)

    assert users.is_initialized(database)
    assert users.find(database, "admin")


def test_a_new_host_gets_everything(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """Accounts and names, and what was revoked when the backup was made."""
    users.add(database, "jane", "hash", UserRole.AUDITOR)
    users.add(database, "joe", "hash", UserRole.AUDITOR)
    users.remove(database, "joe")
    users.add(database, "joe", "hash again", UserRole.AUDITOR)
    users.remove(database, "jane")
    serial = _enrol(node, "web-1")
    _enrol(node, "web-2", "other")
    enrolled.decommission(database, "web-1")
    file = node.make().file
    for name in database.list_collection_names():
        database.drop_collection(name)

    restore(file)

    accounts = {d["_id"]: d["passwordHash"] for d in database["users"].find()}
    assert accounts == {"admin": "hash of now", "joe": "hash again"}
    assert read_revoked(database, RevocationKind.CERTIFICATE) == {serial}
    assert is_revoked(database, RevocationKind.ACCOUNT, "jane")
    assert users.is_initialized(database)
    with pytest.raises(Refused, match="was enrolled before"):
        _enrol(node, "web-2", "stranger")


def test_it_stays_so_wherever_the_restore_stopped(
    node: BackupNode, database: Db
) -> None:
    """Whoever completes the restore finds the same, after any of its steps."""
    users.add(database, "jane", "hash", UserRole.ADMIN)
    serial = _enrol(node, "web-1")
    file = node.make().file
    users.remove(database, "jane")
    enrolled.decommission(database, "web-1")
    wanted = len(node.load(file, "counting").collections)
    restore_journal.complete(database)

    for done in range(wanted + 1):
        node.load(file, f"run{done}")
        found = restore_journal.read(database)
        assert found
        for step in steps(found, database.list_collection_names())[:done]:
            match step:
                case Rename(source, target):
                    database[source].rename(target, dropTarget=True)
                case Add(source, _):
                    # Dropped only when everything was added: so it may be half done.
                    database[source].delete_one({})
        assert restore_journal.complete(database) == file

        assert database["users"].distinct("_id") == ["admin"]
        assert read_revoked(database, RevocationKind.CERTIFICATE) == {serial}
        assert database[register.COLLECTION].count_documents({}) == 0


def test_what_a_release_before_revoked(
    node: BackupNode, database: Db, restore: Callable[[str], str]
) -> None:
    """It is taken over when this release serves, or restores such a backup."""
    entry = {"_id": "Web-1", "certificate": {"serial": "1a", "expires": LATER}}
    follower = {"_id": "1a", "defender": "Web-1", "serial": "1b", "expires": LATER}
    database[register.COLLECTION].insert_one(entry)
    database[enrolled.SUCCESSORS].insert_one(follower)
    gone = {"_id": "2a", "defender": "web-2", "expires": LATER}
    database["revoked_certificates"].insert_one(gone)
    database["revoked_sessions"].insert_one({"_id": "s", "expires": LATER})
    database["users"].update_one({"_id": "admin"}, {"$unset": {"nameKey": ""}})
    file = node.make().file

    upgrade_if_needed(database)
    upgraded = _stored(database)
    for name in ("revocations", enrolled.COLLECTION):
        database.drop_collection(name)
    restore(file)

    assert upgraded == _stored(database)
    assert upgraded[0] == {"2a"}
    assert upgraded[1] == {"web-1": ["1a", "1b"], "web-2": ["2a"]}
    assert users.find(database, "ADMIN")


def test_what_a_release_before_stored_while_it_was_put_back(
    node: BackupNode, database: Db
) -> None:
    """An upgrade failed, the earlier release went on, and then it was upgraded."""
    upgrade_if_needed(database)
    serial = _enrol(node, "web-1")
    upgrade_if_needed(database)
    later = {"_id": "3a", "defender": "web-3", "expires": LATER}
    database["revoked_certificates"].insert_one(later)
    entry = {"_id": "Web-4", "certificate": {"serial": "4a", "expires": LATER}}
    database[register.COLLECTION].insert_one(entry)
    follower = {"_id": serial, "defender": "web-1", "serial": "1b", "expires": LATER}
    database[enrolled.SUCCESSORS].insert_one(follower)
    admin = database["users"].find_one({"_id": "admin"}) or {}
    database["users"].insert_one({**admin, "_id": "Admin", "nameKey": None})

    upgrade_if_needed(database)

    assert read_revoked(database, RevocationKind.CERTIFICATE) == {"3a"}
    found = {key: set(serials) for key, serials in _stored(database)[1].items()}
    assert found == {"web-1": {serial, "1b"}, "web-3": {"3a"}, "web-4": {"4a"}}
    assert [users.find(database, n) for n in ("Admin", "ADMIN")] != [None, None]
    before = database["settings"].find_one({"_id": "storedFormat"})
    database["users"].delete_one({"_id": "Admin"})
    upgrade_if_needed(database)
    assert database["settings"].find_one({"_id": "storedFormat"}) == before


def _stored(database: Db) -> tuple[frozenset[str], dict[str, list[str]]]:
    """The revoked certificates, and the certificates of each name."""
    names = {
        each["_id"]: [certificate["serial"] for certificate in each["certificates"]]
        for each in database[enrolled.COLLECTION].find()
    }
    return read_revoked(database, RevocationKind.CERTIFICATE), names
