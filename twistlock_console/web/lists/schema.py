"""What can be listed; the same for pages and API.

A list is declared once, as a Listable in registry.py. Its indexes, what it can be
sorted and filtered by, its CSV file and its place on the page follow from that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from twistlock_console.database.client import Document


class Filter(Enum):
    """The ways to filter by a column."""

    NONE = "nothing"
    EXACT = "exactly this text"
    BOOLEAN = "true or false"
    TIME = "from and to; one column of a list at most"


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by the API's *name*; *stored* is its path in the document, if another.

    A page shows the columns that have a *label*, in their order; a filter that is
    *filter_only* has a label and is no column of the table, one without a label is not
    offered there. *choices* are the values and
    their labels where a filter has but a few. *convert* makes what is shown of what
    is stored in the column and of the whole document.
    """

    name: str
    label: str = ""
    stored: str = ""
    sortable: bool = False
    filter: Filter = Filter.NONE
    choices: tuple[tuple[str, str], ...] = ()
    filter_only: bool = False
    convert: Callable[[object, Document], object] | None = None

    @property
    def path(self) -> str:
        """Return the path of the value in the document."""
        return self.stored or self.name

    def value_in(self, document: Document) -> object:
        """Return the document's value; None where it has none."""
        value: object = document
        for step in self.path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        return self.convert(value, document) if self.convert else value


@dataclass(frozen=True, slots=True)
class Listable:
    """A collection that can be listed.

    By default the list is sorted by the column *order*, downwards if
    *newest_first*. *apart* is a column that every request fixes: the parts of the
    collection that it tells apart are lists of their own. *searched* says what a search
    looks at ("name or address"): the documents then carry their words, as search_terms
    makes them. *shape* makes the API's object from a document, where that is more than
    its columns. *sort_aliases* are names that a client may sort by, with the columns
    that are meant.
    """

    collection: str
    columns: tuple[Column, ...]
    order: str
    newest_first: bool = False
    partition_column: str = ""
    searched: str = ""
    shape: Callable[[Document], Document] | None = None
    sort_aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def sort_names(self) -> list[str]:
        """Return the names that the list can be sorted by."""
        names = [column.name for column in self.columns if column.sortable]
        return sorted({*names, *self.sort_aliases})

    def column(self, name: str) -> Column:
        """Return the column of this *name*."""
        return next(column for column in self.columns if column.name == name)

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """Return the columns of the table on the page."""
        return tuple(
            column for column in self.columns if column.label and not column.filter_only
        )

    @property
    def filters(self) -> tuple[Column, ...]:
        """Return the columns that can be filtered by a value."""
        kinds = (Filter.EXACT, Filter.BOOLEAN)
        return tuple(column for column in self.columns if column.filter in kinds)

    @property
    def time_column(self) -> Column | None:
        """Return the column that `from` and `to` are about."""
        times = (c for c in self.columns if c.filter is Filter.TIME)
        return next(times, None)

    def to_item(self, document: Document) -> Document:
        """Return a document as the API shows it."""
        if self.shape:
            return self.shape(document)
        return {column.name: column.value_in(document) for column in self.columns}
