"""Bodies that are too large, too slow, not wanted or never read, over raw sockets."""

import numpy as np
import orjson
import pytest
import trio
import trio.lowlevel
from attrs import evolve
from frontend_fakes import LIMITS, SNAPSHOT, FakeBoard, FakeFrontend, answer_to
from http_fakes import called, request_text, running_http

from pipeline.http.connection import early_response
from pipeline.overload.request_memory import RequestMemory
from stages.requests.request import EmbedRequest

PATH = "/v1/embeddings"
BODY = b'{"input": "a"}'


async def exchange(http, *parts):
    """All that comes back until the server closes, or the answer is whole."""
    stream = await http.connect()
    async with stream:
        for part in parts:
            await stream.send_all(part)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            more = await stream.receive_some()
            if not more:
                break
            answer += more
    return answer


async def test_a_body_that_announces_too_much_is_413_before_it_is_sent(http):
    head = request_text(PATH, b"", Content_Length=LIMITS.max_request_bytes + 1)
    answer = await exchange(http, head)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"request_too_large"' in answer


async def test_a_body_in_chunks_is_counted_while_it_is_read(http):
    head = request_text(PATH, b"", Transfer_Encoding="chunked").replace(
        b"Content-Length: 0\r\n", b""
    )
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    most = LIMITS.max_request_bytes // 65536
    assert (await exchange(http, head, *[chunk] * (most + 1))).startswith(b"HTTP/1.1 413")
    fits = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    assert (await exchange(http, head, fits)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("more", [0, 1])
async def test_the_limit_itself_is_allowed(http, more):
    body = BODY + b" " * (LIMITS.max_request_bytes - len(BODY) + more)
    reply = await http.post(PATH, content=body)
    assert reply.status_code == (413 if more else 200)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json", ""]
)
async def test_what_is_not_said_to_be_json_is_415(http, kind):
    reply = await http.post(PATH, content=BODY, headers={"content-type": kind})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")


async def test_json_may_say_its_charset(http):
    kind = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await http.post(PATH, content=BODY, headers=kind)).status_code == 200


async def test_a_compressed_body_is_415(http):
    reply = await http.post(PATH, content=BODY, headers={"content-encoding": "gzip"})
    assert reply.status_code == 415


