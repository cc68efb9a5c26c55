"""Clients that wait to be asked for their body: asked when it is wanted, or answered at once."""

import pytest
import trio
from attrs import evolve
from frontend_fakes import LIMITS, SNAPSHOT, FakeBoard
from http_fakes import request_text, running_http

from pipeline.security.access import Access, keys_of
from pipeline.security.key_ring import make_key

PATH = "/v1/embeddings"
BODY = b'{"input": "a"}'
ASKED = b"HTTP/1.1 100 \r\n\r\n"


def head(path=PATH, **headers):
    length = {"Content_Length": len(BODY)} | headers
    return request_text(path, b"", Expect="100-continue", **length)


async def rest_of(stream):
    answer = b""
    with trio.fail_after(1):  # shorter than anybody waits for the body
        while part := await stream.receive_some():
            answer += part
    return answer


async def test_it_is_asked_once_and_the_connection_stays(http):
    async with await http.connect() as stream:
        for _ in range(2):
            await stream.send_all(head())
            assert await stream.receive_some() == ASKED
            await stream.send_all(BODY)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_who_does_not_wait_is_not_asked(http):
    async with await http.connect() as stream:
        await stream.send_all(head() + BODY)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("/nothing"), 404),
        (head("/health"), 405),
        (head(Content_Length=LIMITS.max_request_bytes + 1), 413),
        (head(Content_Encoding="gzip"), 415),
        (head(Transfer_Encoding="chunked"), 400),
    ],
)
async def test_who_is_refused_is_never_asked(http, sent, status):
    async with await http.connect() as stream:
        await stream.send_all(sent)
        answer = await rest_of(stream)
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert b"connection: close\r\n" in answer.lower()
    assert http.server._concurrency.taken == 0


async def test_nor_is_who_comes_to_a_server_that_is_full():
    board = FakeBoard(evolve(SNAPSHOT, accepting_requests=False))
    async with running_http(board=board) as http, await http.connect() as stream:
        await stream.send_all(head())
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 429")


async def test_nor_is_who_has_no_key(tmp_path):
    (tmp_path / "keys").write_text(make_key("team-a")[1])
    access = Access(keys_of(tmp_path / "keys"))
    async with running_http(access=access) as http, await http.connect() as stream:
        await stream.send_all(head())
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 401")


async def test_a_body_that_comes_unasked_does_not_cost_the_answer(http):
    async with await http.connect() as stream:
        await stream.send_all(head(Content_Length=1 << 30))
        answer = await stream.receive_some()
        await stream.send_all(b"x" * (1 << 20))
        assert (answer + await rest_of(stream)).startswith(b"HTTP/1.1 413")
