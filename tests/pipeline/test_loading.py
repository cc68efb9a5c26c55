"""From a checkpoint's folder to a warm model."""

import pytest
from attrs import evolve
from small_model import VOCABULARY, write_checkpoint
from transformers import AutoTokenizer

from pipeline import planning
from pipeline.loading import load_model
from pipeline.settings.sources import load_settings
from stages.device.errors import ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint whose tokenizer has learned two tokens more than its model."""
    folder = tmp_path_factory.mktemp("model")
    write_checkpoint(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["new1", "new2"])
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def loaded(folder, nursery):
    """Loads the checkpoint with ``settings``."""

    async def load(**settings):
        environ = {"MODEL_PATH": str(folder), "DEVICE": "cpu", "DEVICE_THREADS": "1"} | settings
        return await load_model(load_settings({}, environ)[0], nursery)

    return load


async def test_a_tokenizer_that_knows_more_tokens_than_the_model_is_refused(loaded):
    both = f"knows {VOCABULARY + 2} tokens and the model only {VOCABULARY}:"
    with pytest.raises(ModelError, match=both):
        await loaded()


async def test_control_tokens_widen_the_model(loaded):
    model = await loaded(CONTROL_TOKENS="new1,new2")
    assert model.info.vocabulary == VOCABULARY + 2


async def test_the_null_device_takes_any_tokenizer(loaded, monkeypatch):
    spec_of = planning.engine_spec
    monkeypatch.setattr(
        planning, "engine_spec", lambda *given: evolve(spec_of(*given), null_vocabulary=1)
    )
    model = await loaded(DEVICE="null")
    assert model.info.vocabulary == 1
    assert model.text_tokenizer.vocabulary == VOCABULARY + 2
