"""The files that a node reads on its own host: twistlock.cfg, logs, JSON files."""

from functools import cache
from pathlib import Path
from typing import Any, cast

import bson

from plugins.ha.membership.credentials import NodeKeyRegistry
from plugins.ha.membership.join_client import JoinInvitation
from plugins.ha.membership.rules import is_behind_router
from plugins.ha.reporting.role_history import RoleHistory
from tests.fuzz.parsers import Parser, allowed, check_sentence, scratch_folder, text_of
from twistlock_console.common.errors import IdentityError, SettingsError
from twistlock_console.database.known_members import (
    read_known_members,
    write_known_members,
)
from twistlock_console.database.mongod_exit import exit_reason, start_failure_reason
from twistlock_console.logs.reader import parse_line
from twistlock_console.settings import Folders
from twistlock_console.settings.config_file import ConfigEntry, parse, quote
from twistlock_console.settings.keys import all_keys
from twistlock_console.settings.loading import parse_settings

ENVIRON = {"SET": "from outside", "EMPTY": ""}
#: Else the host is asked for them, and that may ask a name server.
OWN = {"NODE_ADDRESS": "10.0.0.1", "CONSOLE_CN": "console.test"}


@cache
def folders() -> Folders:
    """Return the folders of a node, made for this process."""
    made = Folders(scratch_folder())
    made.create()
    return made


