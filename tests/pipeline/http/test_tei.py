"""TEI's routes, over a real loopback socket."""

import numpy as np
import pytest
from attrs import evolve
from frontend_fakes import LIMITS, SNAPSHOT, answer_to, vectors_of

from pipeline.interface.status import Phase
from stages.errors import DeadlineExceeded, Internal, NotServing, Overloaded
from stages.requests.answer import Timings
from stages.requests.request import Side


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("path", ["/embed", "/"])
async def test_embed_answers_a_list_of_vectors(http, path):
    for inputs in ("one", ["one", "three"], [5, 6], [[5], [6, 7]]):
        reply = await http.post(path, {"inputs": inputs})
        assert reply.status_code == 200, reply.text
        request = http.frontend.submitted[-1][0]
        assert np.array_equal(np.float32(reply.json()), unit(vectors_of(request)).astype("<f4"))


async def test_the_members_reach_the_pipeline(http):
    document = {
        "inputs": "one",
        "normalize": False,
        "truncate": False,
        "truncation_direction": "Left",
        "prompt_name": "query",
        "dimensions": 3,
    }
    reply = await http.post("/embed", document)
    request = http.frontend.submitted[-1][0]
    assert (request.truncate, request.side, request.prompt_name) == (False, Side.LEFT, "query")
    assert np.array_equal(np.float32(reply.json()), vectors_of(request)[:, :3])


async def test_headers_say_what_was_computed_and_where_the_time_went(http):
    timings = Timings(0.001, 0.0024, 0.003, 0.0047, 0.0121)
    http.frontend.answer = lambda request: answer_to(
        request, timings=timings, token_counts=np.int32([3, 900])
    )
    headers = (await http.post("/embed", {"inputs": ["one", "three"]})).headers
    named = {name: value for name, value in headers.items() if name.startswith("x-")}
    named.pop("x-request-id")
    assert named == {
        "x-compute-type": "cpu+optimized",
        "x-compute-time": "12",
        "x-compute-characters": "8",
        "x-compute-tokens": str(3 + 512),
        "x-total-time": "12",
        "x-tokenization-time": "2",
        "x-queue-time": "3",
        "x-inference-time": "5",
    }


@pytest.mark.parametrize("path", ["/similarity", "/"])
async def test_similarity_is_the_cosine_to_the_source(http, path):
    inputs = {"source_sentence": "one", "sentences": ["three", "one", "a"]}
    reply = await http.post(path, {"inputs": inputs, "parameters": {"prompt_name": "query"}})
    request = http.frontend.submitted[-1][0]
    assert (request.texts, request.prompt_name) == (("one", "three", "one", "a"), "query")
    rows = unit(vectors_of(request))
    np.testing.assert_allclose(reply.json(), rows[1:] @ rows[0], atol=1e-6)
    assert reply.headers["x-compute-tokens"] == "12"


async def test_info_has_teis_fields(http):
    assert (await http.get("/info")).json() == {
        "model_id": "fake",
        "model_sha": None,
        "model_dtype": "float32",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": 1024,
        "max_input_length": 512,
        "max_batch_tokens": 32768,
        "max_batch_requests": None,
        "max_client_batch_size": LIMITS.max_items,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": "0.1.0",
        "sha": None,
        "docker_label": None,
    }


async def test_ping_is_health(http):
    assert (await http.get("/ping")).json() == (await http.get("/health")).json()
    http.board.snapshot = evolve(SNAPSHOT, status="loading")
    assert (await http.get("/ping")).status_code == 503


async def test_openais_route_stands_at_the_top_too(http):
    reply = await http.post("/embeddings", {"input": "one"})
    assert reply.json()["object"] == "list"
    assert "error" in (await http.post("/embeddings", {})).json()


