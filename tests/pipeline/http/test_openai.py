"""OpenAI's routes, over a real loopback socket."""

import base64
from urllib.parse import quote

import numpy as np
import openai
import pytest
from attrs import evolve
from frontend_fakes import LIMITS, MODEL, answer_to, vectors_of

from stages.requests.lane import Lane
from stages.requests.request import Side

PATH = "/v1/embeddings"


async def embedded(http, **members):
    """The reply's document, and the request that the frontend was handed."""
    reply = await http.post(PATH, {"model": "any"} | members)
    assert reply.status_code == 200, reply.text
    return reply.json(), http.frontend.submitted[-1][0]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def test_the_answer_has_openais_form(http):
    reply = await http.post(PATH, {"input": ["a", "bcd"], "model": "m", "user": "u"})
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert list(body) == ["object", "data", "model", "usage"]
    assert (body["object"], body["model"]) == ("list", "fake")
    assert body["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert [(item["object"], item["index"]) for item in body["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]


async def test_numbers_and_base64_hold_the_same_vectors(http):
    numbers, request = await embedded(http, input=["a", "bcd"])
    text, _ = await embedded(http, input=["a", "bcd"], encoding_format="base64")
    expected = unit(vectors_of(request)).astype("<f4")
    assert np.array_equal(np.float32([i["embedding"] for i in numbers["data"]]), expected)
    raw = b"".join(base64.b64decode(item["embedding"]) for item in text["data"])
    assert raw == expected.tobytes()


@pytest.mark.parametrize(
    ("given", "texts", "ids"),
    [
        ("one", ("one",), None),
        (["one", "two"], ("one", "two"), None),
        ([5, 6, 7], None, [[5, 6, 7]]),
        ([[5], [6, 7]], None, [[5], [6, 7]]),
        ([5.0, 6], None, [[5, 6]]),
        ([[0, MODEL.vocabulary - 1]], None, [[0, MODEL.vocabulary - 1]]),
    ],
)
async def test_every_form_of_input_is_understood(http, given, texts, ids):
    body, request = await embedded(http, input=given)
    assert request.texts == texts
    found = request.ids and [request.ids.item(i).tolist() for i in range(len(request.ids))]
    assert found == ids
    assert len(body["data"]) == request.items


async def test_the_other_members_reach_the_pipeline(http):
    _, request = await embedded(
        http,
        input="a",
        dimensions=3,
        truncate=False,
        truncate_prompt_tokens=7,
        truncation_side="left",
        priority=1,
        request_id="mine",
        prompt_name="query",
        unheard_of={"x": [1]},
    )
    assert (request.truncate, request.max_tokens, request.side) == (False, 7, Side.LEFT)
    assert (request.lane, request.request_id) == (Lane.BULK, "mine")
    assert request.prompt_name == "query"


async def test_what_is_missing_or_null_has_its_default(http):
    null = dict.fromkeys(("dimensions", "truncate", "priority", "embed_dtype", "user", "model"))
    _, request = await embedded(http, input="a", **null)
    assert (request.truncate, request.max_tokens, request.side) == (True, None, Side.RIGHT)
    assert (request.lane, request.tenant, request.prompt_name) == (Lane.INTERACTIVE, "", "")
    assert http.frontend.submitted[-1][1] == LIMITS.max_wait_s


@pytest.mark.parametrize(
    ("priority", "lane"),
    [(0, Lane.INTERACTIVE), (-5, Lane.INTERACTIVE), (2, Lane.BULK), ("bulk", Lane.BULK)],
)
async def test_priorities_are_lanes(http, priority, lane):
    assert (await embedded(http, input="a", priority=priority))[1].lane is lane


async def test_usage_counts_what_ran(http):
    counts = np.int32([3, 40, 900])
    http.frontend.answer = lambda request: answer_to(request, token_counts=counts)
    body, _ = await embedded(http, input=["a", "b", "c"])
    assert body["usage"]["prompt_tokens"] == 3 + 40 + MODEL.max_tokens
    body, _ = await embedded(http, input=["a", "b", "c"], truncate_prompt_tokens=10)
    assert body["usage"]["total_tokens"] == 3 + 10 + 10
    body, _ = await embedded(http, input=["a", "b", "c"], truncate_prompt_tokens=-1)
    assert body["usage"]["total_tokens"] == 3 + 40 + MODEL.max_tokens


async def test_fewer_dimensions_are_normalised_anew(http):
    body, request = await embedded(http, input=["a", "bc"], dimensions=3)
    found = np.float32([item["embedding"] for item in body["data"]])
    assert np.array_equal(found, unit(vectors_of(request)[:, :3]).astype("<f4"))


async def test_vectors_come_in_the_numbers_asked_for(http):
    whole, _ = await embedded(http, input=["a"])
    row = np.float32(whole["data"][0]["embedding"])
    half, _ = await embedded(http, input=["a"], embed_dtype="float16", encoding_format="base64")
    found = np.frombuffer(base64.b64decode(half["data"][0]["embedding"]), "<f2")
    assert np.array_equal(found, row.astype("<f2"))
    (small,) = (await embedded(http, input=["a"], embed_dtype="int8"))[0]["data"]
    steps = np.float32(small["embedding"]) * np.float32(small["scale"])
    assert np.abs(steps - row).max() <= small["scale"] * 0.51
    (bits,) = (await embedded(http, input=["a"], embed_dtype="binary"))[0]["data"]
    assert bits["embedding"] == np.packbits(row > 0).tolist()


async def test_the_request_id_comes_back(http):
    reply = await http.post(PATH, {"input": "a", "request_id": "mine"})
    assert reply.headers["x-request-id"] == "mine"
    reply = await http.post(PATH, {"input": "a"}, headers={"x-request-id": "theirs"})
    assert reply.headers["x-request-id"] == "theirs"
    assert len((await http.post(PATH, {"input": "a"})).headers["x-request-id"]) == 32


async def test_models_are_the_one_that_is_loaded(http):
    body = (await http.get("/v1/models")).json()
    assert body["object"] == "list"
    (entry,) = body["data"]
    assert (entry["id"], entry["object"]) == ("fake", "model")
    assert (await http.get("/v1/models/fake")).json() == entry
    http.board.model = None
    for path in ("/v1/models", "/v1/models/fake"):
        reply = await http.get(path)
        assert (reply.status_code, reply.json()["error"]["type"]) == (503, "server_error")


@pytest.mark.parametrize("name", ["org/name", "/a/folder", "hf://org/name@main", "ä b?#%"])
async def test_a_model_is_found_by_any_name(http, name):
    http.board.model = evolve(MODEL, model_id=name)
    client = openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{http.port}/v1", api_key="x", max_retries=0
    )
    async with client:
        assert (await client.models.retrieve(name)).id == name
    plain = quote(name)  # with its slashes
    assert (await http.get(f"/v1/models/{plain}")).json()["id"] == name


@pytest.mark.parametrize("name", ["other", "fake/", "FAKE", "", f"x/{'sesame' * 50}"])
async def test_another_model_is_404(http, name):
    reply = await http.get(f"/v1/models/{name}")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert ("fake" in error["message"], "sesame" in error["message"]) == (True, False)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_model_is_only_read(http, method):
    reply = await http.client.request(method, "/v1/models/fake")
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "method_not_supported")
    assert set(reply.headers["allow"].split(", ")) == {"GET", "HEAD"}
