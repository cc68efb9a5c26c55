"""What OpenAI's routes refuse, and how they say so."""

import json

import pytest
import trio
import trio.lowlevel
from attrs import evolve
from frontend_fakes import DIMENSION, LIMITS, MODEL, SNAPSHOT, FakeBoard, FakeFrontend, answer_to
from http_fakes import called, request_text, running_http

from pipeline.interface.status import Phase
from stages.errors import DeadlineExceeded, Internal, NotServing, Overloaded
from stages.requests.answer import ItemError

PATH = "/v1/embeddings"
SECRET = "sesame"  # noqa: S105 - only a word that must not come back
WRONG = {
    "nothing": ({}, "input"),
    "no input": ({"input": None}, "input"),
    "no items": ({"input": []}, "input"),
    "a number": ({"input": 5}, "input"),
    "an object": ({"input": {SECRET: SECRET}}, "input"),
    "true": ({"input": [True, False]}, "input"),
    "a fraction": ({"input": [1.5]}, "input"),
    "mixed": ({"input": [SECRET, 5]}, "input"),
    "mixed lists": ({"input": [[1], SECRET]}, "input"),
    "texts in a list in a list": ({"input": [[SECRET]]}, "input"),
    "true in a list": ({"input": [[1, True]]}, "input"),
    "a fraction in a list": ({"input": [[1, 2.5]]}, "input"),
    "a number above all": ({"input": [[1e300]]}, "input"),
    "an empty item": ({"input": [[1], []]}, "input"),
    "an id below": ({"input": [[-1]]}, "input"),
    "an id above": ({"input": [[1], [MODEL.vocabulary]]}, "input"),
    "an id that wraps around": ({"input": [[1 << 32]]}, "input"),
    "an id above int64": ({"input": [(1 << 64) - 1]}, "input"),
    "format": ({"input": "a", "encoding_format": SECRET}, "encoding_format"),
    "format's kind": ({"input": "a", "encoding_format": 1}, "encoding_format"),
    "dimensions": ({"input": "a", "dimensions": DIMENSION + 1}, "dimensions"),
    "no dimensions": ({"input": "a", "dimensions": 0}, "dimensions"),
    "dimensions' kind": ({"input": "a", "dimensions": SECRET}, "dimensions"),
    "many dimensions": ({"input": "a", "dimensions": 1e300}, "dimensions"),
    "dimensions true": ({"input": "a", "dimensions": True}, "dimensions"),
    "model": ({"input": "a", "model": 5}, "model"),
    "user": ({"input": "a", "user": [SECRET]}, "user"),
    "truncate": ({"input": "a", "truncate": SECRET}, "truncate"),
    "side": ({"input": "a", "truncation_side": SECRET}, "truncation_side"),
    "most tokens": ({"input": "a", "truncate_prompt_tokens": 513}, "truncate_prompt_tokens"),
    "no tokens": ({"input": "a", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
    "priority": ({"input": "a", "priority": SECRET}, "priority"),
    "dtype": ({"input": "a", "embed_dtype": SECRET}, "embed_dtype"),
    "prompt": ({"input": "a", "prompt_name": SECRET}, "prompt_name"),
    "request id": ({"input": "a", "request_id": "x\r\ny: z"}, "request_id"),
    "long request id": ({"input": "a", "request_id": "x" * 257}, "request_id"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_bad_input_is_400_and_names_the_field(http, name):
    document, field = WRONG[name]
    reply = await http.post(PATH, document)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["type"], error["param"]) == ("invalid_request_error", field)
    assert field in error["message"]
    assert SECRET not in reply.text
    assert http.frontend.submitted == []
    assert http.refused("invalid_argument") == 1


BAD_BODIES = [
    *(b"", b"{", b"[]", b'"a"', b"null", b"5", b"\xff\xfe", b'{"input": "' + SECRET.encode()),
    *(b'{"input": "\xc3"}', b'{"input": "\\ud800"}', b'{"input": NaN}'),
    *(b"[" * 100_000, b'{"input":' * 5000),
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
async def test_what_is_no_json_object_is_400(http, body):
    reply = await http.post(PATH, content=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert SECRET not in reply.text


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ({"input": ["a"] * (LIMITS.max_items + 1)}, "items"),
        ({"input": [[1]] * (LIMITS.max_items + 1)}, "items"),
        ({"input": ["x" * (LIMITS.max_item_bytes + 1)]}, "item 0"),
        ({"input": [[1], [1] * (LIMITS.max_item_bytes // 4 + 1)]}, "item 1"),
    ],
)
async def test_too_much_is_413(http, document, what):
    reply = await http.post(PATH, document)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
    assert what in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (Overloaded("full", reason="latency", retry_after_s=1.2), 429, "rate_limit_error"),
        (NotServing("restarted", retry_after_s=0.02), 503, "server_error"),
        (DeadlineExceeded("late"), 504, "server_error"),
        (Internal("broken"), 500, "server_error"),
    ],
)
async def test_the_pipelines_errors_are_openais(http, error, status, kind):
    http.frontend.answer = lambda _: error
    reply = await http.post(PATH, {"input": "a"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)
    assert reply.json()["error"]["message"] == error.message


async def test_when_to_come_back_is_said_in_whole_seconds_and_in_milliseconds(http):
    http.frontend.answer = lambda _: Overloaded("full", reason="latency", retry_after_s=1.2)
    reply = await http.post(PATH, {"input": "a"})
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("2", "1200")


async def test_a_failed_item_fails_the_request(http):
    failed = (ItemError(1, "INTERNAL", "the vector is not finite"),)
    http.frontend.answer = lambda request: answer_to(request, errors=failed)
    reply = await http.post(PATH, {"input": ["a", "b"]})
    assert reply.status_code == 500
    assert "item 1" in reply.json()["error"]["message"]


async def test_a_fault_of_the_servers_own_is_500_and_tells_nothing(http):
    def fail(_):
        raise ZeroDivisionError(SECRET)

    http.frontend.answer = fail
    reply = await http.post(PATH, {"input": "a"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert SECRET not in reply.text


async def test_what_cannot_be_taken_is_refused_before_its_body_is_read(http):
    http.board.snapshot = evolve(SNAPSHOT, accepting_requests=False, retry_after_s=2.5)
    stream = await http.connect()
    async with stream:
        await stream.send_all(request_text(PATH, b"{", Content_Length=1000))
        answer = await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"retry-after: 3\r\n" in answer
    assert http.refused("unavailable") == 1


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.DRAINING, Phase.FAILED])
async def test_a_server_that_does_not_serve_says_so(http, phase):
    http.board.snapshot = evolve(SNAPSHOT, phase=phase, accepting_requests=False)
    reply = await http.post(PATH, {"input": "a"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")


async def test_a_client_that_hangs_up_is_abandoned_and_its_place_is_free():
    async with running_http(FakeFrontend(hold=True), max_concurrent_requests=1) as http:
        stream = await http.connect()
        await stream.send_all(request_text(PATH, b'{"input": "a"}'))
        while not http.frontend.submitted:
            await trio.lowlevel.checkpoint()
        assert (await http.post(PATH, {"input": "a"})).status_code == 429
        await stream.aclose()
        while not http.frontend.abandoned:
            await trio.lowlevel.checkpoint()
        http.frontend.hold = False
        assert (await http.post(PATH, {"input": "b"})).status_code == 200


async def test_the_time_is_up(autojump_clock):
    """Virtual time, so without a socket: the application is called as Hypercorn calls it."""
    frontend, started = FakeFrontend(hold=True), trio.current_time()
    status, body = await called(frontend, FakeBoard(), PATH, {"input": "a"})
    assert (status, json.loads(body)["error"]["code"]) == (504, "timeout")
    assert len(frontend.abandoned) == 1
    assert trio.current_time() - started >= LIMITS.max_wait_s


async def test_calls_in_flight_finish_while_it_drains():
    async with running_http(FakeFrontend(hold=True)) as http, trio.open_nursery() as nursery:
        statuses = []

        async def call():
            statuses.append((await http.post(PATH, {"input": "a"})).status_code)

        nursery.start_soon(call)
        while not http.frontend.submitted:
            await trio.lowlevel.checkpoint()
        drained = trio.Event()

        async def drain():
            await http.server.drain()
            drained.set()

        nursery.start_soon(drain)
        http.frontend.hold = False
        while (await http.post(PATH, {"input": "late"})).status_code != 503:
            pass
        assert not drained.is_set()
        http.frontend.let_go()
        await drained.wait()
    assert statuses == [200]
