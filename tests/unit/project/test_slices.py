"""Rules of the five slices: few files tell how a thing is done, in the order listed."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs/architecture.md"
#: By a word of the slice's title: so many files tell a reader everything.
LIMITS = {"lease": 8, "join": 12, "event": 11, "back": 13, "log": 10}


@dataclass(frozen=True, slots=True)
class Slice:
    """A thing that the product does, and the files that do it, in order."""

    title: str
    files: tuple[str, ...]

    @property
    def limit(self) -> int:
        """The number of files that it may have."""
        title = self.title.lower()
        return next(limit for word, limit in LIMITS.items() if word in title)


def _slices() -> list[Slice]:
    section = re.search(
        r"^## Five slices\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.M | re.S
    )
    assert section is not None
    _, *parts = re.split(r"^### ", section[1], flags=re.M)
    return [
        Slice(
            part.partition("\n")[0],
            tuple(re.findall(r"^\d+\. `([^`]+)`", part, re.M)),
        )
        for part in parts
    ]


SLICES = {each.title: each for each in _slices()}
each_slice = pytest.mark.parametrize("title", SLICES)


def test_every_slice_is_there_once() -> None:
    """Five, of the things that the limits are about."""
    limits = [each.limit for each in _slices()]

    assert sorted(limits) == sorted(LIMITS.values())


@each_slice
def test_a_slice_names_files_that_exist(title: str) -> None:
    """Who moves a file moves it in the document too."""
    files = SLICES[title].files

    assert files
    assert [name for name in files if not (ROOT / name).is_file()] == []


@each_slice
def test_a_slice_names_each_file_once(title: str) -> None:
    """A reader opens it once."""
    found = Counter(SLICES[title].files)

    assert [name for name, count in found.items() if count > 1] == []


@each_slice
def test_a_slice_has_few_files(title: str) -> None:
    """What is always read together lives together."""
    assert len(SLICES[title].files) <= SLICES[title].limit
