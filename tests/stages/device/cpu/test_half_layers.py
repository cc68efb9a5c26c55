"""BERT's layers in bfloat16: as near to float32 as transformers' own, and nearer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import distance, make_batch, make_engine, pooling, random_texts, write_checkpoint

from stages.device.cpu import bert_layers
from stages.device.cpu.bert_layers import PostNormEncoder
from stages.device.layouts import packed
from stages.device.layouts.packed import product_rows
from stages.device.processor import multiplies_bfloat16
from stages.messages.batch import Layout

LENGTHS = (5, 30, 1, 7, 7, 60)
ROUNDING = 2e-2  # of a unit vector's numbers, through three layers
BROKEN = 50  # a token id

needs_units = pytest.mark.skipif(
    not multiplies_bfloat16(), reason="the processor has no units for bfloat16"
)


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path, "bert", [pooling("mean")])


def embed(engine, texts):
    return engine.run(make_batch(texts, Layout.PACKED)).vectors


def layers_of(engine):
    return type(engine._encoder.model.encoder)


@needs_units
@pytest.mark.parametrize("lengths", [LENGTHS, (9, 9, 9), (17,), (1,), (2,) * 19, (33, 33, 48)])
def test_the_vectors_are_nearer_to_float32_than_those_of_transformers(folder, lengths, monkeypatch):
    texts = random_texts(lengths)
    right = embed(make_engine(folder), texts)
    engine = make_engine(folder, dtype="bfloat16")
    assert layers_of(engine) is PostNormEncoder
    monkeypatch.setattr(bert_layers, "multiplies_bfloat16", lambda: False)
    plain = make_engine(folder, dtype="bfloat16")
    assert layers_of(plain) is not PostNormEncoder
    found, usual = embed(engine, texts), embed(plain, texts)
    assert distance(found, right) < ROUNDING
    assert np.linalg.norm(found - right) < 1.2 * np.linalg.norm(usual - right)


@needs_units
def test_biases_of_any_size_are_minded(folder):
    model = make_engine(folder)._encoder.model
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    bert_layers.restore_layers(model)
    model.save_pretrained(folder)
    texts = random_texts(LENGTHS)
    engine = make_engine(folder, dtype="bfloat16")
    assert layers_of(engine) is PostNormEncoder
    assert distance(embed(engine, texts), embed(make_engine(folder), texts)) < ROUNDING


@needs_units
def test_a_text_does_not_depend_on_its_neighbours(folder):
    engine, texts = make_engine(folder, dtype="bfloat16"), random_texts(LENGTHS)
    alone = np.concatenate([embed(engine, [text]) for text in texts])
    assert distance(embed(engine, texts), alone) < ROUNDING


@needs_units
def test_a_broken_text_leaves_its_neighbours_whole(tmp_path):
    # All widths whole tiles, as models have: of a part of one the library reads the next row too.
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")], intermediate_size=64)
    engine = make_engine(folder, dtype="bfloat16")
    texts = [np.where(ids == BROKEN, BROKEN + 1, ids) for ids in random_texts((3, 4, 3, 4, 3))]
    whole = embed(engine, texts)
    texts[2][0] = BROKEN
    with torch.inference_mode():
        engine._encoder.model.get_input_embeddings().weight[BROKEN] = torch.nan
    output = engine.run(make_batch(texts, Layout.PACKED))
    assert output.broken == (2,)
    others = [0, 1, 3, 4]
    assert distance(output.vectors[others], whole[others]) < ROUNDING


@pytest.mark.parametrize("kind", ["bert", "albert", "modernbert"])
def test_products_have_few_sizes(tmp_path, kind, monkeypatch):
    """Whoever computes the layers; with rows of no text below those of the texts."""
    folder = write_checkpoint(tmp_path, kind, [pooling("mean")])
    texts = random_texts(LENGTHS)
    right = embed(make_engine(folder), texts)
    monkeypatch.setattr(packed, "multiplies_bfloat16", lambda: True)
    engine = make_engine(folder, dtype="bfloat16")
    seen = []
    engine._encoder.model.register_forward_pre_hook(
        lambda _, args, inputs: seen.append(inputs["input_ids"].shape[1]), with_kwargs=True
    )
    assert distance(embed(engine, texts), right) < ROUNDING
    assert seen == [112]  # for 110 tokens


@given(st.integers(1, 1 << 14))
def test_rows_are_at_most_a_sixteenth_more_than_tokens(tokens):
    rows = product_rows(tokens, torch.bfloat16)
    assert product_rows(tokens, torch.float32) == tokens
    assert tokens <= rows < tokens + max(16, tokens / 16)


@pytest.mark.skipif(not multiplies_bfloat16(), reason="rows are as many as tokens here")
def test_there_are_few_numbers_of_rows():
    assert len({product_rows(tokens, torch.bfloat16) for tokens in range(1, 2049)}) == 64
