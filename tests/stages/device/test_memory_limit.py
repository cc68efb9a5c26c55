"""When memory does not suffice: both halves, once more, and smaller batches from then on."""

import pytest
import torch
from attrs import evolve
from tiny_models import make_batch, make_engine, pooling, random_texts, write_checkpoint

from stages.device.calibration import BatchShape
from stages.device.errors import ModelError
from stages.device.memory_limit import MemoryLimit, halves
from stages.device.null_engine import NullEngine
from stages.device.spec import EngineSpec
from stages.messages.batch import Layout
from stages.threads.pending_work import Completed

TEXTS = random_texts([5, 9, 3, 3, 8, 1, 2])
NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


class SmallDevice:
    """Takes batches of up to ``room`` tokens; notes every attempt."""

    def __init__(self, room, error=NO_MEMORY):
        self.room = room
        self._error = error
        self.attempts = []
        self.released = 0
        self._null = NullEngine(EngineSpec(device="null", null_dimension=8))
        self.memory_limit = MemoryLimit(1000, self.release)

    def release(self):
        self.released += 1

    def start(self, batch):
        return self.memory_limit.start(self._begin, batch)

    def whole(self, batch):
        return self._null.run(batch).vectors

    def _begin(self, batch):
        self.attempts.append(batch.rows * batch.width)
        if batch.rows * batch.width > self.room:
            raise self._error
        return self._null.start(batch)


@pytest.mark.parametrize("layout", Layout)
def test_a_batch_that_does_not_fit_runs_as_two_and_later_ones_stay_below(layout):
    batch = make_batch(TEXTS, layout)
    size = batch.rows * batch.width
    device = SmallDevice(room=size - 1)
    output = device.start(batch).finish()
    assert output.vectors.tolist() == device.whole(batch).tolist()
    assert output.computed_tokens is None  # the null device does not say
    assert (len(device.attempts), device.released) == (3, 1)
    assert (device.memory_limit.tokens, device.memory_limit.lowered) == (size // 2, 1)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_memory_may_be_wanted_outside_of_the_allocator(message):
    batch = make_batch(TEXTS, Layout.PACKED)
    device = SmallDevice(batch.rows * batch.width - 1, torch.AcceleratorError(message))
    assert device.start(batch).finish().vectors.tolist() == device.whole(batch).tolist()
    assert device.memory_limit.lowered == 1


def test_other_errors_are_not_tried_again():
    device = SmallDevice(0, torch.AcceleratorError("CUDA error: an illegal memory access"))
    with pytest.raises(torch.AcceleratorError):
        device.start(make_batch(TEXTS, Layout.PACKED))
    assert (len(device.attempts), device.memory_limit.lowered) == (1, 0)


def test_two_halves_computed_what_each_of_them_did():
    batch = make_batch(TEXTS, Layout.PADDED)
    device = SmallDevice(room=batch.rows * batch.width - 1)

    def start(half):
        output = device._begin(half).finish()
        return Completed(evolve(output, computed_tokens=half.rows * half.width))

    output = device.memory_limit.start(start, batch).finish()
    assert output.computed_tokens == sum(device.attempts[1:])


def test_what_fits_is_not_touched():
    device = SmallDevice(room=100)
    device.start(make_batch(TEXTS, Layout.PACKED)).finish()
    assert (len(device.attempts), device.memory_limit.tokens, device.released) == (1, 1000, 0)


def test_a_half_that_does_not_fit_either_is_an_error():
    device = SmallDevice(room=10)
    with pytest.raises(torch.OutOfMemoryError):
        device.start(make_batch(TEXTS, Layout.PACKED))


def test_a_single_text_is_tried_once_more():
    device = SmallDevice(room=3)
    with pytest.raises(torch.OutOfMemoryError):
        device.start(make_batch(TEXTS[:1], Layout.PACKED))
    assert len(device.attempts) == 2


def test_when_the_second_half_cannot_start_the_first_is_finished():
    finished = []

    class Half:
        def finish(self):
            finished.append(True)

    def start(batch):
        if batch.items in {4, 7}:
            raise NO_MEMORY
        return Half()

    with pytest.raises(torch.OutOfMemoryError):
        MemoryLimit(100, lambda: None).start(start, make_batch(TEXTS, Layout.PACKED))
    assert finished == [True]


def test_broken_rows_of_the_second_half_are_counted_on():
    device = SmallDevice(room=30)

    def start(batch):
        output = device._begin(batch).finish()
        return Completed(type(output)(output.vectors, (0, 1)))

    both = device.memory_limit.start(start, make_batch(TEXTS, Layout.PACKED)).finish()
    assert both.broken == (0, 1, 3, 4)


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_halves_hold_every_item_once_in_order(parts):
    batch = make_batch(TEXTS, Layout.PADDED, rows=8, width=16, parts=parts)
    first, second = halves(batch)
    items = [
        chunk.ids.item(index).tolist()
        for half in (first, second)
        for chunk in half.chunks
        for index in range(len(chunk))
    ]
    assert items == [text.tolist() for text in TEXTS]
    assert (first.items, second.items) == (3, 4)
    assert (first.rows, second.rows) == (4, 4)  # captured sizes are powers of two


def test_an_engine_shows_its_ceiling(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    engine = make_engine(folder, max_tokens_per_batch=32768)
    assert engine.figures().max_tokens == 32768
    begin = engine._begin

    def small(batch):
        if batch.items > 4:
            raise NO_MEMORY
        return begin(batch)

    monkeypatch.setattr(engine, "_begin", small)
    batch = make_batch(TEXTS, Layout.PACKED)
    vectors = engine.run(batch).vectors
    assert vectors.shape == (7, 32)
    assert (engine.figures().max_tokens, engine.figures().out_of_memory) == (15, 1)


def test_a_warm_up_finds_what_fits_and_larger_batches_are_never_formed():
    shapes = [BatchShape(count, 16) for count in (1, 4, 16, 64)]
    tried, limit = [], MemoryLimit(1024, lambda: None)

    def run(left):
        tried.append(len(left))
        if left[-1].texts > 4:
            raise NO_MEMORY
        return left

    assert limit.fitting(run, shapes) == shapes[:2]
    assert tried == [4, 3, 2]
    assert (limit.tokens, limit.lowered) == (128, 2)


def test_a_model_that_takes_all_the_memory_is_not_served():
    def run(_shapes):
        raise NO_MEMORY

    with pytest.raises(ModelError, match="memory does not suffice for the model and a single text"):
        MemoryLimit(1024, lambda: None).fitting(run, [BatchShape(1, 16), BatchShape(8, 16)])


def test_what_else_goes_wrong_in_a_warm_up_is_not_taken_for_want_of_memory():
    def run(_shapes):
        raise RuntimeError("an illegal memory access was encountered")

    limit = MemoryLimit(1024, lambda: None)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        limit.fitting(run, [BatchShape(1, 16)])
    assert limit.lowered == 0
