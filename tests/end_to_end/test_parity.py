"""Answers over real gRPC against sentence-transformers in float32, one text at a time."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from embedded_texts import LONGEST_TOKENS, mixed_texts
from penstock.v1 import embedding_pb2 as pb
from sentence_transformers import SentenceTransformer
from server_processes import NO_REFUSALS, as_ids, as_matrix, client_of, serving, vectors_in

from benchmarks.load.texts import model_folder

TOLERANCE = 2e-6
CALLS_AT_ONCE = 32


@pytest.fixture(scope="module")
def texts():
    return mixed_texts(120, seed=7)


@pytest.fixture(scope="module")
def oracle():
    return SentenceTransformer(str(model_folder()), device="cpu")


@pytest.fixture(scope="module")
def expected(oracle, texts):
    rows = [oracle.encode([text], show_progress_bar=False) for text in texts]
    return np.concatenate(rows)


@pytest.fixture(scope="module")
def ids(oracle, texts):
    """Each text's ids, not truncated."""
    backend = oracle.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return [encoding.ids for encoding in backend.encode_batch(texts)]


@pytest.fixture(scope="module", params=["packed", "bucketed"])
def client(request, tmp_path_factory):
    log = tmp_path_factory.mktemp("parity") / "log"
    with (
        serving(log, BATCHING=request.param, **NO_REFUSALS) as server,
        client_of(server) as client,
    ):
        assert client.info().batching == request.param
        yield client


def in_calls(client, batches, **options):
    """The answers to lists of texts, many calls at a time."""
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(pool.map(lambda batch: client.embed(texts=batch, **options), batches))


def in_order(answers):
    return np.concatenate([vectors_in(answer) for answer in answers])


@pytest.fixture(scope="module")
def answers(client, texts):
    return in_calls(client, [[text] for text in texts])


@pytest.fixture(scope="module")
def found(answers):
    return in_order(answers)


def assert_equal(found, expected):
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= TOLERANCE


def test_every_value_equals_sentence_transformers(found, expected):
    assert_equal(found, expected)


def test_a_text_has_the_same_vector_in_any_company(client, texts, found):
    order = list(range(len(texts)))
    random.Random(3).shuffle(order)  # noqa: S311 - an order, not a secret
    batches = [order[start : start + 8] for start in range(0, len(order), 8)]
    again = in_order(in_calls(client, [[texts[i] for i in batch] for batch in batches]))
    assert_equal(again, found[order])


def test_one_call_with_all_texts_is_put_together_again(client, texts, found):
    assert_equal(vectors_in(client.embed(texts=texts)), found)


def test_token_counts_are_the_tokenizers_and_the_cut_items_are_named(client, texts, ids):
    answer = client.embed(texts=texts)
    counts = [len(item) for item in ids]
    assert np.frombuffer(answer.token_counts, "<i4").tolist() == counts
    assert list(answer.truncated) == [i for i, n in enumerate(counts) if n > LONGEST_TOKENS]
    assert max(counts) >= 1600
    assert min(counts) == 3


def test_ids_give_the_vectors_of_their_texts(client, ids, found):
    answer = client.embed(**as_ids(ids))
    assert_equal(vectors_in(answer), found)
    assert np.frombuffer(answer.token_counts, "<i4").tolist() == [len(item) for item in ids]
    assert len(answer.truncated) > 0


def test_the_other_service_gives_the_same_vectors(client, ids, found):
    short = [i for i, item in enumerate(ids) if len(item) <= LONGEST_TOKENS]
    answer = client.infer(**as_matrix([ids[i] for i in short]))
    vectors = np.frombuffer(answer.embeddings_bytes, "<f4").reshape(-1, answer.embedding_dim)
    assert_equal(vectors, found[short])


def test_truncating_from_the_left_keeps_the_end(client, oracle, texts):
    long = max(texts, key=len)
    cut = client.embed(texts=[long], truncation_direction=pb.LEFT)
    tail = " ".join(long.split()[2 - LONGEST_TOKENS :])
    assert_equal(vectors_in(cut), oracle.encode([tail], show_progress_bar=False))
    assert list(cut.truncated) == [0]


def test_the_encodings_hold_the_same_vectors(client, texts, found):
    some, rows = texts[:8], found[:8]
    half = client.embed(texts=some, encoding=pb.FLOAT16)
    found_half = np.frombuffer(half.embeddings, "<f2").reshape(rows.shape)
    np.testing.assert_allclose(found_half, rows, atol=1e-4)
    small = client.embed(texts=some, encoding=pb.INT8)
    scales = np.frombuffer(small.scales, "<f4")
    steps = np.frombuffer(small.embeddings, np.int8).reshape(rows.shape)
    assert np.all(np.abs(steps * scales[:, np.newaxis] - rows) <= scales[:, np.newaxis] * 0.51)
    binary = client.embed(texts=some, encoding=pb.BINARY)
    bits = np.unpackbits(np.frombuffer(binary.embeddings, np.uint8).reshape(8, 48), axis=1)
    clear = np.abs(rows) > TOLERANCE
    assert np.array_equal(bits[clear], (rows > 0)[clear])
    assert {answer.dimension for answer in (half, small, binary)} == {384}


def test_fewer_dimensions_are_normalised_anew_and_raw_vectors_are_not(client, texts, found):
    some, rows = texts[:8], found[:8]
    few = vectors_in(client.embed(texts=some, dimensions=64))
    lengths = np.linalg.norm(rows[:, :64], axis=1, keepdims=True)
    assert_equal(few, rows[:, :64] / lengths)
    raw = vectors_in(client.embed(texts=some, normalize=False))
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.all(np.abs(norms - 1) > 0.01)
    assert_equal(raw / norms, rows)
