"""Token ids are copied once between the request's bytes and the device, and never widened."""

import numpy as np
import pytest
import torch
from tiny_models import make_engine, pooling, random_texts, write_checkpoint

from stages.data.ragged_ids import RaggedIds
from stages.device.cpu import cpu_executor
from stages.messages.batch import Batch, Layout
from stages.messages.chunk import Chunk
from stages.requests.ticket import Ticket


@pytest.fixture
def engine(tmp_path):
    return make_engine(write_checkpoint(tmp_path, "bert", [pooling("mean")]))


@pytest.fixture
def wire_chunk():
    """A chunk whose ids are a read-only view of bytes, as they come over the wire."""
    texts = random_texts([5, 9, 5])
    flat = np.frombuffer(b"".join(text.tobytes() for text in texts), np.int32)
    lengths = np.array([5, 9, 5], np.int32)
    ids = RaggedIds(flat, np.array([0, 5, 14], np.int32), lengths)
    ticket = Ticket(1, "", 3, 0.0, 0.0, lambda outcome: None)
    return Chunk(ticket, 16, ids, np.arange(3, dtype=np.int32))


@pytest.mark.parametrize("layout", Layout)
def test_what_reaches_the_embedding_is_the_input_buffer_itself(engine, wire_chunk, layout):
    seen = []
    table = engine._encoder.model.get_input_embeddings()
    hook = table.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    rows, width = (1, 19) if layout is Layout.PACKED else (3, 9)
    engine.run(Batch(1, (wire_chunk,), layout, rows, width))
    hook.remove()
    (ids,) = seen
    assert ids.dtype is torch.int32
    assert ids.shape == (rows, width)
    assert ids.data_ptr() == engine._executor._input._host.data_ptr()


@pytest.mark.parametrize("layout", Layout)
def test_the_one_copy_reads_the_wire_and_writes_the_input_buffer(
    engine, wire_chunk, layout, monkeypatch
):
    calls = []

    def watched(chunks, runs, out):
        assert not wire_chunk.ids.flat.flags.writeable
        for index in range(3):
            assert np.shares_memory(chunks[0].ids.item(index), wire_chunk.ids.flat)
        assert np.shares_memory(out, engine._executor._input._host.numpy())
        assert out.dtype == wire_chunk.ids.flat.dtype == np.int32
        calls.append(len(runs))
        copy_ids(chunks, runs, out)

    copy_ids = cpu_executor.copy_ids
    monkeypatch.setattr(cpu_executor, "copy_ids", watched)
    rows, width = (1, 19) if layout is Layout.PACKED else (3, 9)
    engine.run(Batch(1, (wire_chunk,), layout, rows, width))
    assert calls == [1]


def test_a_batch_above_the_buffer_is_still_served(engine):
    texts = random_texts([60] * 5)
    lengths = np.full(5, 60, np.int32)
    ids = RaggedIds(np.concatenate(texts), np.arange(5, dtype=np.int32) * 60, lengths)
    chunk = Chunk(
        Ticket(1, "", 5, 0.0, 0.0, lambda outcome: None), 64, ids, np.arange(5, dtype=np.int32)
    )
    engine._executor._input = cpu_executor.InputBuffer(8)
    output = engine.run(Batch(1, (chunk,), Layout.PACKED, 1, 300))
    assert output.vectors.shape == (5, 32)
    assert output.broken == ()
