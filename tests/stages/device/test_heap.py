"""Freed memory is given back once in a while, not after every batch."""

from stages.device.heap import TRIM_EVERY_TOKENS, HeapTrimmer, keep_freed_memory


def test_it_trims_once_every_so_many_tokens():
    calls = []
    heap = HeapTrimmer(lambda: calls.append(1))
    for _ in range(8):
        heap.ran(TRIM_EVERY_TOKENS // 4)
    assert len(calls) == 2


def test_without_a_way_to_trim_it_does_nothing():
    HeapTrimmer(None).ran(TRIM_EVERY_TOKENS)


def test_the_kept_memory_can_be_given_back():
    trim = keep_freed_memory()
    if trim is not None:
        trim()
