"""Weights that lie the other way: the same values, in the same memory."""

import pytest
import torch
from torch import nn

from stages.device.cpu.weight_layout import WIDEST, turn_narrow_weights


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 6), (24, 6), (6, 1)])
def test_a_narrow_weight_is_turned_round_where_it_is(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    values, address = layer.weight.clone(), layer.weight.data_ptr()
    x = torch.randn(3, inputs)
    expected = layer(x)

    turn_narrow_weights(nn.Sequential(layer))

    assert torch.equal(layer.weight, values)
    assert layer.weight.t().is_contiguous()
    assert layer.weight.data_ptr() == address
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 7),
        nn.Linear(WIDEST, WIDEST),
        nn.Linear(6, 6, dtype=torch.bfloat16),
        nn.Embedding(6, 6),
    ],
    ids=["more outputs than inputs", "wide", "half precision", "a table"],
)
def test_other_weights_are_left_alone(layer):
    values = layer.weight.clone()

    turn_narrow_weights(layer)

    assert torch.equal(layer.weight, values)
    assert layer.weight.is_contiguous()


def test_a_weight_that_two_layers_share_is_turned_once():
    one, other = nn.Linear(6, 4), nn.Linear(6, 4)
    other.weight = one.weight
    values = one.weight.clone()

    turn_narrow_weights(nn.Sequential(one, other))

    assert torch.equal(one.weight, values)
    assert torch.equal(other.weight, values)
    assert one.weight.data_ptr() == other.weight.data_ptr()


def test_what_is_no_whole_tensor_is_left_alone():
    layer, table = nn.Linear(6, 4), torch.randn(6, 8)
    layer.weight.data = table[:, :4].t()
    values, kept = layer.weight.clone(), table.clone()

    turn_narrow_weights(layer)

    assert torch.equal(layer.weight, values)
    assert torch.equal(table, kept)
