"""Runs one harness under atheris, in this process, until libFuzzer ends it."""

import hashlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

from tests.fuzz.harnesses import MEASURED, load
from tests.fuzz.mutating import mutate_json
from tests.fuzz.parsers import Harness

#: How often a structure is changed, and not the bytes.
STRUCTURED_PERCENT = 60
MAX_TEXT_BYTES = 256


def run(harness_name: str, folder: Path, words: list[str]) -> None:
    """Fuzz the harness *harness_name*; *words* are those of libFuzzer, the corpus last.

    An input that is a finding is kept in *folder*.
    """
    with atheris.instrument_imports(include=list(MEASURED[harness_name])):
        harness = load(harness_name)
    logging.disable(logging.CRITICAL)
    _write_samples(harness, Path(words[-1]))

    def check(data: bytes) -> None:
        try:
            harness.check(data)
        except BaseException:
            (folder / f"finding-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(
                data
            )
            raise

    atheris.Setup([sys.argv[0], *words], check, custom_mutator=_mutator(harness))
    atheris.Fuzz()


def _write_samples(harness: Harness, corpus: Path) -> None:
    for place, sample in enumerate(harness.corpus()):
        (corpus / f"sample-{place}").write_bytes(sample)


def _mutator(harness: Harness) -> Callable[[bytes, int, int], bytes]:
    """Return what changes an input: its JSON if it has any, else its bytes."""

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        changed = None
        if data and harness.chosen(data).is_json and seed % 100 < STRUCTURED_PERCENT:
            changed = mutate_json(data[1:], max_size - 1, seed, _mutated_text)
        return _mutated(data, max_size) if changed is None else data[:1] + changed

    return mutate


def _mutated_text(text: bytes) -> bytes:
    return _mutated(text, MAX_TEXT_BYTES)


def _mutated(data: bytes, max_size: int) -> bytes:
    return bytes(atheris.Mutate(data, max(max_size, len(data) + 16)))
