"""From the bytes of a request to the device's input, ids are int32 and copied once.

The real stages between a request's bytes and a real engine, in one process, where
memory can be looked at.
"""

import numpy as np
import pytest
from core_builders import InlineRunner, limits_of
from penstock.compat.gpu_inference_pb2 import InferRequest
from penstock.v1.embedding_pb2 import EmbedRequest as WireRequest
from running_pipeline import Running
from server_processes import as_ids, as_matrix
from small_model import VOCABULARY, write_checkpoint

from stages.data.input_limits import InputLimits
from stages.data.padded_input import from_mask
from stages.data.ragged_input import from_lengths
from stages.device.checkpoint.recipe import Recipe
from stages.device.cpu import cpu_executor
from stages.device.engine import Engine
from stages.device.spec import EngineSpec
from stages.messages.batch import Layout
from stages.requests.answer import Answer
from stages.requests.request import EmbedRequest

LIMITS = InputLimits(max_items=64, max_item_bytes=1 << 20, vocabulary=VOCABULARY)
ITEMS = [[2, *range(5, 5 + length), 3] for length in (1, 14, 3, 7, 9, 5)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_checkpoint(folder)
    return Engine(EngineSpec(folder, Recipe.read(folder), device="cpu", threads=1))


def by_lengths():
    """The bytes that a request holds, and its ids as the edge hands them in."""
    wire = WireRequest.FromString(WireRequest(**as_ids(ITEMS)).SerializeToString())
    token_ids = wire.token_ids
    return token_ids, from_lengths(token_ids, wire.lengths, LIMITS)


def by_mask():
    """The same for a padded matrix."""
    wire = InferRequest.FromString(InferRequest(**as_matrix(ITEMS)).SerializeToString())
    matrix, mask = wire.input_ids_bytes, wire.attention_mask_bytes
    return matrix, from_mask(matrix, mask, wire.num_items, wire.seq_len, LIMITS)


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("read", [by_lengths, by_mask])
async def test_ids_are_copied_once_and_never_widened(
    engine, read, layout, monkeypatch, nursery, autojump_clock
):
    wire_bytes, ids = read()
    wire = np.frombuffer(wire_bytes, np.uint8)
    assert np.shares_memory(ids.flat, wire)
    copies, embedded = [], []
    copy_ids = cpu_executor.copy_ids

    def watched_copy(chunks, runs, out):
        for chunk in chunks:
            assert chunk.ids.flat.dtype == np.int32
            assert np.shares_memory(chunk.ids.flat, wire)
        assert out.dtype == np.int32
        copies.append(sum(len(chunk) for chunk in chunks))
        copy_ids(chunks, runs, out)

    monkeypatch.setattr(cpu_executor, "copy_ids", watched_copy)
    table = engine._encoder.model.get_input_embeddings()
    hook = table.register_forward_pre_hook(lambda _, inputs: embedded.append(inputs[0]))
    limits = limits_of(layout=layout, max_items=4)
    running = Running(nursery, device=InlineRunner(engine.run), limits=limits)
    running.calls.submit(EmbedRequest("r", ids=ids))
    assert await running.kinds("r") == [Answer]
    hook.remove()
    running.pipeline.close()
    assert len(copies) > 1  # split over batches
    assert sum(copies) == len(ITEMS)  # and each item copied once
    for tensor in embedded:
        assert tensor.dtype is engine._executor._input._host.dtype
        assert tensor.data_ptr() == engine._executor._input._host.data_ptr()
    assert str(engine._executor._input._host.dtype) == "torch.int32"
