"""TEI's routes for what is not one vector an item, over a real loopback socket."""

import numpy as np
import pytest
from attrs import evolve
from frontend_fakes import (
    LIMITS,
    MODEL,
    FakeBoard,
    FakeFrontend,
    answer_by_output,
    answer_to,
    vectors_of,
)
from http_fakes import running_http

from stages.requests.output import Output
from stages.requests.request import Side

EMBEDDER = evolve(MODEL, outputs=(Output.POOLED, Output.TOKENS, Output.SPARSE))
RERANKER = evolve(MODEL, outputs=(Output.SCORES,), labels=("relevant",))
CLASSIFIER = evolve(RERANKER, labels=("bad", "fair", "good"))
SCORES = np.float32([[-1.0, 2.0, 0.5], [3.0, -2.0, 0.0]])


def serving(model, answer=answer_by_output):
    return running_http(FakeFrontend(answer), FakeBoard(model=model))


def scoring(scores):
    return lambda request: answer_to(request, vectors=np.float32(scores))


async def test_embed_all_answers_a_vector_a_token():
    async with serving(EMBEDDER) as http:
        reply = await http.post("/embed_all", {"inputs": ["one", "three"], "truncate": False})
        request = http.frontend.submitted[-1][0]
        assert (request.output, request.truncate) == (Output.TOKENS, False)
        expected = [[row] * 3 for row in vectors_of(request).tolist()]
        assert reply.json() == expected
        assert reply.headers["x-compute-tokens"] == "6"


async def test_embed_sparse_answers_weights_by_token():
    async with serving(EMBEDDER) as http:
        reply = await http.post("/embed_sparse", {"inputs": "one"})
        assert http.frontend.submitted[-1][0].output is Output.SPARSE
        assert reply.text == '[[{"index":3,"value":0.1},{"index":7,"value":1.5}]]'


async def test_rerank_answers_the_best_first():
    async with serving(RERANKER, scoring([[-1], [2], [0]])) as http:
        document = {"query": "what", "texts": ["a", "bc", "d"], "truncation_direction": "left"}
        reply = await http.post("/rerank", document)
        request = http.frontend.submitted[-1][0]
        assert (request.queries, request.texts) == (("what",), ("a", "bc", "d"))
        assert (request.output, request.side) == (Output.SCORES, Side.LEFT)
        ranks = reply.json()
        assert [rank["index"] for rank in ranks] == [1, 2, 0]
        assert ranks[1] == {"index": 2, "score": 0.5}
        assert ranks[0]["score"] == pytest.approx(1 / (1 + np.exp(-2)))
        assert reply.headers["x-compute-characters"] == str(3 * 4 + 4)
        raw = await http.post("/rerank", document | {"raw_scores": True, "return_text": True})
        assert raw.json()[0] == {"index": 1, "score": 2.0, "text": "bc"}


async def test_predict_answers_every_label_the_likeliest_first():
    async with serving(CLASSIFIER, scoring(SCORES)) as http:
        shares = np.exp(SCORES) / np.exp(SCORES).sum(axis=1, keepdims=True)
        for inputs in ("a", ["a"]):
            found = (await http.post("/predict", {"inputs": inputs})).json()
            assert [entry["label"] for entry in found] == ["fair", "good", "bad"]
            expected = sorted(shares[0].tolist(), reverse=True)
            np.testing.assert_allclose([entry["score"] for entry in found], expected, rtol=1e-6)
        many = (await http.post("/predict", {"inputs": [["a"], ["b"]], "raw_scores": True})).json()
        assert [entry["label"] for entry in many[1]] == ["bad", "good", "fair"]
        assert many[1][0]["score"] == 3.0
        assert http.frontend.submitted[-1][0].queries == ()


