"""How a write is divided among those whose documents wait."""

import bson
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from twistlock_console.servers.defenders.fair_queue import (
    MAX_SHARE_BYTES,
    MIN_SHARE_BYTES,
    Batch,
    FairQueue,
    Limits,
)

OVERHEAD = len(bson.encode({"x": b""}))


def batch(*sizes: int) -> Batch:
    """Return documents of these sizes."""
    return Batch(
        [RawBSONDocument(bson.encode({"x": bytes(size - OVERHEAD)})) for size in sizes]
    )


def queue_of(*batches: Batch, **limits: int) -> FairQueue[Batch]:
    """Return a queue with *batches*."""
    queue: FairQueue[Batch] = FairQueue(Limits(**{"smallest": 1, **limits}))
    for each in batches:
        queue.put(each)
    return queue


def rounds(queue: FairQueue[Batch], *batches: Batch) -> list[dict[int, int]]:
    """Return how many documents of each batch are in each write."""
    numbers = {id(each): number for number, each in enumerate(batches)}
    found = []
    while portions := queue.take():
        found.append({numbers[id(p.batch)]: p.last - p.first for p in portions})
    return found


def test_the_small_are_in_the_first_write_whatever_the_large_have() -> None:
    """A flood takes its share of each write, and no more."""
    flood, small, other = batch(*[100] * 10), batch(100), batch(50, 50)

    found = rounds(queue_of(flood, small, other, share=300), flood, small, other)

    assert found == [{0: 3, 1: 1, 2: 2}, {0: 3}, {0: 3}, {0: 1}]


def test_a_large_document_is_paid_for_later() -> None:
    """Its Defender is passed over until the credit is there again."""
    large, small = batch(1000, 100), batch(*[100] * 8)

    found = rounds(queue_of(large, small, share=200), large, small)

    assert found == [{0: 1, 1: 2}, {1: 2}, {1: 2}, {1: 2}, {0: 1}]


def test_many_share_the_bytes_of_a_write() -> None:
    """Each gets at least one document, and the longer a write the less each."""
    batches = [batch(*[100] * 4) for _ in range(4)]

    found = rounds(queue_of(*batches, bytes=800, share=400), *batches)

    assert found == [dict.fromkeys(range(4), 2)] * 2


def test_small_batches_are_not_divided() -> None:
    """However many wait: each would be acknowledged a write later."""
    batches = [batch(*[100] * 4) for _ in range(4)]

    found = rounds(queue_of(*batches, bytes=800, smallest=400), *batches)

    assert found == [{0: 4, 1: 4}, {2: 4, 3: 4}]


def test_a_full_write_leaves_the_others_their_places() -> None:
    """Those that were passed over come first in the next one."""
    batches = [batch(20, 20) for _ in range(3)]

    found = rounds(queue_of(*batches, documents=3), *batches)

    assert found == [{0: 2, 1: 1}, {2: 2, 1: 1}]


def test_what_is_not_wanted_is_left_out() -> None:
    """And one without documents is taken all the same: something is counted with it."""
    gone, empty = batch(20), batch()
    gone.is_wanted = False
    queue = queue_of(gone, empty)

    [portion] = queue.take()
    assert (portion.batch, portion.is_last, len(queue)) == (empty, True, 0)
    assert queue.take() == []


def test_slow_writes_become_smaller_and_quick_ones_larger() -> None:
    """Within limits: a database that is always slow must not starve the large."""
    queue = queue_of(smallest=MIN_SHARE_BYTES)
    shares = []
    for seconds in (0.2, 0.08, 1.0, 1.0, 0.01, *[0.01] * 9):
        queue.adapt(seconds)
        shares.append(queue.limits.share)

    assert shares[:5] == [65_536, 65_536, 32_768, 32_768, 40_960]
    assert shares[-1] == MAX_SHARE_BYTES


@given(
    st.lists(st.lists(st.integers(20, 5000), min_size=1, max_size=30), max_size=8),
    st.integers(1, 20),
    st.integers(100, 10_000),
)
def test_everything_is_taken_once_and_in_order(
    sizes: list[list[int]], documents: int, share: int
) -> None:
    """Within the limits of a write, but for the last document of each share."""
    batches = [batch(*each) for each in sizes]
    queue = queue_of(*batches, documents=documents, bytes=20_000, share=share)
    taken = [0] * len(batches)
    numbers = {id(each): number for number, each in enumerate(batches)}
    while portions := queue.take():
        assert sum(p.last - p.first for p in portions) <= documents
        for p in portions:
            number = numbers[id(p.batch)]
            assert p.first == taken[number]
            taken[number] = p.last
            assert p.is_last == (p.last == len(p.batch.documents))

    assert taken == [len(each) for each in sizes]
