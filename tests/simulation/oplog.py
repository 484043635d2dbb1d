"""The oplog of the model: it holds nothing but lease documents."""

from dataclasses import dataclass
from operator import attrgetter

from plugins.ha.consensus.lease import NEVER_HELD, LeaseDocument


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One oplog entry, and through *before* all the older ones."""

    term: int
    index: int
    document: LeaseDocument
    before: "Entry | None"

    @property
    def optime(self) -> tuple[int, int]:
        """Later entries have a greater one."""
        return (self.term, self.index)

    def follows(self, other: "Entry") -> bool:
        """Whether the oplog that ends here contains *other*."""
        entry: Entry | None = self
        while entry is not None and entry.index > other.index:
            entry = entry.before
        return entry is other


FIRST = Entry(0, 0, NEVER_HELD, None)


def matches(found: LeaseDocument, expected: LeaseDocument) -> bool:
    """Whether the stored document passes the filter of the compare-and-set."""
    keys = attrgetter("holder", "epoch", "seq", "token")
    return bool(keys(found) == keys(expected))
