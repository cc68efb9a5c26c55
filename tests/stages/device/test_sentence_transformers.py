"""Scores and sparse weights are those of sentence-transformers."""

import json

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import CrossEncoder, SparseEncoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tiny_models import make_batch, make_engine, write_checkpoint
from tokenizers import Tokenizer, processors

from stages.messages.batch import Layout
from stages.requests.output import Output
from stages.text.text_tokenizer import TextTokenizer

TOLERANCE = 2e-6
CLASSIFIER = transformers.AutoModelForSequenceClassification
MASKED_LM = transformers.AutoModelForMaskedLM


@pytest.mark.parametrize("typed", [True, False])
def test_a_cross_encoder_of_sentence_transformers_scores_as_there(tmp_path, typed):
    plain = write_checkpoint(tmp_path / "plain", "bert", [], CLASSIFIER, num_labels=1)
    write_pair_tokenizer(plain, typed=typed)
    oracle = CrossEncoder(str(plain), device="cpu", activation_fn=torch.nn.Identity())
    oracle.save_pretrained(str(tmp_path / "saved"))
    query, text = "w9 w10", "w30 w31 w32"
    expected = oracle.predict([(query, text)], show_progress_bar=False)
    engine = make_engine(tmp_path / "saved")
    tokenizer = TextTokenizer.load(tmp_path / "saved")
    first, second = (tokenizer.encode([given], special=False) for given in (query, text))
    ids = tokenizer.pairs.join(first, second)
    choices = {"output": Output.SCORES, "second_at": ids.second_at}
    batch = make_batch([ids.item(0)], Layout.PACKED, **choices)
    assert np.abs(engine.run(batch).vectors[0] - expected).max() <= TOLERANCE


def test_a_sparse_encoder_of_sentence_transformers_weighs_as_there(tmp_path):
    plain = write_checkpoint(tmp_path / "plain", "bert", [], MASKED_LM)
    modules = [Transformer(str(plain), transformer_task="fill-mask"), SpladePooling("max")]
    oracle = SparseEncoder(modules=modules, device="cpu")
    oracle.save_pretrained(str(tmp_path / "saved"))
    expected = oracle.encode("w9 w10 w30", convert_to_sparse_tensor=False, show_progress_bar=False)
    engine = make_engine(tmp_path / "saved")
    ids = TextTokenizer.load(tmp_path / "saved").encode(["w9 w10 w30"])
    entries = engine.run(make_batch(ids, Layout.PACKED, output=Output.SPARSE)).vectors.item(0)
    found = np.zeros(97, np.float32)
    found[entries["index"]] = entries["value"]
    assert np.abs(found - expected.numpy()).max() <= TOLERANCE


def write_pair_tokenizer(folder, *, typed):
    """Give the folder's tokenizer a form for pairs."""
    file = folder / "tokenizer_config.json"
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if typed else [])]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_input_names": names}))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
