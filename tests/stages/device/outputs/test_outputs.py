"""Token vectors, scores and sparse weights are what plain transformers makes of a text alone."""

import numpy as np
import pytest
import torch
import transformers
from attrs import evolve
from tiny_models import (
    make_batch,
    make_engine,
    plain_tokens,
    pooling,
    random_texts,
    write_checkpoint,
)

from stages.device.checkpoint.recipe import Recipe
from stages.messages.batch import Layout
from stages.requests.output import Output

LENGTHS = (1, 30, 7, 7, 2, 60, 30, 7, 41, 1)
SECOND_AT = (1, 12, 3, 7, 1, 30, 0, 2, 40, 0)
TOLERANCE = 2e-6
CLASSIFIER = transformers.AutoModelForSequenceClassification
MASKED_LM = transformers.AutoModelForMaskedLM


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("kind", ["bert", "modernbert", "mistral"])
def test_tokens_are_the_last_hidden_states(tmp_path, kind, layout):
    folder = write_checkpoint(tmp_path, kind, [pooling("mean")])
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    assert engine.outputs == (Output.POOLED, Output.TOKENS)
    output = engine.run(make_batch(texts, layout, output=Output.TOKENS))
    assert output.broken == ()
    for index, expected in enumerate(plain_tokens(folder, texts)):
        assert np.abs(output.vectors.item(index) - expected[0].numpy()).max() <= TOLERANCE * 4


@pytest.mark.parametrize("layout", Layout)
def test_a_batch_above_one_piece_keeps_its_order(tmp_path, layout):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    texts = random_texts(np.random.default_rng(3).integers(1, 60, 60).tolist())
    found = make_engine(folder).run(make_batch(texts, layout, parts=7, output=Output.TOKENS))
    for index, expected in enumerate(plain_tokens(folder, texts)):
        assert np.abs(found.vectors.item(index) - expected[0].numpy()).max() <= TOLERANCE * 4


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bert", {"num_labels": 3}),
        ("bert", {"num_labels": 1}),
        ("albert", {}),
        ("xlm-roberta", {"num_labels": 1}),
        ("distilbert", {}),
        ("modernbert", {"classifier_pooling": "mean"}),
        ("modernbert", {"classifier_pooling": "cls"}),
        ("qwen3", {"num_labels": 1}),
        ("qwen3", {"pad_token_id": None}),
    ],
)
def test_scores_are_the_logits_of_the_whole_model(tmp_path, kind, changes, layout):
    folder = write_checkpoint(tmp_path, kind, [], CLASSIFIER, **changes)
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    assert (engine.outputs, engine.layout) == ((Output.SCORES,), Layout.PACKED)
    output = engine.run(make_batch(texts, layout, output=Output.SCORES))
    expected = plain_scores(folder, texts)
    assert output.vectors.shape == (len(texts), changes.get("num_labels", 2))
    assert np.abs(output.vectors - expected).max() <= TOLERANCE


@pytest.mark.parametrize("layout", Layout)
def test_a_pair_has_its_token_types(tmp_path, layout):
    folder = write_checkpoint(tmp_path, "bert", [], CLASSIFIER, num_labels=1)
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    batch = make_batch(texts, layout, output=Output.SCORES, second_at=SECOND_AT)
    singles = make_batch(texts, layout, output=Output.SCORES)
    expected = plain_scores(folder, texts, SECOND_AT)
    assert np.abs(engine.run(batch).vectors - expected).max() <= TOLERANCE
    assert np.abs(expected - plain_scores(folder, texts)).max() > 1e-3  # or types do not matter
    some = evolve(batch, chunks=(batch.chunks[0], *singles.chunks[1:]))  # pairs beside texts
    first = len(batch.chunks[0])
    found = engine.run(some).vectors
    assert np.abs(found[:first] - expected[:first]).max() <= TOLERANCE
    assert np.abs(found[first:] - plain_scores(folder, texts)[first:]).max() <= TOLERANCE


