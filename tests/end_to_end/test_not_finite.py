"""Vectors that are not finite: only their items fail."""

import grpc
import numpy as np
import pytest
from server_processes import as_ids, as_matrix, client_of, serving, vectors_in
from small_model import POISON_ID, write_checkpoint


@pytest.fixture(scope="module", params=["packed", "bucketed"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("poisoned")
    write_checkpoint(folder / "model", poisoned=True)
    model = str(folder / "model")
    batching = request.param
    with serving(folder / "log", MODEL_PATH=model, BATCHING=batching) as server:
        assert f"batching={batching}" in server.log.read_text()
        yield server


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as client:
        yield client


def test_only_its_item_fails(client):
    items = [[2, 7, 9, 3], [2, POISON_ID, 3], [2, 11, 3], [2, 8, POISON_ID, 3], [2, 7, 9, 3]]
    neighbour = client.embed_later(**as_ids([[2, 7, 9, 3]] * 16))
    answer = client.embed(**as_ids(items))
    assert [(error.index, error.code) for error in answer.errors] == [
        (1, "INTERNAL"),
        (3, "INTERNAL"),
    ]
    assert "not finite" in answer.errors[0].message
    rows = np.frombuffer(answer.embeddings, "<f4").reshape(answer.count, answer.dimension)
    assert np.isfinite(rows).all()
    assert [bool(row.any()) for row in rows] == [True, False, True, False, True]
    (alone, *_) = vectors_in(neighbour.result())
    for row in (0, 4):
        assert np.abs(rows[row] - alone).max() <= 2e-6


def test_infer_fails_as_a_whole_and_names_the_item(client):
    with pytest.raises(grpc.RpcError) as failed:
        client.infer(**as_matrix([[2, 7, 3], [2, POISON_ID, 3]]))
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "item 1" in failed.value.details()
    assert "not finite" in failed.value.details()
    assert client.infer(**as_matrix([[2, 7, 3]])).embedding_dim == 32
