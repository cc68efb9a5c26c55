"""Layers like BERT's run in place of transformers' own, where they compute the same."""

import numpy as np
import pytest
import torch
from tiny_models import (
    distance,
    make_batch,
    make_engine,
    plain_tokens,
    pooling,
    random_texts,
    write_checkpoint,
)
from transformers import AutoModel

from stages.device.cpu import bert_layers
from stages.device.cpu.bert_layers import PostNormEncoder
from stages.device.cpu.post_norm_layer import PostNormLayer
from stages.messages.batch import Layout

TOLERANCE = 2e-6
LENGTHS = (5, 30, 1, 7, 7, 60)
BROKEN = 50  # a token id


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path, "bert", [pooling("mean")])


def means(folder, texts):
    return np.stack([tokens[0].mean(0).numpy() for tokens in plain_tokens(folder, texts)])


def runs_here(engine):
    return isinstance(engine._encoder.model.encoder, PostNormEncoder)


@pytest.mark.parametrize("lengths", [LENGTHS, (9, 9, 9), (17,), (1,), (2,) * 19, (33, 33, 48)])
def test_biases_of_any_size_are_minded(folder, lengths):
    """Those of keys and values are not added where transformers adds them."""
    model = AutoModel.from_pretrained(folder)
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    engine = make_engine(folder)
    assert runs_here(engine)
    texts = random_texts(lengths)
    vectors = engine.run(make_batch(texts, Layout.PACKED)).vectors
    assert distance(vectors, means(folder, texts)) <= TOLERANCE


def test_padded_rows_run_as_transformers_does(folder):
    engine, texts = make_engine(folder), random_texts(LENGTHS)
    vectors = engine.run(make_batch(texts, Layout.PADDED)).vectors
    assert runs_here(engine)
    assert distance(vectors, means(folder, texts)) <= TOLERANCE


def test_layers_that_compute_something_else_stay(folder, monkeypatch):
    run = PostNormLayer.run
    monkeypatch.setattr(PostNormLayer, "run", lambda self, x, s: run(self, x, s) * 1.001)
    engine, texts = make_engine(folder), random_texts(LENGTHS)
    assert (engine.layout, runs_here(engine)) == (Layout.PACKED, False)
    vectors = engine.run(make_batch(texts, Layout.PACKED)).vectors
    assert distance(vectors, means(folder, texts)) <= TOLERANCE


@pytest.mark.parametrize(
    ("kind", "changes", "dtype"),
    [
        ("bert", {"hidden_act": "relu"}, "float32"),
        ("bert", {}, "float16"),
        ("albert", {}, "float32"),
        ("qwen3", {}, "float32"),
    ],
)
def test_other_layers_stay(tmp_path, kind, changes, dtype):
    folder = write_checkpoint(tmp_path, kind, [pooling("mean")], **changes)
    engine = make_engine(folder, dtype=dtype)
    assert engine.layout is Layout.PACKED
    model = engine._encoder.model
    assert not any(isinstance(module, PostNormEncoder) for module in model.modules())


def test_bfloat16_without_units_for_it_is_left_to_transformers(folder, monkeypatch):
    monkeypatch.setattr(bert_layers, "multiplies_bfloat16", lambda: False)
    engine = make_engine(folder, dtype="bfloat16")
    assert (engine.layout, runs_here(engine)) == (Layout.PACKED, False)


def test_a_text_does_not_depend_on_its_neighbours(folder):
    engine, texts = make_engine(folder), random_texts(LENGTHS)
    together = engine.run(make_batch(texts, Layout.PACKED)).vectors
    alone = [engine.run(make_batch([text], Layout.PACKED)).vectors[0] for text in texts]
    assert distance(together, np.stack(alone)) <= TOLERANCE


@pytest.mark.parametrize("lengths", [(3, 4, 3, 4, 3), (17, 18, 17), (1, 1, 2)])
def test_a_broken_text_leaves_its_neighbours_whole(folder, lengths):
    """Attention reads their keys along, with a weight of zero: which times NaN is NaN."""
    engine, texts = make_engine(folder), random_texts(lengths)
    texts = [np.where(ids == BROKEN, BROKEN + 1, ids) for ids in texts]
    whole = engine.run(make_batch(texts, Layout.PACKED)).vectors
    texts[len(texts) // 2][0] = BROKEN
    with torch.inference_mode():
        engine._encoder.model.get_input_embeddings().weight[BROKEN] = torch.nan
    output = engine.run(make_batch(texts, Layout.PACKED))
    assert output.broken == (len(texts) // 2,)
    others = [row for row in range(len(texts)) if row not in output.broken]
    assert distance(output.vectors[others], whole[others]) <= TOLERANCE
