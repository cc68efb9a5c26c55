"""Modules after the pooling, against sentence-transformers' own."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tiny_models import make_batch, make_engine, pooling, write_checkpoint

from stages.device.errors import ModelError
from stages.messages.batch import Layout

WORDS = "w10 w20 w30 w40"
TEXT = np.array([2, 10, 20, 30, 40, 3], np.int32)


def dense(out_features, **more):
    return "Dense", {"in_features": 32, "out_features": out_features, "bias": True} | more


def write_dense(folder, number, out_features, *, bias=True, form="safetensors"):
    generator = torch.Generator().manual_seed(number)
    weights = {"linear.weight": torch.randn((out_features, 32), generator=generator)}
    if bias:
        weights["linear.bias"] = torch.randn((out_features,), generator=generator)
    if form == "safetensors":
        save_file(weights, folder / f"{number}_Dense" / "model.safetensors")
    else:
        torch.save(weights, folder / f"{number}_Dense" / "pytorch_model.bin")


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize(
    "activation",
    [
        {},
        {"activation_function": "torch.nn.modules.linear.Identity"},
        {"activation_function": "torch.nn.modules.activation.ReLU"},
        {"activation_function": "torch.nn.modules.activation.GELU"},
        {"activation_function": "torch.nn.modules.activation.Sigmoid"},
    ],
)
def test_dense_and_a_normalize_before_it(tmp_path, form, activation):
    modules = [pooling("mean"), ("Normalize", {}), dense(8, **activation)]
    folder = write_checkpoint(tmp_path, "bert", modules)
    write_dense(folder, 3, 8, form=form)
    check_against_sentence_transformers(folder, 8)


def test_dense_without_bias_and_with_a_residual(tmp_path):
    folder = write_checkpoint(
        tmp_path, "bert", [pooling("cls"), dense(32, bias=False, use_residual=True)]
    )
    write_dense(folder, 2, 32, bias=False)
    check_against_sentence_transformers(folder, 32)


def test_modes_are_concatenated_before_dense(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [pooling("max", "mean", "cls")])
    check_against_sentence_transformers(folder, 96)


def check_against_sentence_transformers(folder, dimension):
    engine = make_engine(folder)
    assert engine.dimension == dimension
    expected = SentenceTransformer(str(folder), device="cpu").encode([WORDS])
    for layout in Layout:
        found = engine.run(make_batch([TEXT], layout)).vectors
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("size", [7, 9])
def test_weights_of_another_shape_are_refused(tmp_path, size):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean"), dense(8)])
    write_dense(folder, 2, size)
    with pytest.raises(ModelError, match=rf"linear.weight should be \(8, 32\), found \({size}, 32"):
        make_engine(folder)


def test_a_dense_module_without_weights_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [pooling("mean"), dense(8)])
    with pytest.raises(ModelError, match="cannot read the weights of Dense"):
        make_engine(folder)
