"""From a checkpoint's folder to a warm model."""

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from small_model import VOCABULARY, write_checkpoint
from tokenizers import models, processors
from transformers import AutoTokenizer

from pipeline.configuration.token_rules import token_rules
from pipeline.models import loading
from pipeline.models.loading import load_model
from pipeline.settings.sources import load_settings
from stages.device.errors import ModelError
from stages.errors import InvalidInput


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


def write_json(file, content):
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))


def change_specs(monkeypatch, change):
    """Ask each device to be what ``change`` makes of its number and spec."""
    specs_of = loading.engine_specs
    monkeypatch.setattr(
        loading,
        "engine_specs",
        lambda *given: tuple(change(*numbered) for numbered in enumerate(specs_of(*given))),
    )


async def test_tokens_that_a_tokenizer_adds_may_be_unknown_to_the_model(loaded):
    model = await loaded()
    assert model.info.vocabulary == VOCABULARY
    rules = token_rules(model.recipe, model.text_tokenizer, model.device)
    ids = rules.join(model.text_tokenizer.encode(["w5 w6", "w7 new1"]))
    with pytest.raises(InvalidInput, match="item 1 has a token that the tokenizer adds"):
        rules.check_known(ids, np.arange(2, dtype=np.int32))


@pytest.mark.parametrize("what", ["words", "specials"])
async def test_a_tokenizer_whose_texts_the_model_does_not_know_is_refused(loaded, tmp_path, what):
    write_checkpoint(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    if what == "words":
        vocabulary = tokenizer.get_vocab() | {"new1": VOCABULARY}
        tokenizer.backend_tokenizer.model = models.WordLevel(vocabulary, unk_token="[UNK]")  # noqa: S106
    else:
        tokenizer.add_special_tokens({"eos_token": "new1"})
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="$A new1", special_tokens=[("new1", VOCABULARY)]
        )
    tokenizer.save_pretrained(tmp_path)
    both = f"has {VOCABULARY + 1} tokens and the model only {VOCABULARY}:"
    with pytest.raises(ModelError, match=both):
        await loaded(MODEL_PATH=str(tmp_path))


async def test_control_tokens_widen_the_model(loaded):
    model = await loaded(CONTROL_TOKENS="new1,new2")
    assert model.info.vocabulary == VOCABULARY + 2


async def test_an_empty_prompt_leaves_nothing_out_of_the_pooling(loaded, tmp_path):
    write_checkpoint(tmp_path)
    write_json(tmp_path / "1_Pooling/config.json", {"include_prompt": False})
    types = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"type": f"sentence_transformers.models.{kind}", "path": path}
        for path, kind in types.items()
    ]
    write_json(tmp_path / "modules.json", modules)
    prompts = {"query": "w5 w6 ", "document": ""}
    write_json(tmp_path / "config_sentence_transformers.json", {"prompts": prompts})
    model = await loaded(MODEL_PATH=str(tmp_path))
    rules = token_rules(model.recipe, model.text_tokenizer, model.device)
    assert rules.pool_from == {"query": 3}  # [CLS] w5 w6


async def test_the_null_device_takes_any_tokenizer(loaded, monkeypatch):
    change_specs(monkeypatch, lambda number, spec: evolve(spec, null_vocabulary=1))
    model = await loaded(DEVICE="null")
    assert model.info.vocabulary == 1
    assert model.text_tokenizer.vocabulary == VOCABULARY + 2


async def test_every_device_has_a_thread_of_its_own_and_info_names_them_all(loaded):
    model = await loaded(DEVICE="cpu,cpu", CONTROL_TOKENS="new1,new2")
    assert model.info.device == "cpu,cpu"
    assert [runner.name for runner in model.device_runners] == ["device 0", "device 1"]


async def test_devices_that_would_give_other_vectors_are_refused(loaded, monkeypatch):
    change_specs(monkeypatch, lambda number, spec: evolve(spec, null_dimension=8 + number))
    with pytest.raises(ModelError, match=r"null and null do not agree in dimension: 8 and 9"):
        await loaded(DEVICE="null,null")


async def test_only_the_threads_of_a_device_run_on_its_cores(loaded):
    available = os.sched_getaffinity(0)
    core = max(available)
    before = pinned_to({core})
    await loaded(DEVICE_CPUS=str(core), DEVICE_THREADS="2", CONTROL_TOKENS="new1,new2")
    assert os.sched_getaffinity(0) == available
    assert pinned_to({core}) >= before + 2  # the device's thread, and what torch made for it


def pinned_to(cores):
    """How many threads of this process may run on ``cores`` and no others."""
    pinned = 0
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # another test's thread may end meanwhile
            pinned += os.sched_getaffinity(int(task.name)) == cores
    return pinned
