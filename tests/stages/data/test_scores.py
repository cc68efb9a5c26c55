import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.data.scores import finish_scores

NUMBERS = st.floats(-1e4, 1e4, width=32)


@pytest.mark.parametrize("labels", [1, 2, 5])
@given(data=st.data())
def test_one_label_has_a_sigmoid_and_several_a_softmax(labels, data):
    rows = st.lists(st.lists(NUMBERS, min_size=labels, max_size=labels), min_size=1, max_size=4)
    scores = np.array(data.draw(rows), np.float32)
    exact = torch.from_numpy(scores).double()
    expected = torch.sigmoid(exact) if labels == 1 else torch.softmax(exact, dim=1)
    found = finish_scores(scores, raw=False)
    assert found.dtype == np.float32
    assert np.abs(found - expected.numpy()).max() <= 3e-7


def test_raw_scores_are_the_model_s_own():
    scores = np.array([[3.5]], np.float32)
    assert finish_scores(scores, raw=True) is scores