async def test_predict_reads_pairs():
    async with serving(CLASSIFIER, scoring(SCORES)) as http:
        one = await http.post("/predict", {"inputs": ["q", "t"]})
        request = http.frontend.submitted[-1][0]
        assert (request.queries, request.texts) == (("q",), ("t",))
        assert len(one.json()) == 3
        many = await http.post("/predict", {"inputs": [["q", "t"], ["r", "u"]]})
        request = http.frontend.submitted[-1][0]
        assert (request.queries, request.texts) == (("q", "r"), ("t", "u"))
        assert [len(row) for row in many.json()] == [3, 3]


async def test_predict_reads_texts_and_pairs_in_one_list():
    async with serving(CLASSIFIER, scoring([*SCORES, SCORES[0]])) as http:
        inputs = [["bcd"], ["q", "t"], ["e"]]
        reply = await http.post("/predict", {"inputs": inputs, "raw_scores": True})
        request = http.frontend.submitted[-1][0]
        assert (request.queries, request.texts) == ((None, "q", None), ("bcd", "t", "e"))
        assert [row[0]["label"] for row in reply.json()] == ["fair", "bad", "fair"]
        assert reply.headers["x-compute-characters"] == "6"


MIXED = {
    "inputs: item 1 is neither": ("/predict", [["a"], "b"]),
    "inputs: item 2 is neither": ("/predict", [["a"], ["b", "c"], ["d", 5]]),
    "element 1 is a list, the first is a string": ("/embed", ["a", [5]]),
    "element 1 is a string, the first is a list": ("/embed", [[5], "a"]),
    "element 2 is a string, the first is a number": ("/embed", [5, 6.0, "a"]),
    "element 1 is of no such kind": ("/embed", ["a", None]),
    "element 0 is of no such kind": ("/embed", [True, 5]),
    "inputs: item 1 must be a string": ("/tokenize", ["a", ["b"]]),
}


@pytest.mark.parametrize("place", MIXED)
async def test_what_cannot_be_mixed_is_named_by_its_place(place):
    path, inputs = MIXED[place]
    async with serving(RERANKER) as http:
        reply = await http.post(path, {"inputs": inputs})
        assert (reply.status_code, reply.json()["error_type"]) == (422, "Validation")
        assert place in reply.json()["error"]


async def test_tokenize_says_where_tokens_stand():
    async with serving(RERANKER) as http:  # whatever the model is for
        reply = await http.post("/tokenize", {"inputs": ["aé"], "add_special_tokens": False})
        request = http.frontend.submitted[-1][0]
        assert (request.output, request.special_tokens) == (Output.PIECES, False)
        assert reply.json() == [
            [
                {"id": 0, "special": True, "text": "[CLS]", "start": None, "stop": None},
                {"id": 1, "special": False, "text": "a", "start": 0, "stop": 1},
                {"id": 2, "special": False, "text": "é", "start": 1, "stop": 3},
            ]
        ]
        assert len((await http.post("/tokenize", {"inputs": ["a" * 4000, ""]})).json()[0]) == 4001


async def test_a_long_list_of_tokens_is_whole(monkeypatch):
    monkeypatch.setattr("pipeline.http.tei.tokens.SLICE_TOKENS", 7)
    async with serving(EMBEDDER) as http:
        found = (await http.post("/tokenize", {"inputs": "abc" * 10})).json()
        assert [token["id"] for token in found[0]] == list(range(31))


async def test_decode_answers_texts():
    async with serving(EMBEDDER) as http:
        for ids, texts in (([5, 6], ["5 6"]), ([[5], [6, 7]], ["5", "6 7"])):
            reply = await http.post("/decode", {"ids": ids})
            request = http.frontend.submitted[-1][0]
            assert (reply.json(), request.output) == (texts, Output.TEXT)
            assert request.special_tokens is False
        await http.post("/decode", {"ids": [5], "skip_special_tokens": False})
        assert http.frontend.submitted[-1][0].special_tokens is True


