"""OpenAI's client, and those built on it, against a real server with the embedded model."""

import numpy as np
import openai
import pytest
from embedded_texts import mixed_texts
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.openai import OpenAIEmbedding
from server_processes import samples_of, vectors_in

SOME = ["a penstock feeds a turbine", "water", "ünïcode 水 🌊", "a " * 400, " "]


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.http + "/v1", api_key="any", max_retries=0) as client:
        yield client


def rows_of(answer):
    return np.float32([item.embedding for item in answer.data])


def test_vectors_are_those_of_the_grpc_face_bit_for_bit(client, grpc):
    for text in (*SOME, *mixed_texts(20, seed=3)):
        expected = vectors_in(grpc.embed(texts=[text]))
        found = client.embeddings.create(model="any", input=text)
        assert np.array_equal(rows_of(found), expected)
        plain = client.embeddings.create(model="any", input=[text], encoding_format="float")
        assert np.array_equal(rows_of(plain), expected)


def test_many_texts_in_one_call(client, grpc):
    texts = mixed_texts(300, seed=5)
    found = client.embeddings.create(model="any", input=texts)
    assert np.abs(rows_of(found) - vectors_in(grpc.embed(texts=texts))).max() <= 2e-6
    assert [item.index for item in found.data] == list(range(300))


def test_ids_and_dimensions_and_usage(client, grpc):
    texts = client.embeddings.create(model="any", input="water")
    ids = client.embeddings.create(model="any", input=[101, 2300, 102])
    assert np.array_equal(rows_of(ids), rows_of(texts))
    assert texts.usage.prompt_tokens == texts.usage.total_tokens == 3
    few = client.embeddings.create(model="any", input=["water"], dimensions=64)
    expected = vectors_in(grpc.embed(texts=["water"], dimensions=64))
    assert np.array_equal(rows_of(few), expected)


def test_cutting_at_fewer_tokens_is_cutting_the_text(client):
    text = "one two three four five"
    cut = client.embeddings.create(
        model="any", input=text, extra_body={"truncate_prompt_tokens": 5}
    )
    assert cut.usage.prompt_tokens == 5
    assert np.array_equal(
        rows_of(cut), rows_of(client.embeddings.create(model="any", input="one two three"))
    )
    left = client.embeddings.create(
        model="any",
        input=text,
        extra_body={"truncate_prompt_tokens": 5, "truncation_side": "left"},
    )
    assert np.array_equal(
        rows_of(left), rows_of(client.embeddings.create(model="any", input="three four five"))
    )


def test_too_long_is_an_error_where_the_client_says_so(client):
    with pytest.raises(openai.BadRequestError, match="item 0 has 402 tokens") as caught:
        client.embeddings.create(model="any", input="a " * 400, extra_body={"truncate": False})
    assert caught.value.param == "truncate"


def test_models(client):
    (model,) = client.models.list().data
    assert "MiniLM" in model.id


def test_errors_are_its_own(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="any", input=[])
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(model="any", input=["a"] * 5000)
    assert caught.value.status_code == 413


def test_the_request_id_is_where_the_client_looks(client):
    answer = client.embeddings.create(
        model="any", input="a", extra_headers={"x-request-id": "mine"}
    )
    assert answer._request_id == "mine"


def test_langchain(server, grpc):
    embeddings = OpenAIEmbeddings(
        model="any",
        base_url=server.http + "/v1",
        api_key="any",
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    found = np.float32(embeddings.embed_documents(SOME))
    assert np.array_equal(found, vectors_in(grpc.embed(texts=SOME)))
    query = np.float32(embeddings.embed_query("water"))
    assert np.array_equal(query, vectors_in(grpc.embed(texts=["water"]))[0])


def test_llama_index(server, grpc):
    model = OpenAIEmbedding(api_base=server.http + "/v1", api_key="any", max_retries=0)
    texts = SOME[:4]  # it strips texts, and sends none that is empty
    found = np.float32(model.get_text_embedding_batch(texts))
    assert np.abs(found - vectors_in(grpc.embed(texts=texts))).max() <= 2e-6
    query = np.float32(model.get_query_embedding("water"))
    assert np.array_equal(query, vectors_in(grpc.embed(texts=["water"]))[0])


def test_nothing_is_left_and_everything_was_counted(client, server):
    before = samples_of(server)['penstock_requests_total{code="ok"}']
    client.embeddings.create(model="any", input="water")
    after = samples_of(server)
    assert after['penstock_requests_total{code="ok"}'] == before + 1
    # A gauge is as of the last look at the load: it follows the counters a moment later.
    server.wait_until(lambda _, body: "\npenstock_open_requests 0.0\n" in body, "/metrics")
