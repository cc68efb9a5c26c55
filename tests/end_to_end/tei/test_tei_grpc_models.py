"""TEI's gRPC clients against models of every kind: what each offers, and what it refuses."""

import numpy as np
import pytest
import torch
import transformers
from small_checkpoints import Oracle
from tei_calls import TEXTS, TOLERANCE, answered, assert_alike, embed

QUERY = "where does water go?"
LONG = "water " * 600


def test_rerank_scores_pairs_as_plain_transformers_does(ask, tiny):
    oracle = Oracle(tiny["ranker"], transformers.AutoModelForSequenceClassification)
    wire = {"query": QUERY, "texts": TEXTS, "truncate": True, "return_text": True}
    stream = [{"query": QUERY, "text": text, "truncate": True} for text in TEXTS]
    raw, scored, left, streamed = ask(
        "ranker",
        ["Rerank", "Rerank", [{**wire, "raw_scores": True}]],
        ["Rerank", "Rerank", [wire]],
        ["Rerank", "Rerank", [{**wire, "truncation_direction": "TRUNCATION_DIRECTION_LEFT"}]],
        ["Rerank", "RerankStream", stream],
    )
    logits = np.array([float(oracle.run(QUERY, text).logits[0, 0]) for text in TEXTS])
    lefts = [float(oracle.run(QUERY, text, side="left").logits[0, 0]) for text in TEXTS]
    for result, expected in (
        (raw, logits),
        (scored, 1 / (1 + np.exp(-logits))),
        (left, 1 / (1 + np.exp(-np.array(lefts)))),
        (streamed, 1 / (1 + np.exp(-logits))),
    ):
        (answer,) = answered(result)
        order = np.argsort(-expected, kind="stable").tolist()
        ranks = answer["ranks"]
        assert [rank["index"] for rank in ranks] == order
        assert np.abs([r["score"] for r in ranks] - expected[order]).max() <= TOLERANCE
    assert [rank["text"] for rank in answered(raw)[0]["ranks"]] == [
        TEXTS[index] for index in np.argsort(-logits, kind="stable")
    ]


def test_predict_names_the_labels_of_texts_and_pairs(ask, tiny):
    oracle = Oracle(tiny["classifier"], transformers.AutoModelForSequenceClassification)
    texts = [embed(text, truncate=True) for text in TEXTS]
    pairs = [{"inputs": [QUERY, text], "truncate": True, "raw_scores": True} for text in TEXTS]
    alone, streamed, pair, paired = ask(
        "classifier",
        ["Predict", "Predict", texts[:1]],
        ["Predict", "PredictStream", texts],
        ["Predict", "PredictPair", pairs[:1]],
        ["Predict", "PredictPairStream", pairs],
    )
    for text, one, two in zip(TEXTS, answered(streamed), answered(paired), strict=True):
        logits, raw = oracle.run(text).logits[0], oracle.run(QUERY, text).logits[0]
        for answer, expected in ((one, torch.softmax(logits, 0)), (two, raw)):
            found = [(each["label"], each["score"]) for each in answer["predictions"]]
            assert [label for label, _ in found] == [
                f"LABEL_{index}" for index in expected.argsort(descending=True).tolist()
            ]
            scores = expected.sort(descending=True).values.numpy()
            assert np.abs(np.array([score for _, score in found]) - scores).max() <= TOLERANCE
    assert_alike(alone, streamed, "predictions", "score")
    assert_alike(pair, paired, "predictions", "score")


def test_sparse_weights_are_splade_of_plain_transformers(ask, tiny):
    oracle = Oracle(tiny["splade"], transformers.AutoModelForMaskedLM)
    requests = [embed(text, truncate=True) for text in TEXTS]
    alone, streamed, pooled = ask(
        "splade",
        ["Embed", "EmbedSparse", requests[:1]],
        ["Embed", "EmbedSparseStream", requests],
        ["Embed", "Embed", requests[:1]],
    )
    for text, answer in zip(TEXTS, answered(streamed), strict=True):
        expected = torch.log1p(torch.relu(oracle.run(text).logits[0])).amax(0).numpy()
        found = np.zeros_like(expected)
        for value in answer["sparse_embeddings"]:
            found[value["index"]] = value["value"]
        assert np.abs(found - expected).max() <= TOLERANCE
        assert len(answer["sparse_embeddings"]) == np.count_nonzero(expected)
    assert_alike(alone, streamed, "sparse_embeddings", "value")
    assert len(answered(pooled)[0]["embeddings"]) == 32


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("embedded", "EMBEDDING"),
        ("ranker", "RERANKER"),
        ("classifier", "CLASSIFIER"),
        ("splade", "EMBEDDING"),
    ],
)
def test_info_says_what_is_loaded(ask, model, kind):
    (info,) = answered(ask(model, ["Info", "Info", [{}]])[0])
    assert info["model_type"] == f"MODEL_TYPE_{kind}"
    assert info["model_dtype"] == "float32"
    assert info["max_input_length"] == (256 if model == "embedded" else 128)
    assert (info["max_concurrent_requests"], info["max_batch_tokens"]) == (1024, 32768)


def test_what_a_model_cannot_do_is_unimplemented(ask):
    for model, calls in {
        "embedded": [
            ["Embed", "EmbedSparse", [embed("a")]],
            ["Embed", "EmbedSparseStream", [embed("a")]],
            ["Predict", "Predict", [embed("a")]],
            ["Predict", "PredictPairStream", [{"inputs": ["a", "b"]}]],
            ["Rerank", "Rerank", [{"query": "a", "texts": ["b"]}]],
            ["Rerank", "RerankStream", [{"query": "a", "text": "b"}]],
        ],
        "ranker": [["Embed", "Embed", [embed("a")]], ["Embed", "EmbedAllStream", [embed("a")]]],
        "classifier": [["Rerank", "Rerank", [{"query": "a", "texts": ["b"]}]]],
    }.items():
        for result in ask(model, *calls):
            assert (result["code"], result["answers"]) == ("UNIMPLEMENTED", [])


def test_what_is_too_long_or_empty_is_invalid_and_ends_its_stream(ask):
    long, none, pairs = ask(
        "embedded",
        ["Embed", "Embed", [embed(LONG)]],
        ["Embed", "Embed", [embed("")]],
        ["Embed", "EmbedStream", [embed("a"), embed("b"), embed(LONG), embed("c")]],
    )
    assert (long["code"], none["code"]) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "602 tokens" in long["details"]
    assert (pairs["code"], len(pairs["answers"])) == ("INVALID_ARGUMENT", 2)
    (result,) = ask("ranker", ["Rerank", "Rerank", [{"query": "a", "texts": ["b", LONG]}]])
    assert (result["code"], "item 1" in result["details"]) == ("INVALID_ARGUMENT", True)
