"""The files that the Defender reads on its host: its own, damaged or not, and /proc."""

import json
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from tests.fuzz.defender_messages import RULE
from tests.fuzz.parsers import Parser, allowed, check_sentence, scratch_folder, text_of
from twistlock_console.protocol import (
    UNNUMBERED,
    PolicyPushed,
    TroubleEvent,
    WatchedPath,
    decode_from_defender,
    encode,
    encode_events,
    encode_unnumbered,
    hash_rule,
    is_sound_event,
)
from twistlock_defender import checks
from twistlock_defender.agent.enforcement import PolicyStore
from twistlock_defender.common.clock import utc_now
from twistlock_defender.common.errors import FolderError
from twistlock_defender.common.folder import (
    AgentStatus,
    Folder,
    StatusFile,
    read_status,
)
from twistlock_defender.common.problems import Problems
from twistlock_defender.files.baseline import Baseline
from twistlock_defender.files.rules import FileRecord
from twistlock_defender.link.connection import HighestEpoch
from twistlock_defender.link.dialer import parse_address
from twistlock_defender.link.outbox import Outbox
from twistlock_defender.processes import proc

LIMIT = 1024 * 1024
ATTEMPTS = 3
FINDING = encode_unnumbered(TroubleEvent(UNNUMBERED, utc_now(), "no permission"))


@cache
def folder() -> Path:
    """Return a folder for the files of this process."""
    return scratch_folder()


def _emptied() -> Path:
    for path in folder().glob("file*"):
        path.unlink()
    return folder() / "file"


def check_outbox(data: bytes) -> None:
    """Go on with a damaged outbox: what is found later is sent, or it says why not.

    Damage may show only after a finding was added: then that one is set aside, too.
    """
    path = _emptied()
    path.write_bytes(data)
    outbox = Outbox(path, LIMIT, is_sound_event)
    try:
        for _ in range(ATTEMPTS):
            outbox.add([FINDING])
            found = outbox.batch(0, 100, LIMIT)
            state = outbox.state()
            if found:
                sent = encode_events([(each.number, each.body) for each in found])
                decode_from_defender(sent)
                outbox.delete(found[0].number)
        if state.trouble:
            check_sentence(state.trouble)
        assert found or state.trouble, state
    finally:
        outbox.close()


def _an_outbox() -> bytes:
    path = _emptied()
    outbox = Outbox(path, LIMIT)
    outbox.add([FINDING, FINDING])
    outbox.close()
    return path.read_bytes()


def check_baseline(data: bytes) -> None:
    """Open a damaged baseline; what cannot be read is an error of SQLite."""
    path = _emptied()
    path.write_bytes(data)
    try:
        baseline = Baseline(path, {})
    except sqlite3.Error:
        return
    try:
        problems = Problems(lambda _events: None)
        problems.update("rebuilt", baseline.rebuilt)
        for sentence in problems.current():
            check_sentence(sentence)
        baseline.roots()
        for name in [*baseline.paths(), "/etc/passwd"]:
            baseline.get(name)
        baseline.save([("/etc/new", FileRecord("", "0644", "root", "1"))])
        baseline.save_roots([WatchedPath("/etc", True)])
    except sqlite3.Error:
        return
    finally:
        baseline.close()


def _a_baseline() -> bytes:
    path = _emptied()
    baseline = Baseline(path, {})
    baseline.save([("/etc/passwd", FileRecord("ab", "0644", "root:root", "1 2 3"))])
    baseline.save_roots([WatchedPath("/etc", True)])
    baseline.close()
    return path.read_bytes()


def check_settings(data: bytes) -> None:
    """Read settings.json, and the addresses in it."""
    (folder() / "settings.json").write_bytes(data)
    with allowed(FolderError):
        found = Folder(folder()).read_settings()
        Folder(folder()).write_settings(found)
        assert Folder(folder()).read_settings() == found
        for address in found.addresses:
            with allowed(FolderError):
                assert 0 < parse_address(address)[1] < 65_536


def check_status(data: bytes) -> None:
    """Read what the running Defender shows of itself."""
    path = _emptied()
    path.write_bytes(data)
    with allowed(FolderError):
        found = read_status(path)
        shown = StatusFile(path)
        shown.write(found)
        shown.close()
        assert read_status(path) == found


