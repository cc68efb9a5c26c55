"""Tensors without values are what torch would make of them, and others are left alone."""

import pytest
import torch

from stages.device.checkpoint.meta_tensors import MetaTensors

MAKERS = {
    "arange": lambda: torch.arange(5),
    "arange from and by": lambda: torch.arange(1, 8, 3, dtype=torch.float16),
    "arange of floats": lambda: torch.arange(0, 1, 0.25),
    "empty_like": lambda: torch.empty_like(torch.empty(2, 3, dtype=torch.bfloat16)),
    "empty_like elsewhere": lambda: torch.empty_like(torch.empty(2, 3), device="cpu"),
    "empty_like of another dtype": lambda: torch.empty_like(torch.empty(2), dtype=torch.int8),
    "empty_like in a format": lambda: torch.empty_like(
        torch.empty(2, 3), memory_format=torch.preserve_format
    ),
    "normal": lambda: torch.nn.init.normal_(torch.empty(2, 3), 0.0, 2.0),
    "normal in place": lambda: torch.empty(2, 3, dtype=torch.float16).normal_(std=2.0),
    "a layer": lambda: torch.nn.Linear(2, 3, dtype=torch.bfloat16).weight,
    "an embedding": lambda: torch.nn.Embedding(5, 3).weight,
}


def of(tensor):
    return tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_shapes_and_dtypes_are_those_of_torch(maker):
    with torch.device("meta"):
        expected = of(maker())
        with MetaTensors(), torch.device("meta"):
            assert of(maker()) == expected


def test_tensors_with_values_are_filled():
    with MetaTensors():
        assert torch.arange(2, 8, 2).tolist() == [2, 4, 6]
        assert torch.full((64,), 7.0).normal_().abs().max() < 7
        assert torch.nn.init.uniform_(torch.full((8,), 7.0)).max() < 7
        assert torch.empty_like(torch.ones(2, 3)).shape == (2, 3)