@pytest.mark.parametrize(
    ("model", "path", "document"),
    [
        (MODEL, "/embed_all", {"inputs": "a"}),
        (MODEL, "/embed_sparse", {"inputs": "a"}),
        (MODEL, "/rerank", {"query": "a", "texts": ["b"]}),
        (MODEL, "/predict", {"inputs": "a"}),
        (RERANKER, "/embed", {"inputs": "a"}),
        (RERANKER, "/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}),
        (CLASSIFIER, "/rerank", {"query": "a", "texts": ["b"]}),
    ],
)
async def test_what_the_model_cannot_do_is_424(model, path, document):
    async with serving(model) as http:
        reply = await http.post(path, document)
        assert (reply.status_code, reply.json()["error_type"]) == (424, "Backend")
        assert "model" in reply.json()["error"]
        assert http.frontend.submitted == []
        assert http.refused("unimplemented") == 1


async def test_openais_clients_are_told_what_the_model_cannot_do():
    async with serving(RERANKER) as http:
        reply = await http.post("/v1/embeddings", {"input": "a"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "unsupported_by_model")


@pytest.mark.parametrize(
    ("model", "document"),
    [
        (EMBEDDER, {"inputs": "a"}),
        (RERANKER, {"query": "a", "texts": ["b"]}),
        (CLASSIFIER, {"inputs": "a"}),
        (evolve(MODEL, outputs=(Output.SPARSE,)), {"inputs": "a"}),
    ],
)
async def test_the_root_is_what_the_model_is_for(model, document):
    async with serving(model) as http:
        assert (await http.post("/", document)).status_code == 200
        assert http.frontend.submitted[-1][0].output is model.outputs[0]


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (EMBEDDER, {"embedding": {"pooling": "splade"}}),
        (RERANKER, {"reranker": {"id2label": {"0": "relevant"}, "label2id": {"relevant": 0}}}),
    ],
)
async def test_info_says_what_the_model_is_for(model, kind):
    async with serving(model) as http:
        assert (await http.get("/info")).json()["model_type"] == kind


WRONG = {
    "no query": ("/rerank", {"texts": ["a"]}, 422, "Validation"),
    "query": ("/rerank", {"query": 5, "texts": ["a"]}, 422, "Validation"),
    "long query": ("/rerank", {"query": "a" * 4097, "texts": ["a"]}, 413, "Validation"),
    "no texts": ("/rerank", {"query": "a", "texts": []}, 400, "Empty"),
    "an empty text": ("/rerank", {"query": "a", "texts": ["b", ""]}, 400, "Empty"),
    "texts": ("/rerank", {"query": "a", "texts": [5]}, 422, "Validation"),
    "raw": ("/rerank", {"query": "a", "texts": ["a"], "raw_scores": 1}, 422, "Validation"),
    "nothing": ("/predict", {"inputs": []}, 400, "Empty"),
    "three": ("/predict", {"inputs": ["a", "b", "c"]}, 422, "Validation"),
    "a hole": ("/predict", {"inputs": [["a"], []]}, 422, "Validation"),
    "no list": ("/predict", {"inputs": [["a"], "b"]}, 422, "Validation"),
    "numbers": ("/predict", {"inputs": [[5]]}, 422, "Validation"),
    "a number": ("/predict", {"inputs": 5}, 422, "Validation"),
    "an object": ("/predict", {"inputs": {"a": "b"}}, 422, "Validation"),
    "too many": ("/predict", {"inputs": [["a"]] * (LIMITS.max_items + 1)}, 413, "Validation"),
    "ids as texts": ("/tokenize", {"inputs": [5]}, 422, "Validation"),
    "no tokens": ("/tokenize", {"inputs": []}, 400, "Empty"),
    "texts as ids": ("/decode", {"ids": "a"}, 422, "Validation"),
    "unknown ids": ("/decode", {"ids": [MODEL.vocabulary]}, 422, "Validation"),
    "no ids": ("/decode", {}, 422, "Validation"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_bad_input_has_teis_code(name):
    path, document, status, kind = WRONG[name]
    async with serving(RERANKER) as http:
        reply = await http.post(path, document)
        assert (reply.status_code, reply.json()["error_type"]) == (status, kind), reply.text
        assert http.frontend.submitted == []
