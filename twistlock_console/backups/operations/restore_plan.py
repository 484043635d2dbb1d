"""Plan how a restore takes effect: its journal, and the remaining steps. Pure.

MongoDB renames one collection at a time, so the commit is one document of its own:
until its state is SWITCHING the old data is valid, and from then on the new. A node
that finds SWITCHING completes the restore before it serves; each step is idempotent.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import TypeAdapter

from twistlock_console.backups.format.manifest import (
    MERGED_COLLECTIONS,
    is_replaced,
    temporary,
)

#: Never dropped: the audit trail of this Console survives every restore.
AUDITS = "audits_mgmt"
#: By how much the clock of the node that starts a restore may be ahead of others'.
MAX_CLOCK_DIFFERENCE = timedelta(minutes=10)


class RestoreState(StrEnum):
    """The states of the latest restore."""

    LOADING = "loading"
    SWITCHING = "switching"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Journal:
    """The latest restore: its id *run*, the backup *file*, and the user *by*."""

    run: str
    state: RestoreState
    file: str
    by: str
    began: datetime
    collections: tuple[str, ...] = ()

    @staticmethod
    def from_document(found: Mapping[str, object]) -> "Journal":
        """Parse the document of the database."""
        return _JOURNAL.validate_python(found)


_JOURNAL = TypeAdapter(Journal)


@dataclass(frozen=True, slots=True)
class Rename:
    """Replace *target* with *source*, atomically."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Add:
    """Add the documents that only *source* has to *target*, and drop *source*."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop a collection that the backup does not hold, or that is ignored."""

    collection: str


Step = Rename | Add | Drop


def steps(journal: Journal, present: Collection[str]) -> list[Step]:
    """Return the remaining steps of *journal* while *present* collections exist."""
    if journal.state is not RestoreState.SWITCHING:
        return []
    loaded = {
        name: source
        for name in journal.collections
        if (source := temporary(journal.run, name)) in present
    }
    renames = [Rename(loaded[name], name) for name in loaded if is_replaced(name)]
    additions = [
        Add(loaded[name], name) for name in MERGED_COLLECTIONS if name in loaded
    ]
    passed = [
        Drop(loaded[name])
        for name in loaded
        if not is_replaced(name) and name not in MERGED_COLLECTIONS
    ]
    absent = [
        Drop(name)
        for name in sorted(present)
        if is_replaced(name) and name not in (*journal.collections, AUDITS)
    ]
    return [*renames, *additions, *passed, *absent]


def active_run(journal: Journal | None, ours: str | None) -> str | None:
    """Return the run whose collections are needed; *ours* runs in this process.

    A restore that loads and is not ours was killed: only a primary loads.
    """
    if journal is None:
        return None
    if journal.state is RestoreState.LOADING and journal.run != ours:
        return None
    return (
        journal.run
        if journal.state in (RestoreState.LOADING, RestoreState.SWITCHING)
        else None
    )