PAIRS = {"source_sentence": "a", "sentences": ["b"]}
WRONG = {
    "not JSON": ("/embed", None, 400, "Validation"),
    "nothing": ("/embed", {}, 422, "Validation"),
    "no items": ("/embed", {"inputs": []}, 400, "Empty"),
    "an empty text": ("/embed", {"inputs": ["a", ""]}, 400, "Empty"),
    "a number": ("/embed", {"inputs": 5}, 422, "Validation"),
    "an object": ("/embed", {"inputs": PAIRS}, 422, "Validation"),
    "an id": ("/embed", {"inputs": [5000]}, 422, "Validation"),
    "normalize": ("/embed", {"inputs": "a", "normalize": "yes"}, 422, "Validation"),
    "side": ("/embed", {"inputs": "a", "truncation_direction": "up"}, 422, "Validation"),
    "prompt": ("/embed", {"inputs": "a", "prompt_name": "none"}, 422, "Validation"),
    "dimensions": ("/embed", {"inputs": "a", "dimensions": 99}, 422, "Validation"),
    "too many": ("/embed", {"inputs": ["a"] * (LIMITS.max_items + 1)}, 413, "Validation"),
    "no pairs": ("/similarity", {"inputs": "a"}, 422, "Validation"),
    "no sentences": ("/similarity", {"inputs": PAIRS | {"sentences": []}}, 400, "Empty"),
    "sentences": ("/similarity", {"inputs": PAIRS | {"sentences": [5]}}, 422, "Validation"),
    "source": ("/similarity", {"inputs": PAIRS | {"source_sentence": 5}}, 422, "Validation"),
    "no source": ("/similarity", {"inputs": {"sentences": ["a"]}}, 422, "Validation"),
    "too many pairs": (
        "/similarity",
        {"inputs": PAIRS | {"sentences": ["a"] * LIMITS.max_items}},
        413,
        "Validation",
    ),
    "parameters": ("/similarity", {"inputs": PAIRS, "parameters": 5}, 422, "Validation"),
}


EMPTY = {
    "inputs: item 1": ("/embed", {"inputs": ["a", ""]}),
    "inputs.source_sentence: ": ("/similarity", {"inputs": PAIRS | {"source_sentence": ""}}),
    "inputs.sentences: item 1": ("/similarity", {"inputs": PAIRS | {"sentences": ["a", ""]}}),
    "texts: item 1": ("/rerank", {"query": "a", "texts": ["b", ""]}),
    "query: ": ("/rerank", {"query": "", "texts": ["b"]}),
}


@pytest.mark.parametrize("place", EMPTY)
async def test_an_empty_text_is_told_by_its_place(http, place):
    reply = await http.post(*EMPTY[place])
    assert (reply.status_code, reply.json()["error_type"]) == (400, "Empty")
    assert reply.json()["error"].startswith(place)


@pytest.mark.parametrize("name", WRONG)
async def test_bad_input_has_teis_code(http, name):
    path, document, status, kind = WRONG[name]
    content = b"{" if document is None else None
    reply = await http.post(path, document, content=content)
    assert (reply.status_code, reply.json()["error_type"]) == (status, kind), reply.text
    assert set(reply.json()) == {"error", "error_type"}
    assert http.frontend.submitted == []


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Overloaded("full", reason="latency", retry_after_s=1.2), 429, "Overloaded"),
        (NotServing("restarted"), 503, "Unhealthy"),
        (DeadlineExceeded("late"), 504, "Backend"),
        (Internal("broken"), 424, "Backend"),
    ],
)
async def test_the_pipelines_errors_are_teis(http, error, status, kind):
    http.frontend.answer = lambda _: error
    reply = await http.post("/embed", {"inputs": "a"})
    assert (reply.status_code, reply.json()) == (
        status,
        {"error": error.message, "error_type": kind},
    )


async def test_what_does_not_serve_is_unhealthy(http):
    http.board.snapshot = evolve(SNAPSHOT, phase=Phase.LOADING, accepting_requests=False)
    http.board.model = None
    for reply in (await http.post("/embed", {"inputs": "a"}), await http.get("/info")):
        assert (reply.status_code, reply.json()["error_type"]) == (503, "Unhealthy")
