"""One model on two devices of one server."""

import os

import numpy as np
import pytest
from embedded_texts import mixed_texts
from server_processes import (
    NO_REFUSALS,
    client_of,
    health_of,
    samples_of,
    serving,
    vectors_in,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Two engines; each on a core of its own where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    settings = {
        "DEVICE": "cpu,cpu",
        "DEVICE_CPUS": f"{cores[0]};{cores[-1]}",
        "MAX_BATCH_SIZE": "4",
    }
    with serving(tmp_path_factory.mktemp("two") / "log", **settings, **NO_REFUSALS) as server:
        yield server


def test_both_work_and_give_the_same_vectors(server):
    texts = mixed_texts(40, seed=5)
    with client_of(server) as client:
        assert client.info().device == "cpu,cpu"
        together = vectors_in(client.embed(texts=texts))
        calls = [client.embed_later(texts=[text]) for text in texts]
        alone = np.concatenate([vectors_in(call.result()) for call in calls])
    assert np.abs(together - alone).max() < 2e-6
    samples = samples_of(server)
    work = [samples[f'penstock_items_total{{device="{number}"}}'] for number in range(2)]
    assert sum(work) == 80
    assert min(work) > 0


def test_health_shows_both(server):
    _, body = health_of(server)
    assert body["devices"] == [{"batches": 0, "silent_seconds": 0.0}] * 2
