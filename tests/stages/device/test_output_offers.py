"""Which outputs a checkpoint is served with, and which are refused."""

import pytest
import transformers
from tiny_models import make_batch, make_engine, pooling, random_texts, write_checkpoint

from stages.device.checkpoint.recipe import Recipe
from stages.device.errors import ModelError
from stages.messages.batch import Layout
from stages.requests.output import Output

CLASSIFIER = transformers.AutoModelForSequenceClassification


def test_an_output_that_the_model_has_not_is_an_error(tmp_path):
    engine = make_engine(write_checkpoint(tmp_path, "bert", [pooling("mean")]))
    with pytest.raises(ValueError, match="does not give scores"):
        engine.run(make_batch(random_texts([3]), Layout.PACKED, output=Output.SCORES))


def test_a_head_that_is_not_in_the_checkpoint_is_not_offered(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [])
    config = transformers.AutoConfig.from_pretrained(folder)
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(folder)
    engine = make_engine(folder)
    assert Recipe.read(folder).task == "masked_lm"
    assert engine.outputs == (Output.POOLED, Output.TOKENS)


def test_a_classifier_without_its_head_is_refused(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [])
    config = transformers.AutoConfig.from_pretrained(folder)
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(folder)
    with pytest.raises(ModelError, match="lacks 2 of the model's weights: classifier"):
        make_engine(folder)


def test_a_classifier_that_scores_something_else_is_refused(tmp_path, monkeypatch):
    folder = write_checkpoint(tmp_path, "bert", [], CLASSIFIER)
    monkeypatch.setattr("stages.device.capabilities.CLASSIFIER_POOLINGS", ("lasttoken", "max"))
    with pytest.raises(ModelError, match="neither the first token"):
        make_engine(folder)


def test_a_classifier_serves_as_an_encoder_where_a_pooling_is_asked_for(tmp_path):
    folder = write_checkpoint(tmp_path, "bert", [], CLASSIFIER)
    recipe = Recipe.read(folder, pooling_override="mean")
    engine = make_engine(folder, recipe=recipe)
    assert engine.outputs == (Output.POOLED, Output.TOKENS)