async def test_bodies_on_their_way_are_bounded_together():
    """Large ones: who has sent little is let in, whatever is announced."""
    large = BODY + b" " * (100 << 10)
    held = RequestMemory(3 * len(large) // 2)
    async with running_http(held=held) as http:
        async with await http.connect() as idle, await http.connect() as stuck:
            await idle.send_all(request_text(PATH, b"", Content_Length=len(large)))
            await stuck.send_all(request_text(PATH, large, Content_Length=len(large) + 1))
            while held.taken < len(large):
                await trio.lowlevel.checkpoint()
            refused = await http.post(PATH, content=large)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (429, "rate_limit_exceeded")
            assert int(refused.headers["retry-after"]) >= 1
            assert (await http.post(PATH, content=BODY)).status_code == 200
            await stuck.send_all(b" ")
            assert (await stuck.receive_some()).startswith(b"HTTP/1.1 200")
            assert (await http.post(PATH, content=large)).status_code == 200
        while held.taken:
            await trio.lowlevel.checkpoint()
        name = "penstock_refusals_total"
        assert http.metrics.registry.get_sample_value(name, {"reason": "held_bytes"}) == 1


async def test_a_body_counts_until_its_answer_is_out():
    held, frontend = RequestMemory(), FakeFrontend(hold=True)
    async with running_http(frontend, held=held) as http, await http.connect() as stream:
        await stream.send_all(request_text(PATH, BODY))
        while not frontend.held:
            await trio.lowlevel.checkpoint()
        assert held.taken == len(BODY)
        frontend.let_go()
        await stream.receive_some()
        while held.taken:
            await trio.lowlevel.checkpoint()


async def test_a_body_that_stalls_is_408_and_the_place_is_free(autojump_clock):
    frontend, started = FakeFrontend(), trio.current_time()
    status, body = await called(frontend, FakeBoard(), PATH, None, body=[b"{", None, b"}"])
    assert (status, orjson.loads(body)["error"]["code"]) == (408, "request_timeout")
    assert 10 <= trio.current_time() - started <= 12.1  # and a moment for the client to read it
    assert frontend.submitted == []


async def test_a_body_that_trickles_is_408_and_a_slow_line_gets_through(autojump_clock):
    async def each(size, pause_s):
        part = b" " * size
        body = [BODY] + [pause_s, part] * 30
        return (await called(FakeFrontend(), FakeBoard(), PATH, None, body=body))[0]

    assert await each(1, 0.9) == 408
    assert await each(1 << 14, 0.9) == 200


async def test_a_client_that_hangs_up_within_its_body_is_forgotten(http):
    stream = await http.connect()
    await stream.send_all(request_text(PATH, BODY, Content_Length=1000))
    await stream.aclose()
    assert (await http.post(PATH, content=BODY)).status_code == 200
    await trio.testing.wait_all_tasks_blocked()
    assert http.server._concurrency.taken == 0


async def test_an_early_answer_reaches_a_client_that_still_sends(http):
    """More than the queue between server and application holds, and than a socket buffers."""
    http.board.snapshot = evolve(SNAPSHOT, accepting_requests=False)
    for path in (PATH, "/embed", "/nothing"):
        reply = await http.post(path, content=b"x" * (8 << 20))
        assert reply.status_code in {429, 404}
    assert (await http.get("/health")).status_code == 200


async def test_a_client_that_sends_without_end_is_cut_off(http, monkeypatch):
    monkeypatch.setattr(early_response, "LINGER_S", 0.1)
    stream = await http.connect()
    async with stream:
        head = request_text(PATH, b"", Content_Length=1 << 40)
        await stream.send_all(head)
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - it may take some parts
            while True:
                await stream.send_all(b"x" * 65536)
    assert (await http.get("/health")).status_code == 200


async def test_a_client_that_takes_nothing_of_its_answer_is_given_up():
    huge = np.ones((1024, 4096), np.float32)  # which no socket holds
    frontend = FakeFrontend(answer=lambda request: answer_to(request, vectors=huge))
    async with running_http(frontend, stall_timeout_s=0.3) as http:
        stream = await http.connect()
        async with stream:
            body = b'{"input": "a", "encoding_format": "base64"}'
            await stream.send_all(request_text(PATH, body))
            while not frontend.submitted or http.server._concurrency.taken:
                await trio.lowlevel.checkpoint()
        assert (await http.get("/health")).status_code == 200


async def test_large_bodies_are_understood_too():
    board = FakeBoard(limits=evolve(LIMITS, max_items=4096, max_request_bytes=1 << 24))
    async with running_http(board=board) as http:
        texts = ["word " * 40] * 4000
        reply = await http.post(PATH, {"input": texts, "encoding_format": "base64"})
        assert len(reply.json()["data"]) == 4000
        assert http.frontend.submitted[-1][0].texts == tuple(texts)
        ids = [[number % 1000 for number in range(300)]] * 2000
        await http.post(PATH, {"input": ids})
        request: EmbedRequest = http.frontend.submitted[-1][0]
        assert request.ids.tokens == 600_000
        assert request.ids.item(1999).tolist() == ids[0]
        reply = await http.post(PATH, content=b'{"input":[' + b"[]," * 100_000 + b"[]]}")
        assert (reply.status_code, "more than" in reply.text) == (413, True)
        reply = await http.post(PATH, content=b'{"input":[' + b"1," * 300_000 + b"1}")
        assert (reply.status_code, "an array of more than" in reply.text) == (413, True)
        reply = await http.post(PATH, content=b'{"input":["' + b"x" * 300_000 + b'"')
        assert (reply.status_code, "JSON" in reply.text) == (400, True)
