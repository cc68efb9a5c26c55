"""Hugging Face's client for TEI against a real server with the embedded model."""

import httpx
import numpy as np
import pytest
from embedded_texts import mixed_texts
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from server_processes import vectors_in

TEXTS = ["a penstock feeds a turbine", "water", "ünïcode 水 🌊", "a " * 400]


@pytest.fixture(params=["", "/embed"])
def client(request, server):
    return InferenceClient(model=server.http + request.param)


def test_feature_extraction(client, grpc):
    for text in (*TEXTS, *mixed_texts(10, seed=4)):
        expected = vectors_in(grpc.embed(texts=[text]))
        assert np.array_equal(client.feature_extraction(text), expected)
    raw = client.feature_extraction("water", normalize=False, truncate=True)
    assert np.array_equal(raw, vectors_in(grpc.embed(texts=["water"], normalize=False)))


def test_too_long_is_an_error_where_the_client_says_so(client):
    left = client.feature_extraction("a " * 400 + "end", truncation_direction="left")
    right = client.feature_extraction("a " * 400 + "end", truncation_direction="right")
    assert not np.array_equal(left, right)
    with pytest.raises(HfHubHTTPError, match="402 tokens") as caught:
        client.feature_extraction("a " * 400, truncate=False)
    assert caught.value.response.status_code == 422


@pytest.mark.parametrize("path", ["", "/similarity"])
def test_sentence_similarity(server, grpc, path):
    client = InferenceClient(model=server.http + path)
    found = client.sentence_similarity("water", other_sentences=["a river", "a tax form", "water"])
    rows = vectors_in(grpc.embed(texts=["water", "a river", "a tax form", "water"]))
    np.testing.assert_allclose(found, rows[1:] @ rows[0], atol=2e-6)
    assert found[2] == max(found) == pytest.approx(1)


def test_info_names_the_model(server):
    info = httpx.get(server.http + "/info").json()
    assert "MiniLM" in info["model_id"]
    assert (info["max_input_length"], info["model_type"]) == (
        256,
        {"embedding": {"pooling": "mean"}},
    )


def test_headers_count_the_tokens(server):
    reply = httpx.post(server.http + "/embed", json={"inputs": ["water", "a " * 400]})
    assert reply.headers["x-compute-tokens"] == str(3 + 256)
    assert int(reply.headers["x-total-time"]) >= int(reply.headers["x-inference-time"])


def test_tokens_have_vectors_and_their_mean_is_the_text(server, grpc):
    (rows,) = httpx.post(server.http + "/embed_all", json={"inputs": "a river runs"}).json()
    assert np.float32(rows).shape == (5, 384)
    mean = np.float32(rows).mean(axis=0)
    expected = vectors_in(grpc.embed(texts=["a river runs"]))[0]
    np.testing.assert_allclose(mean / np.linalg.norm(mean), expected, atol=2e-6)


def test_tokenize_and_decode(server):
    (tokens,) = httpx.post(server.http + "/tokenize", json={"inputs": "A turbine"}).json()
    assert [token["text"] for token in tokens] == ["[CLS]", "A", "turbine", "[SEP]"]
    assert tokens[2] | {"id": 0} == {
        "id": 0, "text": "turbine", "special": False, "start": 2, "stop": 9
    }  # fmt: skip
    ids = [token["id"] for token in tokens]
    assert httpx.post(server.http + "/decode", json={"ids": ids}).json() == ["a turbine"]
    with_special = {"ids": ids, "skip_special_tokens": False}
    (text,) = httpx.post(server.http + "/decode", json=with_special).json()
    assert text.startswith("[CLS]")
