"""Declarations of lists, the same for pages and API.

A list is declared once, as a Listable in registry.py. Its indexes, sort orders,
filters, CSV file and columns on the page follow from the declaration.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from twistlock_console.database.client import Document


class Filter(Enum):
    """Ways to filter by a column."""

    NONE = "nothing"
    EXACT = "exactly this text"
    BOOLEAN = "true or false"
    TIME = "from and to; one column of a list at most"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list.

    Attributes:
        name: name in the API.
        label: title on the page; a column without one is not on the page.
        stored: path in the document, if it differs from *name*.
        sortable: whether the list can be sorted by it.
        filter: how the list can be filtered by it.
        choices: values and their labels, for a filter with few values.
        filter_only: it has a label for its filter and is no column of the table.
        convert: makes the value to show from the stored value and its document.
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
        """Return the value in *document*; None if it has none."""
        value: object = document
        for step in self.path.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        return self.convert(value, document) if self.convert else value


@dataclass(frozen=True, slots=True)
class Listable:
    """A collection that can be listed.

    Attributes:
        collection: name of the collection.
        columns: columns in the order of the page.
        order: column of the default order.
        newest_first: whether the default order is descending.
        partition_column: column that every request fixes; the lists that share a
            collection differ by it.
        searched: what a search covers, in words ("name or address"). The documents
            then carry their words, as search_terms makes them.
        shape: makes the API's object from a document, if it is more than its columns.
        sort_aliases: further names that a client may sort by, with their columns.
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
        """Return the column named *name*."""
        return next(column for column in self.columns if column.name == name)

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """Return the columns of the table on the page."""
        return tuple(
            column for column in self.columns if column.label and not column.filter_only
        )

    @property
    def filters(self) -> tuple[Column, ...]:
        """Return the columns that filter by a value."""
        kinds = (Filter.EXACT, Filter.BOOLEAN)
        return tuple(column for column in self.columns if column.filter in kinds)

    @property
    def time_column(self) -> Column | None:
        """Return the column that `from` and `to` filter; None if the list has none."""
        times = (c for c in self.columns if c.filter is Filter.TIME)
        return next(times, None)

    def to_item(self, document: Document) -> Document:
        """Return a document as the API shows it."""
        if self.shape:
            return self.shape(document)
        return {column.name: column.value_in(document) for column in self.columns}