def _stored(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def check_config(data: bytes) -> None:
    """Read twistlock.cfg; what was read is written so that it reads again."""
    file = parse(data, ENVIRON)
    for mistake in file.mistakes:
        check_sentence(mistake.sentence)
    lines = [f"{entry.key}={quote(entry.value)}" for entry in file.entries]
    again = parse("\n".join(lines).encode(), {})
    assert again.mistakes == ()
    assert [_pair(e) for e in again.entries] == [_pair(e) for e in file.entries]


def _pair(entry: ConfigEntry) -> tuple[str, str]:
    return entry.key, entry.value


def check_settings(data: bytes) -> None:
    """Read the settings in twistlock.cfg, or all mistakes, one sentence a line."""
    try:
        parse_settings(data, "twistlock.cfg", {**ENVIRON, **OWN})
    except SettingsError as error:
        lines = str(error).split("\n")
        assert len(lines) <= 200, f"{len(lines)} mistakes"
        for line in lines:
            check_sentence(line)


def check_values(data: bytes) -> None:
    """Read a text as the value of each setting."""
    text = text_of(data)
    for key in all_keys():
        with allowed(ValueError):
            key.parse(text)


def check_mongod_log(data: bytes) -> None:
    """Tell why mongod ended from its log, whatever the log holds."""
    code = data[0] - 65 if data else 1
    text = text_of(data[1:])
    check_sentence(exit_reason(code, text.splitlines(), ""))
    check_sentence(exit_reason(code, [], text))
    if text.isprintable() and text.strip() and len(text) < 500:
        check_sentence(start_failure_reason(text))


def check_console_log(data: bytes) -> None:
    """Read a line of the Console's log; it can be shown as JSON."""
    line = parse_line(data.decode(errors="replace"))
    assert all(isinstance(part, str) for part in line.to_json().values())
    "".join(line.to_json().values()).encode()


def check_members(data: bytes) -> None:
    """Read the addresses of the other members, none where the file is damaged."""
    _stored(folders().secrets / "members.json", data)
    found = read_known_members(folders())
    write_known_members(folders(), found)
    assert read_known_members(folders()) == tuple(sorted(set(found)))


def check_invitation(data: bytes) -> None:
    """Read the invitation that the join command left."""
    _stored(folders().secrets / "invitation.json", data)
    with allowed(IdentityError):
        found = JoinInvitation.read(folders())
        assert 0 < found.port < 65_536
        found.write(folders())
        assert JoinInvitation.read(folders()) == found


class Delivered:
    """Collections that take whatever BSON can hold."""

    def primary(self, _name: str) -> "Delivered":
        """Return this."""
        return self

    local = primary
    database = None

    def insert_one(self, entry: Any) -> None:
        """Encode *entry*, as the driver does."""
        assert isinstance(entry, dict)
        assert isinstance(entry["_id"], str)
        bson.encode(entry)


def check_spool(data: bytes) -> None:
    """Deliver what is in the spool of the history; damaged records are left out."""
    spool = folders().run / "history.jsonl"
    spool.write_bytes(data)
    history = RoleHistory("10.0.0.1", spool, cast(Any, Delivered()))
    history.deliver()
    assert not data or not spool.exists()


def check_removed_keys(data: bytes) -> None:
    """Read the keys of removed nodes; none where the file is damaged."""
    file = _stored(folders().run / "removed.json", data)
    registry = NodeKeyRegistry(cast(Any, Delivered()), file)
    assert registry.was_removed_before_start("AB:CD") in (False, True)


def check_routes(data: bytes) -> None:
    """Read the kernel's routes; a line that is none counts as no route."""
    assert is_behind_router("10.0.0.9", data.decode(errors="replace")) in (False, True)


CONFIG = b"""# ports
MANAGEMENT_PORT_HTTPS=8083 # the port
NODE_ADDRESS=${SET-10.0.0.1}
CONSOLE_SAN="DNS:a.test, IP:10.0.0.9"
TRUSTED_PROXIES='10.0.0.0/24'
DATA_FOLDER=/var/lib/twistlock
DATABASE_CACHE_GB=0.5
HIGH_AVAILABILITY_ENABLED=true
"""
MONGOD = (
    b'{"t":{"$date":"2026-11-24T09:30:00.000+00:00"},"s":"E","c":"CONTROL","id":20568,'
    b'"ctx":"initandlisten","msg":"Error setting up listener","attr":{"error":{"code":'
    b'9001,"codeName":"SocketException","errmsg":"Address already in use"}}}\n'
    b'{"s":"F","id":22435,"msg":"WiredTiger error message","attr":{"error":13,'
    b'"message":{"msg":"__posix_open_file:815:/data/WT.turtle","error_str":"denied"}}}'
)
LOG = (
    b'{"time":"2026-11-24T09:30:00.000Z","level":"INFO","logger":"x","message":"y",'
    b'"error":"z","pid":7}'
)
INVITATION = (
    b'{"address":"10.0.0.1","port":8083,"pin":"sha256//x","token":"join-x",'
    b'"others":{"10.0.0.2":"sha256//y"}}'
)
RECORD = (
    b'{"_id":"ab","time":"2026-11-24T09:30:00.000+00:00","address":"10.0.0.1","from":'
    b'"standby","to":"primary","reason":"r","epoch":7,"phases":{"lease":0.1}}\n'
)
#: A control character, half a character, and what is nested too deep.
ODD_LOGS = (b"B\0", b"B\xff", b"B" + b"[" * 3000)
DEEP = b"[" * 3000
RECORDS = (
    *(RECORD, RECORD + RECORD[:40], b"[1]\n", RECORD.replace(b'"ab"', b"7")),
    *(RECORD.replace(b":7", b":9223372036854775808"), b"[" * 3000),
)
ROUTES = (
    b"Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    b"eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n"
    b"eth0 0000000A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
)
PARSERS = (
    Parser(
        "twistlock.cfg",
        check_config,
        (CONFIG, b"A='\"'\nB=\"'\"", b"\xef\xbb\xbfA=1\r\n"),
    ),
    Parser("settings", check_settings, (CONFIG, b"NODE_ADDRESS=x\nLOG_FORMAT=y\n")),
    Parser("values", check_values, (b"10.0.0.1", b"DNS:a.test,IP:::1", b"10.0.0.0/8")),
    Parser(
        "mongod's log",
        check_mongod_log,
        (b"\x42" + MONGOD, b"\x1e" + MONGOD[:99], *ODD_LOGS),
    ),
    Parser(
        "console.log",
        check_console_log,
        (LOG, b"2026-11-24T09:30:00.000Z INFO x: y"),
        is_json=True,
    ),
    Parser("members", check_members, (b'["10.0.0.1","10.0.0.2"]', DEEP), is_json=True),
    Parser(
        "invitation",
        check_invitation,
        (INVITATION, INVITATION.replace(b"8083", b"1e400"), DEEP),
        is_json=True,
    ),
    Parser("history", check_spool, RECORDS, is_json=True),
    Parser("removed keys", check_removed_keys, (b'["AB:CD"]',), is_json=True),
    Parser("routes", check_routes, (ROUTES, ROUTES + b"eth0 0 0\n")),
)
