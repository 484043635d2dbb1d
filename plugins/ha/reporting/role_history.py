"""Record the history of role changes: first in a local spool, then in the database.

A node that just lost its role cannot write to the database, so each record goes to a
file at once, and to the replica set as soon as a primary accepts it. The id of a record
makes its delivery idempotent. The times of reconnected Defenders are added to the
record of a failover later.
"""

import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import bson
from bson.errors import BSONError
from pydantic import TypeAdapter, ValidationError
from pymongo import DESCENDING
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError

from plugins.ha.messages import ReconnectsResponse, RoleChangeResponse
from plugins.ha.replication.collections import Collections, Document
from twistlock_console.common.clock import SECOND
from twistlock_console.common.json_members import load_json
from twistlock_console.defenders.register import ReconnectStats, reconnect_stats
from twistlock_console.events.types import Role, RoleChanged

#: A Defender that connects later than this was not disconnected by the failover.
RECONNECT_WINDOW_NS = 600 * SECOND
_record_id = TypeAdapter(str)
log = logging.getLogger(__name__)


class RoleHistory:
    """Records the role changes of this node, at *address*, in the file *spool*.

    Any thread may use it.
    """

    def __init__(self, address: str, spool: Path, collections: Collections) -> None:
        self._address = address
        self._spool = spool
        self._records = collections.primary("ha_history")
        self._local = collections.local("ha_history")
        #: Held for a moment only: recording a change of role must not wait.
        self._spool_lock = threading.Lock()
        self._delivery_lock = threading.Lock()

    def record(self, change: RoleChanged) -> None:
        """Write *change* to the spool, which survives a crash of this node."""
        entry = {
            "_id": uuid4().hex,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "address": self._address,
            "from": change.old.value,
            "to": change.new.value,
            "reason": change.reason,
            "epoch": change.epoch,
            "phases": change.phases,
        }
        with self._spool_lock, self._spool.open("a", encoding="utf-8") as spool:
            spool.write(json.dumps(entry) + "\n")

    def deliver(self) -> None:
        """Move the spooled records to the database, if a primary accepts them now."""
        with self._delivery_lock:
            with self._spool_lock:
                text = self._spool.read_bytes() if self._spool.exists() else b""
            try:
                for entry in self._entries(text):
                    self._insert(entry)
            except PyMongoError as error:
                log.debug("history stays in the spool for now: %s", error)
                return
            if text:
                self._truncate_spool(len(text))

    def _truncate_spool(self, size: int) -> None:
        """Remove the first *size* bytes of the spool, which were delivered."""
        with self._spool_lock:
            rest = self._spool.read_bytes()[size:]
            if rest:
                shorter = self._spool.with_suffix(".new")
                shorter.write_bytes(rest)
                shorter.replace(self._spool)
            else:
                self._spool.unlink()

    def record_reconnects(self, epoch: int, returns: ReconnectStats) -> bool:
        """Add the reconnected Defenders to the record of our failover in *epoch*.

        Returns:
            Whether the record was found and changed.
        """
        defenders = ReconnectsResponse(
            first=returns.first, last=returns.last, count=returns.count
        )
        failover = {"address": self._address, "epoch": epoch, "to": Role.PRIMARY.value}
        try:
            done = self._records.update_one(
                failover, {"$set": {"defenders": defenders.as_json()}}
            )
        except PyMongoError as error:
            log.debug("recording the reconnected Defenders failed for now: %s", error)
            return False
        return done.matched_count > 0

    def _insert(self, entry: Document) -> None:
        try:
            self._records.insert_one(entry)
        except DuplicateKeyError:
            log.debug("the history record %s was delivered before", entry["_id"])

    def _entries(self, text: bytes) -> list[Document]:
        entries = []
        for line in text.splitlines():
            try:
                entries.append(_record(line))
            except (ValueError, OverflowError, BSONError):
                # A crash in the middle of a line loses that record, and no other.
                log.warning("skipping a damaged record in %s", self._spool)
        return entries

    def latest(self, limit: int) -> tuple[RoleChangeResponse, ...]:
        """Return the newest records of all nodes, newest first; () if unreadable."""
        try:
            found = list(self._local.find(sort=[("time", DESCENDING)], limit=limit))
        except PyMongoError as error:
            log.debug("reading the history failed: %s", error)
            return ()
        return tuple(filter(None, map(_role_change, found)))


def _record(line: bytes) -> Document:
    """Return the record in *line* of the spool, which the database can store.

    Raises ValueError, OverflowError or BSONError.
    """
    entry: Document = load_json(line)
    RoleChangeResponse.model_validate(entry)
    _record_id.validate_python(entry.get("_id"))
    bson.encode(entry)
    return entry


def _role_change(stored: Document) -> RoleChangeResponse | None:
    try:
        return RoleChangeResponse.model_validate({**stored, "_id": str(stored["_id"])})
    except ValidationError as error:
        log.warning("skipping a damaged record of the history: %s", error)
        return None


class ReconnectRecorder:
    """Records which Defenders reconnected after a failover, for ten minutes each.

    One scheduled job uses it.
    """

    def __init__(self, database: Database[Document], history: RoleHistory) -> None:
        self._database = database
        self._history = history
        self._epoch = 0
        self._since = 0
        self._count = 0

    def update(self, epoch: int, now: int) -> None:
        """Record the Defenders reconnected under *epoch*, if their number changed."""
        if epoch != self._epoch:
            self._epoch, self._since, self._count = epoch, now, 0
        if now > self._since + RECONNECT_WINDOW_NS:
            return
        try:
            returns = reconnect_stats(self._database, epoch)
        except PyMongoError:
            return
        if returns.count != self._count and self._history.record_reconnects(
            epoch, returns
        ):
            self._count = returns.count
