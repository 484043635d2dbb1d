"""The two ways to a collection: to the whole set, and to our own member.

A write needs the primary. What is shown is read from our own member, which answers
also while there is no primary; it may lag behind by a moment.
"""

from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

Client = MongoClient[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Stores:
    """Clients of the whole set and, directly, of our own member."""

    whole_set: Client
    own_member: Client

    @property
    def database(self) -> Database[dict[str, Any]]:
        """The database at the primary."""
        return self.whole_set["twistlock"]

    def written(self, name: str) -> Collection[dict[str, Any]]:
        """The collection at the primary."""
        return self.database[name]

    def shown(self, name: str) -> Collection[dict[str, Any]]:
        """The collection as our own member has it now."""
        return self.own_member["twistlock"][name].with_options(
            read_concern=ReadConcern("local"), read_preference=ReadPreference.NEAREST
        )
