"""Cross-encoders, classifiers and sparse encoders behind TEI's routes, beside transformers."""

import httpx
import numpy as np
import pytest
import torch
import transformers
from server_processes import serving
from small_model import write_checkpoint

TEXTS = ["w5 w6 w7", "w40", "w9 w9 w9 w10 w11"]
TOLERANCE = 5e-6


def logits_of(folder, kind, *texts):
    """What transformers makes of texts, or of lists of both texts of pairs."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = [
            model(**tokenizer(*item, return_tensors="pt")).logits[0]
            for item in zip(*texts, strict=True)
        ]
    return [row.numpy() for row in rows]


def test_a_cross_encoder_ranks(tmp_path):
    kind = "BertForSequenceClassification"
    write_checkpoint(tmp_path / "model", kind=kind, num_labels=1)
    expected = np.concatenate(logits_of(tmp_path / "model", kind, ["w20 w21"] * 3, TEXTS))
    with serving(tmp_path / "log", MODEL_PATH=str(tmp_path / "model")) as server:
        document = {"query": "w20 w21", "texts": TEXTS, "raw_scores": True, "return_text": True}
        ranks = httpx.post(server.http + "/rerank", json=document).json()
        assert [rank["index"] for rank in ranks] == (-expected).argsort().tolist()
        for rank in ranks:
            assert rank["score"] == pytest.approx(expected[rank["index"]], abs=TOLERANCE)
            assert rank["text"] == TEXTS[rank["index"]]
        best = httpx.post(server.http + "/", json={"query": "w20 w21", "texts": TEXTS}).json()[0]
        assert best["score"] == pytest.approx(1 / (1 + np.exp(-expected.max())), abs=TOLERANCE)
        assert httpx.post(server.http + "/embed", json={"inputs": "w5"}).status_code == 424


def test_a_classifier_predicts(tmp_path):
    kind, labels = "BertForSequenceClassification", {0: "bad", 1: "fair", 2: "good"}
    write_checkpoint(tmp_path / "model", kind=kind, id2label=labels)
    pair = ["w20 w21", "w40"]
    singles = logits_of(tmp_path / "model", kind, TEXTS)
    pairs = logits_of(tmp_path / "model", kind, *([text] for text in pair))
    expected = np.stack([*singles[:1], *pairs, *singles[1:]])
    shares = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    with serving(tmp_path / "log", MODEL_PATH=str(tmp_path / "model")) as server:
        inputs = [TEXTS[:1], pair, *([text] for text in TEXTS[1:])]
        found = httpx.post(server.http + "/predict", json={"inputs": inputs}).json()
        for row, answer in zip(shares, found, strict=True):
            assert [entry["label"] for entry in answer] == [labels[i] for i in (-row).argsort()]
            scores = [entry["score"] for entry in answer]
            np.testing.assert_allclose(scores, sorted(row, reverse=True), atol=TOLERANCE)


def test_a_masked_model_gives_sparse_weights(tmp_path):
    write_checkpoint(tmp_path / "model", kind="BertForMaskedLM")
    with serving(tmp_path / "log", MODEL_PATH=str(tmp_path / "model")) as server:
        found = httpx.post(server.http + "/embed_sparse", json={"inputs": TEXTS}).json()
    for text, entries in zip(TEXTS, found, strict=True):
        (logits,) = logits_of(tmp_path / "model", "BertForMaskedLM", [text])
        expected = np.log1p(np.maximum(logits, 0)).max(axis=0)
        weights = np.zeros(len(expected))
        weights[[entry["index"] for entry in entries]] = [entry["value"] for entry in entries]
        np.testing.assert_allclose(weights, expected, atol=TOLERANCE)
