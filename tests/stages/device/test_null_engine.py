"""The device that computes nothing."""

import numpy as np
from tiny_models import make_batch, random_texts

from stages.device.factory import make_device
from stages.device.spec import EngineSpec
from stages.messages.batch import Layout


def test_its_vectors_tell_texts_apart_and_do_not_mind_company():
    device = make_device(EngineSpec(device="null", null_dimension=20))
    texts = [
        *random_texts([5, 1, 9, 5, 300]),
        np.array([5, 6], np.int32),
        np.array([6, 5], np.int32),
    ]
    together = device.run(make_batch(texts, Layout.PACKED))
    assert together.broken == ()
    assert together.vectors.dtype == np.float32
    assert together.vectors.shape == (7, device.dimension) == (7, 20)
    assert len(np.unique(together.vectors, axis=0)) == 7
    for index, text in enumerate(texts):
        for layout in Layout:
            alone = device.run(make_batch([text], layout)).vectors
            assert np.array_equal(alone[0], together.vectors[index])