def test_a_model_without_token_types_scores_pairs_all_the_same(tmp_path):
    folder = write_checkpoint(tmp_path, "modernbert", [], CLASSIFIER, num_labels=1)
    texts = random_texts(LENGTHS)
    batch = make_batch(texts, Layout.PACKED, output=Output.SCORES, second_at=SECOND_AT)
    found = make_engine(folder).run(batch).vectors
    assert np.abs(found - plain_scores(folder, texts)).max() <= TOLERANCE


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("at_once", [1 << 24, 97 * 5])
@pytest.mark.parametrize("kind", ["bert", "albert", "xlm-roberta", "distilbert", "modernbert"])
def test_sparse_weights_are_splade_of_the_masked_language_model(
    tmp_path, monkeypatch, kind, at_once, layout
):
    monkeypatch.setattr("stages.device.outputs.ragged_outputs.LOGITS_AT_ONCE", at_once)
    folder = write_checkpoint(tmp_path, kind, [], MASKED_LM)
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    assert engine.outputs == (Output.POOLED, Output.TOKENS, Output.SPARSE)
    found = engine.run(make_batch(texts, layout, output=Output.SPARSE)).vectors
    dense = np.zeros((len(texts), 97), np.float32)
    for index in range(len(texts)):
        entries = found.item(index)
        assert (np.diff(entries["index"]) > 0).all()
        assert (entries["value"] > 0).all()
        dense[index, entries["index"]] = entries["value"]
    assert np.abs(dense - plain_splade(folder, texts)).max() <= TOLERANCE
    assert dense.max() > 0.01


def test_a_model_with_a_head_pools_as_it_does_without(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")], MASKED_LM)
    recipe = Recipe.read(folder)
    texts = random_texts(LENGTHS)
    found = make_engine(folder).run(make_batch(texts, Layout.PACKED)).vectors
    expected = np.stack([tokens[0].mean(0).numpy() for tokens in plain_tokens(folder, texts)])
    assert (recipe.task, recipe.pooling) == ("masked_lm", ("mean",))
    assert np.abs(found - expected).max() <= TOLERANCE


def test_what_a_batch_wants_may_differ_from_chunk_to_chunk(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [], MASKED_LM)
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    for layout in Layout:
        batch = make_batch(texts, layout, parts=4)
        wanted = [Output.TOKENS, Output.POOLED, Output.SPARSE, Output.TOKENS]
        chunks = [evolve(c, output=o) for c, o in zip(batch.chunks, wanted, strict=True)]
        found = engine.run(evolve(batch, chunks=tuple(chunks)))
        first = 0
        for chunk in chunks:
            last = first + len(chunk)
            part = found.vectors[first:last]
            whole = engine.run(make_batch(texts, layout, output=chunk.output)).vectors[first:last]
            assert values_of(part) == pytest.approx(values_of(whole), abs=TOLERANCE)
            first = last


def test_an_item_that_is_not_finite_is_named_and_its_neighbours_are_not(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [], MASKED_LM)
    engine = make_engine(folder)
    with torch.inference_mode():
        engine._encoder.model.get_input_embeddings().weight[50] = torch.nan
    texts = [np.array(ids, np.int32) for ids in ([5, 6], [7, 50, 8], [9, 10], [50])]
    batch = make_batch(texts, Layout.PACKED, parts=4)
    assert engine.run(batch).broken == (1, 3)
    assert engine.run(make_batch(texts, Layout.PACKED, output=Output.TOKENS)).broken == (1, 3)
    wanted = (Output.TOKENS, Output.POOLED, Output.POOLED, Output.TOKENS)
    chunks = tuple(evolve(c, output=o) for c, o in zip(batch.chunks, wanted, strict=True))
    assert engine.run(evolve(batch, chunks=chunks)).broken == (1, 3)


def test_a_model_that_cannot_be_packed_gives_all_of_them_bucketed(tmp_path):
    folder = write_checkpoint(tmp_path, "mpnet", [], MASKED_LM)
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    assert engine.layout is Layout.PADDED
    batch = make_batch(texts, Layout.PADDED, width=64, rows=16, output=Output.SPARSE)
    found = engine.run(batch).vectors
    for index, expected in enumerate(plain_splade(folder, texts)):
        entries = found.item(index)
        assert np.abs(entries["value"] - expected[entries["index"]]).max() <= TOLERANCE
        assert len(entries) == np.count_nonzero(expected)


def values_of(values):
    if hasattr(values, "rows"):
        items = [values.item(index) for index in range(len(values))]
        items = [item["value"] if item.dtype.names else item for item in items]
        return np.concatenate([item.ravel() for item in items])
    return values.ravel()


def plain_scores(folder, texts, second_at=None):
    model = CLASSIFIER.from_pretrained(folder, attn_implementation="eager").eval()
    rows = []
    for index, text in enumerate(texts):
        given = {"input_ids": torch.from_numpy(text).long().unsqueeze(0)}
        if second_at is not None:
            given["token_type_ids"] = (torch.arange(len(text)) >= second_at[index]).long()[None]
        with torch.inference_mode():
            rows.append(model(**given).logits[0].numpy())
    return np.stack(rows)


def plain_splade(folder, texts):
    model = MASKED_LM.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        logits = [model(torch.from_numpy(text).long().unsqueeze(0)).logits[0] for text in texts]
    return np.stack([torch.log1p(torch.relu(rows)).amax(0).numpy() for rows in logits])