def check_epoch(data: bytes) -> None:
    """Read the highest epoch that was seen."""
    path = _emptied()
    path.write_bytes(data)
    epochs = HighestEpoch(path)
    assert epochs.value >= 0
    assert epochs.accept(2**63 - 1) == (epochs.value <= 2**63 - 1)


def check_policy(data: bytes) -> None:
    """Read the policy that was kept, or report why it cannot be used."""
    (folder() / "policy.json").write_bytes(data)
    problems = Problems(lambda _events: None)
    store = PolicyStore(Folder(folder()), problems)
    for sentence in problems.current():
        check_sentence(sentence)
    assert store.current.version >= 0


def check_address(data: bytes) -> None:
    """Read name:port."""
    with allowed(FolderError):
        name, port = parse_address(text_of(data))
        assert 0 < port < 65_536
        assert isinstance(name, str)


def check_proc(data: bytes) -> None:
    """Read a process: its stat, or its command line."""
    place = folder() / "proc" / "7"
    place.mkdir(parents=True, exist_ok=True)
    kept, proc.PROC = proc.PROC, place.parent
    try:
        (place / "stat").write_bytes(data)
        (place / "cmdline").write_bytes(data)
        found = proc.read_process(7)
        assert found is None or found.pid == 7
        assert proc.list_pids() == [7]
        proc.read_command(7)
    finally:
        proc.PROC = kept


def _checked(path: str, ids: tuple[str, ...]) -> Callable[[bytes], None]:
    """Return a check that reads *path* below a root with the checks *ids*."""

    def check(data: bytes) -> None:
        root = folder() / "root"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        for result in checks.run_checks(ids, root):
            assert UNFORESEEN not in result.detail, result
            json.dumps(result.detail).encode()

    return check


UNFORESEEN = "not foreseen"
SSH = ("ssh-root-login", "ssh-empty-passwords", "ssh-tries")
DOCKER = ("docker-network", "docker-registries")
ACCOUNTS = ("empty-passwords", "other-roots")
_STATUS = TypeAdapter(AgentStatus)
STATUS = AgentStatus(
    *(utc_now(), "26.11.0", 7, "web-1", "10.0.0.1:8084", utc_now(), 7, None, None, 3),
    *("servers", 2, 300, 256, None, None, ("no permission",)),
)
STAT = (
    b"7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 1234 1 1 18446744 1 1"
)


OUTBOX = _an_outbox()
OUTBOXES = (
    *(OUTBOX, b"", b"SQLite format 3\0"),
    # A bit that makes the text none, and one that makes another word of it.
    *(
        OUTBOX.replace(b"permission", word)
        for word in (b"perm\xe9ssion", b'"', b"x" * 9)
    ),
    OUTBOX.replace(b'"trouble"', b'"trouclE"'),
)
PARSERS = (
    Parser("outbox", check_outbox, OUTBOXES),
    Parser("baseline", check_baseline, (_a_baseline(), b"", b"SQLite format 3\0")),
    Parser(
        "settings",
        check_settings,
        (b'{"defender":"web-1","addresses":["10.0.0.1:8084"],"outboxMB":256}',),
        is_json=True,
    ),
    Parser("status", check_status, (_STATUS.dump_json(STATUS),), is_json=True),
    Parser("epoch", check_epoch, (b"7\n", b"", b"-1", b"1_0")),
    Parser(
        "policy",
        check_policy,
        tuple(
            encode(PolicyPushed(3, hash_rule(rule), rule)).encode()
            for rule in (RULE, None)
        ),
        is_json=True,
    ),
    Parser("address", check_address, (b"console.test:8084", b"[::1]", b"::1", b"x:0")),
    Parser("proc", check_proc, (STAT, b"sh\0-c\0true\0", b"7 (x) Z 1")),
    Parser(
        "sshd_config",
        _checked("etc/ssh/sshd_config", SSH),
        (b"PermitRootLogin no\nMaxAuthTries 4\nMatch User x\nInclude *.conf\n",),
    ),
    Parser(
        "daemon.json",
        _checked("etc/docker/daemon.json", DOCKER),
        (b'{"hosts":["tcp://0.0.0.0"],"tlsverify":false}',),
        is_json=True,
    ),
    Parser("passwd", _checked("etc/passwd", ACCOUNTS), (b"root:x:0:0::/:/a\n",)),
    Parser("shadow", _checked("etc/shadow", ACCOUNTS), (b"root::1:2:3\n",)),
)
