"""TEI's gRPC clients against real servers: the embedded model, a cross-encoder, a SPLADE model."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from grpc_tools import protoc
from server_processes import NO_REFUSALS, ROOT, serving
from small_checkpoints import Oracle, write_checkpoint

from benchmarks.texts import model_folder

CLIENT = Path(__file__).with_name("tei_client.py")
TEXTS = ["a penstock feeds a turbine", "water", "ünïcode 水 🌊!", "the river " * 40]
QUERY = "where does water go?"
LONG = "water " * 600
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """Generated as TEI's clients have them made, from the .proto file alone."""
    folder = tmp_path_factory.mktemp("stubs")
    shutil.copy(ROOT / "proto/penstock/compat/tei.proto", folder)
    where = [f"--{kind}={folder}" for kind in ("proto_path", "python_out", "grpc_python_out")]
    assert protoc.main(["protoc", *where, "tei.proto"]) == 0
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folders of small random models with the embedded model's tokenizer."""
    folders = {}
    for name, loader, labels in (
        ("ranker", transformers.AutoModelForSequenceClassification, 1),
        ("classifier", transformers.AutoModelForSequenceClassification, 3),
        ("splade", transformers.AutoModelForMaskedLM, 2),
    ):
        folder = folders[name] = tmp_path_factory.mktemp(name)
        write_checkpoint(folder, loader, num_labels=labels)
    return folders


@pytest.fixture(scope="module")
def ask(stubs, tiny, server, tmp_path_factory):
    """Asks the server of a model, which is started when it is first asked."""
    log = tmp_path_factory.mktemp("logs")
    with ExitStack() as stack:
        servers = {"embedded": server}

        def ask(model, *calls):
            if model not in servers:
                settings = NO_REFUSALS | {"MODEL_PATH": str(tiny[model])}
                servers[model] = stack.enter_context(serving(log / model, **settings))
            done = subprocess.run(
                [sys.executable, str(CLIENT), servers[model].grpc],
                input=json.dumps(calls), capture_output=True, text=True, timeout=110, check=False,
                env={**os.environ, "PYTHONPATH": str(stubs)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        yield ask




def embed(text, **options):
    return {"inputs": text, **options}


def answered(result):
    assert (result["code"], result["details"]) == ("OK", "")
    return result["answers"]


def assert_alike(one, other, rows, column):
    """The first answers of two calls are the same, up to what company in a batch makes."""
    found, expected = (
        np.array([row[column] for row in answered(result)[0][rows]]) for result in (one, other)
    )
    assert np.abs(found - expected).max() <= TOLERANCE * 4


def test_embed_and_its_stream_agree_with_plain_transformers(ask):
    requests = [embed(text, truncate=True) for text in TEXTS]
    alone = ask("embedded", *(["Embed", "Embed", [request]] for request in requests))
    (streamed,) = ask("embedded", ["Embed", "EmbedStream", requests])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    model = transformers.AutoModel.from_pretrained(model_folder()).eval()
    for text, one, other in zip(TEXTS, alone, answered(streamed), strict=True):
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            vector = model(**given).last_hidden_state[0].mean(0).numpy()
        (answer,) = answered(one)
        expected = vector / np.linalg.norm(vector)
        assert np.abs(np.array(answer["embeddings"]) - expected).max() <= TOLERANCE
        assert np.abs(np.array(other["embeddings"]) - expected).max() <= TOLERANCE
        assert answer["metadata"]["compute_chars"] == len(text)
        assert answer["metadata"]["compute_tokens"] == given["input_ids"].shape[1]
        assert int(answer["metadata"]["total_time_ns"]) > 0
        assert int(answer["metadata"]["inference_time_ns"]) > 0


def test_every_token_of_a_text_has_the_vector_of_plain_transformers(ask):
    requests = [embed(text, truncate=True) for text in TEXTS]
    (alone, streamed) = ask(
        "embedded",
        ["Embed", "EmbedAll", requests[:1]],
        ["Embed", "EmbedAllStream", requests],
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    model = transformers.AutoModel.from_pretrained(model_folder()).eval()
    for text, answer in zip(TEXTS, answered(streamed), strict=True):
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            expected = model(**given).last_hidden_state[0].numpy()
        found = np.array([row["embeddings"] for row in answer["token_embeddings"]])
        assert np.abs(found - expected).max() <= TOLERANCE * 4
    assert_alike(alone, streamed, "token_embeddings", "embeddings")


def test_tokenize_and_decode(ask):
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
    requests = [{"inputs": text, "add_special_tokens": True} for text in TEXTS]
    bare = {"inputs": TEXTS[2], "add_special_tokens": False}
    (streamed, alone) = ask(
        "embedded", ["Tokenize", "TokenizeStream", requests], ["Tokenize", "Tokenize", [bare]]
    )
    spelled = answered(streamed)
    for text, answer in zip(TEXTS, spelled, strict=True):
        expected = tokenizer(text, return_offsets_mapping=True, verbose=False)
        tokens = answer["tokens"]
        assert [token["id"] for token in tokens] == expected["input_ids"]
        assert [tokens[0]["text"], tokens[-1]["text"]] == ["[CLS]", "[SEP]"]
        assert [token["special"] for token in tokens] == [
            place in {0, len(tokens) - 1} for place in range(len(tokens))
        ]
        inner = list(zip(tokens, expected["offset_mapping"], strict=True))[1:-1]
        for token, (start, stop) in inner:
            before, here = text[:start].encode(), text[start:stop].encode()
            assert (token["start"], token["stop"]) == (len(before), len(before) + len(here))
            assert token["text"] == text[start:stop]
    assert answered(alone)[0]["tokens"] == spelled[2]["tokens"][1:-1]
    ids = [[token["id"] for token in answer["tokens"]] for answer in spelled]
    (decoded, whole) = ask(
        "embedded",
        ["Tokenize", "DecodeStream", [{"ids": row, "skip_special_tokens": True} for row in ids]],
        ["Tokenize", "Decode", [{"ids": ids[1]}]],
    )
    expected = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert [answer["text"] for answer in answered(decoded)] == expected
    assert answered(whole) == [{"text": "[CLS] water [SEP]"}]


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
