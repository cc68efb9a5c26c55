"""The fingerprint changes with whatever changes a vector, and with nothing else."""

import re
import shutil

import pytest
from attrs import evolve
from tiny_models import pooling, write_checkpoint

from stages.device.checkpoint.fingerprint import fingerprint
from stages.device.checkpoint.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model"), "bert", [pooling("mean")])


def test_it_is_sixteen_hex_digits_that_a_copy_shares(folder, tmp_path):
    recipe = Recipe.read(folder)
    first = fingerprint(folder, recipe, dtype="float32")
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    (copy / "README.md").write_text("nothing that a vector depends on")
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert fingerprint(copy, recipe, dtype="float32") == first


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_it_changes_with_any_byte_of_weights_tokenizer_and_config(folder, tmp_path, name):
    recipe = Recipe.read(folder)
    copy = shutil.copytree(folder, tmp_path / "changed")
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    before, after = (fingerprint(place, recipe, dtype="float32") for place in (folder, copy))
    assert before != after


def test_it_changes_with_every_choice(folder):
    recipe = Recipe.read(folder)
    choices = [
        (recipe, {}),
        (recipe, {"dtype": "bfloat16"}),
        (recipe, {"control_tokens": ("[a]",)}),
        (recipe, {"exclude_tokens": ("[a]",)}),
        (recipe, {"exclude_special": True}),
        (evolve(recipe, pooling=("cls",)), {}),
        (evolve(recipe, prompts={"q": "x"}), {}),
        (evolve(recipe, normalize=True), {}),
    ]
    prints = [fingerprint(folder, given, **{"dtype": "float32"} | more) for given, more in choices]
    assert len(set(prints)) == len(prints)
