"""Access the replicated collections of high availability, and the lease among them.

Writes need the primary. Pages read from our own member, which also answers while there
is no primary; it may lag a moment behind. The lease is changed by compare-and-set,
acknowledged by a majority (quorum); its epoch is the fencing token.
"""

from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient, ReadPreference, ReturnDocument
from pymongo import timeout as client_timeout
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from plugins.ha.consensus.lease import NEVER_HELD, LeaseDocument
from twistlock_console.common.error_text import describe_error
from twistlock_console.common.errors import DatabaseError

LEASE_ID = "console"
#: A document as pymongo gives it; its values are checked where they are read.
Document = dict[str, Any]
Client = MongoClient[Document]


@dataclass(frozen=True, slots=True)
class Collections:
    """The collections, through clients of the whole set and of our own member."""

    whole_set: Client
    own_member: Client

    @property
    def database(self) -> Database[Document]:
        """Return the database on the primary."""
        return self.whole_set["twistlock"]

    def primary(self, name: str) -> Collection[Document]:
        """Return the collection on the primary."""
        return self.database[name]

    def local(self, name: str) -> Collection[Document]:
        """Return the collection as our own member has it, for reading only."""
        return self.own_member["twistlock"][name].with_options(
            read_concern=ReadConcern("local"), read_preference=ReadPreference.NEAREST
        )


class LeaseStore:
    """Stores the lease, through *client*, a direct connection to our own member.

    Every method raises DatabaseError if no answer comes within *timeout_s* seconds; a
    write may then have happened or not. Any thread may use it.
    """

    def __init__(self, client: Client) -> None:
        collection = client["twistlock"]["lease"]
        self._local = collection.with_options(
            read_concern=ReadConcern("local"),
            read_preference=ReadPreference.NEAREST,
        )
        self._majority = collection.with_options(
            write_concern=WriteConcern(w="majority", j=True)
        )

    def read(self, timeout_s: float) -> LeaseDocument:
        """Return the lease as our own member has it; it may lag behind."""
        try:
            with client_timeout(timeout_s):
                stored = self._local.find_one({"_id": LEASE_ID})
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"the lease could not be read: {why}") from error
        return LeaseDocument.from_stored(stored) if stored else NEVER_HELD

    def replace(
        self, expected: LeaseDocument, wanted: LeaseDocument, timeout_s: float
    ) -> bool:
        """Store *wanted* on a majority, if the lease is still *expected*.

        Returns:
            False if another node changed it.
        """
        try:
            with client_timeout(timeout_s):
                return self._replace(expected, wanted)
        except DuplicateKeyError:
            return False
        except PyMongoError as error:
            why = describe_error(error)
            raise DatabaseError(f"the lease was not acknowledged: {why}") from error

    def _replace(self, expected: LeaseDocument, wanted: LeaseDocument) -> bool:
        found = self._majority.find_one_and_update(
            {
                "_id": LEASE_ID,
                "holder": expected.holder,
                "epoch": expected.epoch,
                "seq": expected.seq,
                "token": expected.token,
            },
            {
                "$set": {
                    "holder": wanted.holder,
                    "epoch": wanted.epoch,
                    "seq": wanted.seq,
                    "ttl": wanted.ttl,
                    "released": wanted.released,
                    "token": wanted.token,
                }
            },
            # The first holder ever inserts the document; a second one that tries the
            # same violates the unique _id.
            upsert=expected == NEVER_HELD,
            return_document=ReturnDocument.AFTER,
        )
        return found is not None
