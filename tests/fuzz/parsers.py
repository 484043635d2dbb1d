"""Harnesses: parsers of foreign bytes, samples of them, and the rule that they obey.

A parser returns a value or raises the errors that it documents, each with a sentence
that an operator can read. Any other exception is a finding, and so is a sentence that
is no sentence. The same checks run under Hypothesis (`tests/unit/foreign`) and under
atheris (`python -m tests.fuzz`).
"""

import atexit
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MAX_SENTENCE_CHARS = 2000
MEMORY = Path("/dev/shm")  # noqa: S108  folders of our own are made there
#: What would break a line of the log or of a page, or cannot be encoded at all.
BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Parser:
    """A parser by its *name*; *check* raises what breaks the rule, on any bytes.

    One that *is_costly* on purpose, as the hash of a passphrase is, is not for atheris.
    """

    name: str
    check: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    is_json: bool = False
    is_costly: bool = False


@dataclass(frozen=True, slots=True)
class Harness:
    """Parsers that are fuzzed together; the first byte of an input chooses one."""

    name: str
    parsers: tuple[Parser, ...]

    def chosen(self, data: bytes) -> Parser:
        """Return the parser that *data* is for."""
        return self.parsers[data[0] % len(self.parsers)]

    def check(self, data: bytes) -> None:
        """Give *data* to the parser that it chooses."""
        if data:
            self.chosen(data).check(data[1:])

    def corpus(self) -> list[bytes]:
        """Return the samples of all parsers, as `check` takes them."""
        return [
            bytes([place]) + sample
            for place, parser in enumerate(self.parsers)
            for sample in parser.samples
        ]


def scratch_folder() -> Path:
    """Return a new folder in memory, where there is such a place, until this ends."""
    place = MEMORY if MEMORY.is_dir() and "TMPDIR" not in os.environ else None
    made = Path(tempfile.mkdtemp(prefix="fuzz-", dir=place))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def check_sentence(sentence: str) -> None:
    """Raise AssertionError unless *sentence* can stand in a log and on a page."""
    assert sentence.strip(), "an error without a sentence"
    assert len(sentence) <= MAX_SENTENCE_CHARS, f"{len(sentence)} characters"
    breaking = [c for c in sentence if unicodedata.category(c) in BREAKING]
    assert not breaking, f"{breaking[:3]!r} in {sentence[:300]!r}"


@contextmanager
def allowed(*errors: type[Exception]) -> Iterator[None]:
    """Let the documented *errors* pass, if they carry a sentence."""
    try:
        yield
    except errors as error:
        check_sentence(str(error))


def text_of(data: bytes) -> str:
    """Return *data* as text, with lone surrogates where it is no UTF-8."""
    return data.decode(errors="surrogateescape")


def latin_text_of(data: bytes) -> str:
    """Return *data* as a server gives headers to an application."""
    return data.decode("latin-1")
