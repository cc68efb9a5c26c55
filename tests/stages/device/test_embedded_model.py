"""The embedded all-MiniLM-L6-v2 against sentence-transformers, float32, one text at a time."""

import random

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tiny_models import distance, make_batch, make_engine

from benchmarks.load.texts import model_folder
from stages.messages.batch import Layout

WORDS = [
    "water",
    "gate",
    "turbine",
    "the",
    "of a",
    "pipe,",
    "Élan",
    "東京",
    "7.5",
    "pressure;",
    "why?",
]
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def engine():
    return make_engine(model_folder())


@pytest.fixture(scope="module")
def oracle():
    return SentenceTransformer(str(model_folder()), device="cpu")


@pytest.fixture(scope="module")
def texts():
    chooser = random.Random(5)  # noqa: S311  (texts, not secrets)
    lengths = [0, 1, 1, 2, 600, *(int(chooser.lognormvariate(3, 1)) + 1 for _ in range(55))]
    return [" ".join(chooser.choices(WORDS, k=length)) for length in lengths]


@pytest.fixture(scope="module")
def expected(oracle, texts):
    return np.concatenate([oracle.encode([text], show_progress_bar=False) for text in texts])


@pytest.fixture(scope="module")
def ids(oracle, texts):
    return [
        np.array(oracle.tokenizer(text, truncation=True, max_length=256)["input_ids"], np.int32)
        for text in texts
    ]


def test_it_packs_and_knows_itself(engine):
    assert (engine.layout, engine.layout_reason) == (Layout.PACKED, "")
    assert (engine.dimension, engine.vocabulary) == (384, 30522)
    assert (engine.device, engine.dtype) == ("cpu", "float32")
    assert engine.cost.token_s > 0


@pytest.mark.parametrize("layout", Layout)
def test_a_mixed_batch_equals_sentence_transformers(engine, ids, expected, layout):
    output = engine.run(make_batch(ids, layout, width=256, parts=9))
    assert output.broken == ()
    assert distance(output.vectors, expected) <= TOLERANCE


@pytest.mark.parametrize("layout", Layout)
def test_a_text_has_the_same_vector_in_any_company(engine, ids, layout):
    ids = [item[:40] for item in ids]
    together = engine.run(make_batch(ids, layout)).vectors
    for which in ([4], [3, 50], list(range(20, 59))):
        some = engine.run(make_batch([ids[index] for index in which], layout)).vectors
        assert distance(some, together[which]) <= TOLERANCE


def test_an_answer_is_a_fresh_array(engine, ids):
    first = engine.run(make_batch(ids[:3], Layout.PACKED)).vectors
    kept = first.copy()
    engine.run(make_batch(ids[3:6], Layout.PACKED))
    assert np.array_equal(first, kept)
    assert first.flags.writeable
