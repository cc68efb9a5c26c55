"""Items of which no token is left to pool."""

import numpy as np
import pytest
from refusals import SECRET, SECRET_IDS, Bad, assert_refused
from server_processes import NO_REFUSALS, as_ids, as_matrix, client_of, serving, vectors_in


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    log = tmp_path_factory.mktemp("pool") / "log"
    settings = {"POOLING_EXCLUDE_SPECIAL": "true", "POOLING_EXCLUDE_TOKENS": "the"}
    with serving(log, **settings, **NO_REFUSALS) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as client:
        yield client


NOTHING = {
    "empty": {"texts": [SECRET, ""]},
    "excluded": {"texts": [SECRET, "the THE"]},
    "special_ids": as_ids([SECRET_IDS, [101, 102]]),
}


@pytest.mark.parametrize("name", NOTHING)
def test_embed_refuses_it(server, client, name):
    neighbour = client.embed_later(texts=[f"the {SECRET}"] * 16)
    bad = Bad(name, NOTHING[name], ("item 1", "no token left to pool", "left out of the pooling"))
    assert_refused(client.embed, bad, server.log)
    rows = vectors_in(neighbour.result())
    assert np.ptp(rows, axis=0).max() <= 2e-6


def test_infer_refuses_it(server, client):
    bad = Bad("ids", as_matrix([SECRET_IDS, [101, 102]]), ("item 1", "no token left to pool"))
    assert_refused(client.infer, bad, server.log)


def test_special_tokens_that_a_text_holds_are_pooled(client):
    rows = vectors_in(client.embed(texts=["[MASK]", "[UNK]", "the [MASK]"]))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
