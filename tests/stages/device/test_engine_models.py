"""Architectures: each text's vector is what plain transformers gives it alone."""

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny_models import (
    distance,
    make_batch,
    make_engine,
    plain_tokens,
    pooling,
    random_texts,
    write_checkpoint,
)

from stages.device.errors import ModelError
from stages.messages.batch import Layout

LENGTHS = (1, 30, 7, 7, 2, 60, 30, 7, 41, 1)
TOLERANCE = 2e-6


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("bert", "mean"),
        ("albert", "mean"),
        ("distilbert", "mean"),
        ("electra", "cls"),
        ("nomic_bert", "mean"),
        ("roberta", "mean"),
        ("xlm-roberta", "cls"),
        ("xmod", "mean"),  # looks like BERT, and does not run with its layers replaced
        ("modernbert", "mean"),
        ("gemma3", "mean"),
        ("gpt2", "weightedmean"),
        ("llama", "lasttoken"),
        ("qwen3", "lasttoken"),
        ("mistral", "lasttoken"),
    ],
)
def test_a_batch_equals_plain_transformers_one_text_at_a_time(tmp_path, kind, mode, layout):
    folder = write_checkpoint(tmp_path, kind, [pooling(mode)])
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    assert (engine.layout, engine.layout_reason) == (Layout.PACKED, "")
    output = engine.run(make_batch(texts, layout))
    expected = pooled_by_sentence_transformers(folder, texts, mode)
    assert output.broken == ()
    assert output.vectors.dtype == np.float32
    assert distance(output.vectors, expected) <= TOLERANCE


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_a_text_may_spell_the_token_for_padding(tmp_path, kind, layout):
    folder = write_checkpoint(tmp_path, kind, [pooling("mean")], pad_token_id=1)
    texts = random_texts(LENGTHS)
    for text in texts[1:4]:
        text[[1, 4, 5]] = 1
    output = make_engine(folder).run(make_batch(texts, layout))
    expected = pooled_by_sentence_transformers(folder, texts, "mean")
    assert distance(output.vectors, expected) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # of older versions of transformers
@pytest.mark.parametrize(
    ("kind", "name"), [("mpnet", "MPNetModel"), ("deberta-v2", "DebertaV2Model")]
)
def test_a_model_without_the_hook_runs_bucketed_and_says_why(tmp_path, kind, name):
    folder = write_checkpoint(tmp_path, kind, [pooling("mean")])
    texts = random_texts(LENGTHS)
    engine = make_engine(folder)
    assert engine.layout is Layout.PADDED
    assert f"{name} called packed attention 0 times in 3 layers" in engine.layout_reason
    output = engine.run(make_batch(texts, Layout.PADDED, width=64, rows=16))
    expected = pooled_by_sentence_transformers(folder, texts, "mean")
    assert output.vectors.shape == (len(texts), 32)
    assert distance(output.vectors, expected) <= TOLERANCE
    with pytest.raises(ValueError, match="packed batch"):
        engine.run(make_batch(texts, Layout.PACKED))


@pytest.mark.parametrize("kept", ["whole", "encoder"])
def test_of_a_model_with_a_decoder_only_the_encoder_is_served(tmp_path, kept):
    loaders = {"whole": transformers.AutoModel, "encoder": transformers.AutoModelForTextEncoding}
    folder = write_checkpoint(tmp_path, "t5", [pooling("mean")], loaders[kept])
    texts = random_texts(LENGTHS)
    output = make_engine(folder).run(make_batch(texts, Layout.PADDED, width=64))
    expected = pooled_by_sentence_transformers(folder, texts, "mean", transformers.T5EncoderModel)
    assert distance(output.vectors, expected) <= TOLERANCE


