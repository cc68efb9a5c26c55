"""Loading: whole or not at all, and nothing of it from a network."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import make_batch, make_engine, pooling, random_texts, write_checkpoint

from stages.device.device_choice import choose_device
from stages.device.errors import ModelError
from stages.messages.batch import Layout


@pytest.fixture
def folder(tmp_path):
    return write_checkpoint(tmp_path, "bert", [pooling("mean")])


def vectors_of(folder, **choices):
    return (
        make_engine(folder, **choices).run(make_batch(random_texts([4, 9]), Layout.PACKED)).vectors
    )


def rewrite(folder, change):
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


@pytest.mark.parametrize("prefix", ["encoder.", "0.auto_model.", "module.encoder.", "bert."])
def test_weights_below_a_prefix_load(folder, prefix):
    expected = vectors_of(folder)
    rewrite(folder, lambda weights: {prefix + name: tensor for name, tensor in weights.items()})
    assert np.array_equal(vectors_of(folder), expected)


def test_the_pooler_may_be_missing_or_there(folder):
    expected = vectors_of(folder)
    rewrite(folder, lambda weights: {n: t for n, t in weights.items() if "pooler" not in n})
    assert np.array_equal(vectors_of(folder), expected)


def test_missing_weights_are_an_error_and_named(folder):
    rewrite(folder, lambda weights: {n: t for n, t in weights.items() if "layer.1" not in n})
    with pytest.raises(ModelError, match=r"lacks 16 of the model's weights: encoder\.layer\.1"):
        make_engine(folder)


def test_weights_of_another_model_are_an_error(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    with pytest.raises(ModelError, match="cannot load"):
        make_engine(folder)


def test_no_weights_and_cut_weights_are_errors(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot load"):
        make_engine(folder)
    file.unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        make_engine(folder)


def test_weights_of_the_older_format_load(folder):
    expected = vectors_of(folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert np.array_equal(vectors_of(folder), expected)


def test_loading_prints_nothing(folder, capfd):
    make_engine(folder)
    assert capfd.readouterr() == ("", "")


def test_remote_code_is_not_run_unless_allowed(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "custom",
        "auto_map": {"AutoConfig": "custom.C", "AutoModel": "custom.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "custom.py").write_text("raise SystemExit('remote code ran')")
    with pytest.raises(ModelError, match=r"cannot load .*TRUST_REMOTE_CODE=true"):
        make_engine(folder)


def test_control_tokens_widen_the_table_and_get_the_mean_embedding(folder):
    engine = make_engine(folder, control_tokens=("[query]", "[title]"))
    table = engine._encoder.model.get_input_embeddings().weight
    assert engine.vocabulary == 99
    torch.testing.assert_close(table[97], table[:97].mean(0))
    assert torch.equal(table[97], table[98])
    text = np.array([2, 97, 10, 98, 3], np.int32)
    first = engine.run(make_batch([text], Layout.PACKED)).vectors
    again = make_engine(folder, control_tokens=("[query]", "[title]"))
    assert np.array_equal(first, again.run(make_batch([text], Layout.PACKED)).vectors)


def test_a_control_token_that_is_known_already_adds_nothing(folder):
    assert make_engine(folder, control_tokens=("[CLS]",)).vocabulary == 97


@pytest.mark.parametrize("layout", Layout)
def test_tokens_are_left_out_of_the_mean_by_name_and_those_around_a_text_together(folder, layout):
    text = np.array([2, 10, 11, 97, 12, 3], np.int32)
    names = {"exclude_tokens": ("w11", "[query]"), "control_tokens": ("[query]",)}
    engine = make_engine(folder, **names, exclude_special=True)
    assert engine.excluded_ids.tolist() == [2, 3, 11, 97]
    found = engine.run(make_batch([text], layout)).vectors
    assert np.abs(found - mean_of(folder, text, [1, 4])).max() <= 2e-6
    only_left_out = np.array([2, 97, 3], np.int32)
    assert engine.run(make_batch([text, only_left_out], layout)).broken == (1,)


@pytest.mark.parametrize("layout", Layout)
def test_special_tokens_that_are_part_of_a_text_stay_in_the_mean(folder, layout):
    unknown, mask, query = 1, 4, 97
    text = np.array([2, 10, unknown, mask, query, 3], np.int32)
    engine = make_engine(folder, control_tokens=("[query]",), exclude_special=True)
    assert engine.excluded_ids.tolist() == [2, 3]
    found = engine.run(make_batch([text], layout)).vectors
    assert np.abs(found - mean_of(folder, text, [1, 2, 3, 4])).max() <= 2e-6


def mean_of(folder, text, places):
    """The mean of some of a text's token vectors, [1, dimension], by the encoder alone."""
    plain = make_engine(folder, control_tokens=("[query]",))
    with torch.inference_mode():
        tokens = plain._encoder.padded(torch.from_numpy(text).unsqueeze(0), None)[0]
    return tokens[places].mean(0, keepdim=True).numpy()


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpu", "allowed: auto, cpu, cuda, cuda:N, null"), ("cuda:99", "sees . CUDA devices")],
)
def test_a_device_that_is_not_there_is_refused(name, message):
    with pytest.raises(ModelError, match=message):
        choose_device(name)
