"""The plan of a forward pass: every token once, in its place, within bounds."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.device.layouts.packing import Sample, copy_ids
from stages.device.layouts.run_plans import even_runs, packed_runs, padded_runs, tight_runs

ITEMS = st.lists(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12), min_size=1, max_size=12
)
BATCHES = st.lists(st.tuples(ITEMS, st.integers(0, 5)), min_size=1, max_size=4)


def samples(batch):
    return [
        Sample.of([np.array(item, np.int32) for item in items], pool_from)
        for items, pool_from in batch
    ]


@given(BATCHES, st.integers(1, 40))
def test_packed_runs_hold_every_text_once_without_padding(batch, max_tokens):
    texts = [item for items, _ in batch for item in items]
    chunks = samples(batch)
    runs = packed_runs(chunks, max_tokens)
    out = np.full(sum(run.size for run in runs), -1, np.int32)
    copy_ids(chunks, runs, out)
    assert len(out) == sum(map(len, texts))
    assert sorted(np.concatenate([run.rows for run in runs])) == list(range(len(texts)))
    base = 0
    for run in runs:
        assert run.size <= max_tokens or len(run.rows) == 1
        for row, start, length in zip(run.rows, run.starts, run.lengths, strict=True):
            assert out[base + start : base + start + length].tolist() == texts[row]
        base += run.size


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 4), st.integers(20, 300)
)
def test_runs_for_several_workers_hold_every_text_once_and_divide_the_work(
    lengths, workers, max_tokens
):
    chunks = [Sample.of([np.full(length, place, np.int32) for place, length in enumerate(lengths)])]
    runs = even_runs(chunks, max_tokens, workers, hidden_size=1 << 20)
    if not runs:
        return
    out = np.full(sum(lengths), -1, np.int32)
    copy_ids(chunks, runs, out)
    assert sorted(out.tolist()) == sorted(np.repeat(np.arange(len(lengths)), lengths).tolist())
    days = [0] * workers
    for run in runs:
        assert run.size < max_tokens + max(lengths)
    for size in sorted((run.size for run in runs), reverse=True):
        days[days.index(min(days))] += size
    assert max(days) <= 1.081 * sum(lengths) / workers


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [
        ([64] * 2, 2),  # one each
        ([64] * 31, 2),
        ([64] * 5, 0),  # three against two
        ([10] * 12, 0),  # too little to share
        ([500] + [10] * 30, 0),  # the long one alone is more than half
        ([100] * 40, 4),
    ],
)
def test_two_workers_share_a_batch_that_divides_evenly(lengths, runs):
    chunks = [Sample.of([np.zeros(length, np.int32) for length in lengths])]
    assert len(even_runs(chunks, 1024, 2, hidden_size=384)) == runs


@given(BATCHES)
def test_groups_are_neighbours_of_one_length_and_cover_the_run(batch):
    (run,) = packed_runs(samples(batch), 1 << 30)
    assert sum(group.count * group.length for group in run.groups) == run.size
    lengths = [group.length for group in run.groups]
    assert lengths == sorted(set(lengths))
    starts = [group.start for group in run.groups]
    sizes = [group.count * group.length for group in run.groups]
    assert starts == [0, *np.cumsum(sizes)[:-1].tolist()]


@given(BATCHES)
def test_positions_start_anew_in_each_text(batch):
    (run,) = packed_runs(samples(batch), 1 << 30)
    expected = [5 + place for length in run.lengths for place in range(length)]
    assert run.positions(5).tolist() == expected
    assert run.offsets.tolist() == [0, *np.cumsum(run.lengths).tolist()]


@given(BATCHES, st.integers(1, 3), st.data())
def test_padding_in_a_text_takes_no_position_where_padding_is_not_counted(batch, first, data):
    (run,) = packed_runs(samples(batch), 1 << 30)
    ids = data.draw(st.lists(st.integers(0, 3), min_size=run.size, max_size=run.size))
    expected = []
    for start, length in zip(run.starts, run.lengths, strict=True):
        place = first
        for token in ids[start : start + length]:
            expected.append(first - 1 if token == first - 1 else place)
            place += token != first - 1
    ids = np.array(ids, np.int32)
    assert run.positions(first, ids).tolist() == expected
    assert run.positions(0, ids).tolist() == run.positions(0).tolist()


@given(BATCHES, st.integers(0, 3), st.integers(12, 16))
def test_padded_runs_are_rows_of_one_width_with_dummies_last(batch, dummies, width):
    texts = [item for items, _ in batch for item in items]
    chunks = samples(batch)
    (run,) = padded_runs(chunks, len(texts) + dummies, width)
    out = np.full(run.size, -1, np.int32)
    copy_ids(chunks, [run], out)
    rows = out.reshape(-1, width)
    assert [row[row >= 0].tolist() for row in rows[: len(texts)]] == texts
    assert (rows[len(texts) :] == -1).all()
    assert len(rows) == len(texts) + dummies


@given(BATCHES, st.integers(1, 100))
def test_tight_runs_are_as_wide_as_their_longest_text_and_have_no_dummies(batch, max_tokens):
    texts = [item for items, _ in batch for item in items]
    chunks = samples(batch)
    runs = tight_runs(chunks, len(texts), 12, max_tokens)
    out = np.full(sum(run.size for run in runs), -1, np.int32)
    copy_ids(chunks, runs, out)
    rows, base = [], 0
    for run in runs:
        assert run.width == run.lengths.max()
        assert run.size <= max_tokens or len(run.rows) == 1
        rows += list(out[base : base + run.size].reshape(-1, run.width))
        base += run.size
    assert [row[row >= 0].tolist() for row in rows] == texts


@given(BATCHES, st.booleans())
def test_pooled_tokens_are_all_but_the_first_ones(batch, packed):
    chunks = samples(batch)
    count = sum(len(items) for items, _ in batch)
    (run,) = packed_runs(chunks, 1 << 30) if packed else padded_runs(chunks, count, 12)
    indices, offsets = run.pooled()
    skips = [pool_from for items, pool_from in batch for _ in items]
    for index, row in enumerate(run.rows):
        start, length = int(run.starts[index]), int(run.lengths[index])
        found = indices[offsets[index] : offsets[index + 1]].tolist()
        assert found == list(range(start + min(skips[row], length), start + length))


@pytest.mark.parametrize("plan", [padded_runs, partial(tight_runs, max_tokens=100)])
def test_a_batch_that_does_not_fit_its_rows_is_refused(plan):
    chunk = Sample.of([np.zeros(5, np.int32)] * 3)
    with pytest.raises(ValueError, match="3 texts of up to 5 tokens do not fit into 2 rows of 8"):
        plan([chunk], 2, 8)
    with pytest.raises(ValueError, match="do not fit into 3 rows of 4"):
        plan([chunk], 3, 4)