def test_a_model_that_does_not_run_is_refused_with_the_reason(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such thing\nas this")

    monkeypatch.setattr("stages.device.layouts.encoder.Encoder.padded", fail)
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    reason = "^BertModel cannot be served: RuntimeError: no such thing$"
    with pytest.raises(ModelError, match=reason):
        make_engine(folder)


@pytest.mark.parametrize("kind", ["modernbert", "mistral"])
def test_a_sliding_window_hides_what_is_beyond_it(tmp_path, kind):
    """Changing a far token changes other vectors only as far as the windows reach."""
    folder = write_checkpoint(tmp_path, kind, [pooling("lasttoken")])
    (text,) = random_texts([100])
    changed = text.copy()
    changed[0] += 1 if text[0] < 90 else -1
    engine = make_engine(folder)
    vectors = engine.run(make_batch([text, changed], Layout.PACKED)).vectors
    expected = pooled_by_sentence_transformers(folder, [text, changed], "lasttoken")
    assert distance(vectors, expected) <= TOLERANCE
    reached = bool(np.abs(vectors[0] - vectors[1]).max() > 1e-4)
    assert reached == (kind == "modernbert")  # it has layers without a window; mistral has none


def test_bucketed_on_request_runs_rows_of_the_bucket_with_dummies(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    engine = make_engine(folder, layout=Layout.PADDED)
    texts = random_texts([3, 16, 9])
    output = engine.run(make_batch(texts, Layout.PADDED, width=16, rows=8))
    assert (engine.layout, engine.layout_reason) == (Layout.PADDED, "")
    assert output.vectors.shape == (3, 32)
    expected = pooled_by_sentence_transformers(folder, texts, "mean")
    assert distance(output.vectors, expected) <= TOLERANCE


def test_a_processor_says_what_it_ran_and_not_what_was_planned(tmp_path):
    engine = make_engine(write_checkpoint(tmp_path, "bert", [pooling("mean")]))
    texts = random_texts([3, 16, 9])
    padded = engine.run(make_batch(texts, Layout.PADDED, width=32, rows=8))
    assert padded.computed_tokens == 3 * 16  # no dummy rows, none longer than the longest text
    assert engine.run(make_batch(texts, Layout.PACKED)).computed_tokens == 28
    figures = engine.figures()
    assert (figures.graph_hits, figures.graph_misses) == (0, 0)  # it captures none


@pytest.mark.parametrize("layout", Layout)
def test_a_batch_above_one_piece_keeps_its_order(tmp_path, layout):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    texts = random_texts(np.random.default_rng(3).integers(1, 60, 100).tolist())
    engine = make_engine(folder)
    vectors = engine.run(make_batch(texts, layout, parts=7)).vectors
    expected = pooled_by_sentence_transformers(folder, texts, "mean")
    assert distance(vectors, expected) <= TOLERANCE


def test_half_precision_packs_within_its_rounding(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    texts = random_texts(LENGTHS)
    engine = make_engine(folder, dtype="bfloat16")
    assert (engine.dtype, engine.layout) == ("bfloat16", Layout.PACKED)
    vectors = engine.run(make_batch(texts, Layout.PACKED)).vectors
    expected = pooled_by_sentence_transformers(folder, texts, "mean")
    cosines = (vectors * expected).sum(1) / np.linalg.norm(vectors, axis=1)
    assert (cosines / np.linalg.norm(expected, axis=1) > 0.999).all()


def test_a_vector_that_is_not_finite_is_reported_and_its_neighbours_are_not(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    engine = make_engine(folder)
    with torch.inference_mode():
        engine._encoder.model.get_input_embeddings().weight[50] = torch.nan
    texts = [np.array(ids, np.int32) for ids in ([5, 6], [7, 50, 8], [9, 10])]
    for layout in Layout:
        output = engine.run(make_batch(texts, layout, parts=2))
        assert output.broken == (1,)
        assert np.isfinite(output.vectors[[0, 2]]).all()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"dtype": "float8"}, "DTYPE='float8' .allowed: auto, float32"),
        (
            {"control_tokens": ("[a]",), "exclude_tokens": ("[b]",)},
            r"POOLING_EXCLUDE_TOKENS: .*\[b\]",
        ),
    ],
)
def test_what_cannot_be_is_refused_while_loading(tmp_path, choices, message):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean")])
    with pytest.raises(ModelError, match=message):
        make_engine(folder, **choices)


def test_a_model_that_padding_changes_is_refused(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path, "mpnet", [pooling("mean")])
    forward = make_engine(folder)._encoder.padded
    monkeypatch.setattr(
        "stages.device.layouts.encoder.Encoder.padded",
        lambda self, ids, mask, types=None: forward(ids, None),
    )
    with pytest.raises(ModelError, match="other vectors in a batch than alone"):
        make_engine(folder)


def test_a_model_whose_vectors_are_not_finite_is_refused(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path, "mpnet", [pooling("mean")])
    forward = make_engine(folder)._encoder.padded
    monkeypatch.setattr(
        "stages.device.layouts.encoder.Encoder.padded",
        lambda self, ids, mask, types=None: forward(ids, mask, types) * torch.nan,
    )
    with pytest.raises(ModelError, match="not finite"):
        make_engine(folder)


def pooled_by_sentence_transformers(folder, texts, mode, loader=transformers.AutoModel):
    module = Pooling(32, mode)
    rows = []
    for tokens in plain_tokens(folder, texts, loader):
        mask = torch.ones(tokens.shape[:2], dtype=torch.int64)
        features = {"token_embeddings": tokens, "attention_mask": mask}
        rows.append(module(features)["sentence_embedding"])
    return torch.cat(rows).numpy()
