import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engine.roofline import ModelFlops, Peak
from benchmarks.engine.shapes import SHAPES, write_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model"), "tiny")


def test_linear_layers_and_attention_are_counted(folder):
    shape = SHAPES["tiny"][1]
    hidden, wide, layers = (
        shape[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    a_token = layers * (2 * 4 * hidden * hidden + 2 * 2 * hidden * wide)
    flops = ModelFlops.of(folder)
    assert flops.per_token == a_token
    length = 7
    attention = layers * 2 * (2 * length * length * hidden)
    assert flops.of_texts(np.array([length, length])) == 2 * (length * a_token + attention)


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), window=st.integers(0, 70))
def test_a_window_counts_the_keys_that_are_seen(lengths, window):
    flops = ModelFlops(per_token=0, widths=(1,), windows=(window,), shapes=())
    seen = sum(
        abs(query - key) <= window
        for length in lengths
        for query in range(length)
        for key in range(length)
    )
    assert flops.of_texts(np.array(lengths)) == 4 * seen


def test_the_peak_is_a_rate():
    assert Peak([(8, 4, 8)], torch.device("cpu"), torch.float32).measure() > 0
