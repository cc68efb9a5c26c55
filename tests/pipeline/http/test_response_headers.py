"""What every answer says besides: its name, the end that is near, and the load."""

import pytest
from attrs import evolve
from frontend_fakes import SNAPSHOT, FakeBoard
from http_fakes import request_text, running_http

from pipeline.interface.status import Phase
from pipeline.overload.load_report import LoadReport
from pipeline.security.access import Access, keys_of
from pipeline.security.key_ring import make_key
from stages.errors import Internal

PATH = "/v1/embeddings"
BUSY = evolve(SNAPSHOT, accepting_requests=False)
DRAINING = evolve(BUSY, phase=Phase.DRAINING, status="draining")
ANSWERS = {
    "health": ("GET", "/health", None, 200),
    "models": ("GET", "/v1/models", None, 200),
    "vectors": ("POST", PATH, {"input": "a"}, 200),
    "TEI's vectors": ("POST", "/embed", {"inputs": "a"}, 200),
    "wrong": ("POST", PATH, {"input": 5}, 400),
    "TEI's wrong": ("POST", "/embed", {"inputs": 5}, 422),
    "no such path": ("GET", "/nothing", None, 404),
    "another method": ("DELETE", PATH, None, 405),
    "too large": ("POST", PATH, {"input": "x" * (1 << 20)}, 413),
    "no JSON": ("PUT", "/health", None, 405),
}


async def called(http, method, path, document, **headers):
    return await http.client.request(method, path, json=document, headers=headers)


@pytest.mark.parametrize("kind", ANSWERS)
async def test_every_answer_has_the_name_of_its_call(kind):
    *call, status = ANSWERS[kind]
    async with running_http() as http:
        given = await called(http, *call, **{"x-request-id": "theirs"})
        assert (given.status_code, given.headers["x-request-id"]) == (status, "theirs")
        names = {(await called(http, *call)).headers["x-request-id"] for _ in range(3)}
        assert [len(name) for name in names] == [32] * 3


async def test_refusals_have_it(tmp_path):
    (tmp_path / "keys").write_text(make_key("team-a")[1])
    async with running_http(access=Access(keys_of(tmp_path / "keys"))) as http:
        reply = await called(http, "POST", PATH, {}, **{"x-request-id": "theirs"})
        assert (reply.status_code, reply.headers["x-request-id"]) == (401, "theirs")
    for snapshot, status in ((BUSY, 429), (DRAINING, 503)):
        async with running_http(board=FakeBoard(snapshot)) as http:
            reply = await called(http, "POST", PATH, {}, **{"x-request-id": "theirs"})
            assert (reply.status_code, reply.headers["x-request-id"]) == (status, "theirs")


async def test_the_name_is_that_of_the_request_in_the_server():
    async with running_http() as http:
        for path, member in ((PATH, "input"), ("/embed", "inputs"), ("/tokenize", "inputs")):
            reply = await http.post(path, {member: "a"})
            assert http.frontend.submitted[-1][0].request_id == reply.headers["x-request-id"]


async def test_a_name_in_the_body_goes_before_the_headers_also_where_it_fails():
    async with running_http() as http:
        http.frontend.answer = lambda _: Internal("broken")
        for member in ({}, {"dimensions": 0}):
            document = {"input": "a", "request_id": "mine"} | member
            reply = await http.post(PATH, document, headers={"x-request-id": "theirs"})
            assert (reply.status_code, reply.headers["x-request-id"]) in {
                (500, "mine"),
                (400, "mine"),
            }


@pytest.mark.parametrize("name", ["", "x" * 257, "\u00e9", "a\tb"])
async def test_a_name_that_cannot_come_back_is_not_taken(name):
    async with running_http() as http:
        headers = {"x-request-id": name.encode("latin-1")}
        reply = await http.client.get("/health", headers=headers)
        assert (reply.status_code, len(reply.headers["x-request-id"])) == (200, 32)


@pytest.mark.parametrize("path", ["/health", PATH, "/nothing", "/metrics"])
async def test_once_the_end_is_announced_clients_are_to_leave(path):
    async with running_http() as http, await http.connect() as stream:
        for snapshot, leaves in ((SNAPSHOT, False), (DRAINING, True)):
            http.board.snapshot = snapshot
            await stream.send_all(request_text(path, b'{"input": "a"}'))
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some()
            head = answer.partition(b"\r\n\r\n")[0].lower()
            assert (b"connection: close" in head) is leaves
        while await stream.receive_some():  # closed behind its answer
            pass


@pytest.mark.parametrize("path", ["/health", PATH])
async def test_the_load_is_told_where_that_is_set(path):
    board = FakeBoard(evolve(SNAPSHOT, report=LoadReport(0.5, 10.25, 1.0)))
    async with running_http(board=board, load_reports=True) as http:
        reply = await http.post(path, {"input": "a"})
        text = "TEXT application_utilization=0.5,rps_fractional=10.25,eps=1"
        assert reply.headers["endpoint-load-metrics"] == text
    async with running_http(board=board) as http:
        assert "endpoint-load-metrics" not in (await http.get(path)).headers
