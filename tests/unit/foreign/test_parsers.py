"""Whatever bytes arrive, a parser gives a value or an error that says what is wrong.

The parsers and what must hold for each are those of the fuzzer (`tests/fuzz`), which
tries them for much longer. What it found is among their samples.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.harnesses import NAMES, load
from tests.fuzz.mutating import mutate_json
from tests.fuzz.parsers import Parser

CASES = [
    pytest.param(parser, id=f"{name}: {parser.name}")
    for name in NAMES
    for parser in load(name, costly=True).parsers
]
EXAMPLES = 15
COSTLY_EXAMPLES = 3
EDITS = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 8), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def edited(sample: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Replace some bytes of *sample* by others, at each of the places of *edits*."""
    for place, removed, added in edits:
        at = place % (len(sample) + 1)
        sample = sample[:at] + added + sample[at + removed :]
    return sample


def with_one_value_changed(sample: bytes, seed: int) -> bytes:
    """Change one value in the JSON of *sample*, or nothing where it has none."""
    changed = mutate_json(sample, 2**20, seed, lambda text: text[::-1] + b"\0")
    return sample if changed is None else changed


def from_samples(parser: Parser) -> st.SearchStrategy[bytes]:
    """Give bytes that are nearly what *parser* expects."""
    samples = st.sampled_from(parser.samples)
    near = st.builds(edited, samples, EDITS)
    if not parser.is_json:
        return near
    return near | st.builds(with_one_value_changed, samples, st.integers(0, 2**32))


@pytest.mark.parametrize("parser", CASES)
def test_every_sample_is_read_or_refused_with_a_sentence(parser: Parser) -> None:
    """Samples are what is right, and what once was a finding."""
    assert parser.samples
    for sample in parser.samples:
        parser.check(sample)


@pytest.mark.parametrize("parser", CASES)
def test_any_bytes_are_read_or_refused_with_a_sentence(parser: Parser) -> None:
    """No other exception, and what was read is written so that it reads again."""

    @settings(
        max_examples=COSTLY_EXAMPLES if parser.is_costly else EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(from_samples(parser) | st.binary(max_size=200))
    def check(data: bytes) -> None:
        parser.check(data)

    check()
