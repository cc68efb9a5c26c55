"""Connections end when they should, and alone."""

import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace

import httpx
import pytest
import trio
from frontend_fakes import FakeFrontend
from http_fakes import request_text, running_http
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol
from trio.testing import memory_stream_pair

from pipeline.http.connection.connections import Connections

PATH = "/v1/embeddings"
BODY = b'{"input": "a"}'


def tasks():
    return trio.lowlevel.current_statistics().tasks_living


async def until(is_so):
    with trio.fail_after(20):  # well below the keep-alive time
        while not is_so():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /hea",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
        b"no HTTP\r\n\r\n",
        request_text(PATH, BODY),
        request_text(PATH, BODY, Content_Length=1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ),
    ],
)
async def test_nothing_stays_of_a_client_that_has_gone(http, sent):
    await http.get("/health")
    before = tasks()
    for _ in range(5):
        async with await http.connect() as stream:
            await stream.send_all(sent)
            with trio.move_on_after(0.02):
                await stream.receive_some()
    await until(lambda: tasks() == before)
    assert http.server._concurrency.taken == 0


async def test_only_http1_is_spoken(http):
    base = f"http://127.0.0.1:{http.port}"
    async with httpx.AsyncClient(http1=False, http2=True, base_url=base) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/health")
    upgrade = {"upgrade": "h2c", "connection": "upgrade, http2-settings", "http2-settings": "AAA"}
    reply = await http.get("/health", **upgrade)
    assert (reply.status_code, reply.http_version) == (200, "HTTP/1.1")


async def test_an_error_ends_one_connection(http, monkeypatch):
    """Whatever Hypercorn did not foresee."""

    async def fail(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(H11Protocol, "handle", fail)
        with pytest.raises(httpx.TransportError):
            await http.get("/health")
    assert (await http.get("/health")).status_code == 200


POST = request_text(PATH, BODY)
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
async def test_requests_that_do_not_wait_for_answers_are_answered_in_turn(apart):
    requests = [POST, GET, request_text(PATH, BODY, Connection="close")]
    async with running_http(FakeFrontend(hold=True)) as http, await http.connect() as stream:
        for part in requests if apart else [b"".join(requests)]:
            await stream.send_all(part)
            await until(lambda: http.frontend.held)
        answers = b""
        with trio.fail_after(20):
            for statuses in (2, 3):
                await until(lambda: http.frontend.held)
                http.frontend.let_go()
                while answers.count(b"HTTP/1.1 200") < statuses:
                    answers += await stream.receive_some()
            while more := await stream.receive_some():
                answers += more
        assert answers.find(b"embedding") < answers.find(b"healthy") < answers.rfind(b"embedding")


async def test_above_the_bound_the_longest_idle_one_goes():
    async with running_http(max_connections=3) as http, AsyncExitStack() as stack:
        first, *others = [await stack.enter_async_context(await http.connect()) for _ in range(3)]
        for stream in (first, *others):
            await stream.send_all(GET)
            assert await stream.receive_some()
        one_more = await stack.enter_async_context(await http.connect())
        await one_more.send_all(GET)
        assert await one_more.receive_some()
        with trio.fail_after(20):  # well below the keep-alive time
            assert not await first.receive_some()
        for stream in others:
            await stream.send_all(GET)
            assert await stream.receive_some()


async def test_above_the_bound_no_call_is_ended():
    frontend = FakeFrontend(hold=True)
    async with running_http(frontend, max_connections=2) as http, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(await http.connect()) for _ in range(2)]
        for stream in streams:
            await stream.send_all(POST)
        await until(lambda: len(frontend.held) == len(streams))
        one_more = await stack.enter_async_context(await http.connect())
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            assert not await one_more.receive_some()
        frontend.let_go()
        for stream in streams:
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        last = await stack.enter_async_context(await http.connect())
        await last.send_all(GET)
        assert (await last.receive_some()).startswith(b"HTTP/1.1 200")


async def test_who_ends_its_own_side_has_gone_where_it_would_have_to_wait():
    """It cannot be told from who has hung up."""
    async with running_http(FakeFrontend(hold=True)) as http, await http.connect() as stream:
        await stream.send_all(POST)
        await until(lambda: http.frontend.held)
        await stream.send_eof()
        assert await stream.receive_some() == b""
        assert http.server._concurrency.taken == 0


async def test_who_ends_its_own_side_is_answered_what_needs_no_waiting(http):
    async with await http.connect() as stream:
        await stream.send_all(GET)
        await stream.send_eof()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def no_content(send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def empty_handed(_scope, _receive, send):
    await no_content(send)


@asynccontextmanager
async def a_line(app=empty_handed):
    """A connection in virtual time, whose requests' heads have ten seconds."""
    config = Config()
    config.read_timeout, config.keep_alive_timeout = 10, 75
    client, server = memory_stream_pair()
    address = partial(tuple, ("127.0.0.1", 1))
    server.socket = SimpleNamespace(family=socket.AF_INET, getpeername=address, getsockname=address)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connections(app, config, 1).handle, server)
        yield client
        nursery.cancel_scope.cancel()


async def trickle(stream, data, pause_s):
    """Send ``data`` byte by byte; until the server has hung up."""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        for byte in data:
            await stream.send_all(bytes([byte]))
            await trio.sleep(pause_s)


async def test_a_head_that_trickles_is_given_up(autojump_clock):
    async with a_line() as line:
        await trickle(line, GET + b"x" * 1000, pause_s=1)
        assert trio.current_time() == pytest.approx(10, abs=2)


async def test_a_slow_head_gets_through(autojump_clock):
    async with a_line() as line:
        for _ in range(2):
            await trickle(line, GET, pause_s=0.2)
            assert (await line.receive_some()).startswith(b"HTTP/1.1 204")
            await trio.sleep(60)  # idle


@pytest.mark.parametrize("piece", [1, 7, 10_000])
async def test_a_body_in_chunks_is_whole_however_it_comes(piece):
    """And chunks that came together are received together."""
    messages = []

    async def app(_scope, receive, send):
        messages.append([await receive()])
        while messages[-1][-1]["more_body"]:
            messages[-1].append(await receive())
        await no_content(send)

    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head + b"1\r\na\r\n2;x=y\r\nbc\r\n" * 500 + b"0\r\nTrailer: z\r\n\r\n"
    sent = request * 2
    async with a_line(app) as line:
        for start in range(0, len(sent), piece):
            await line.send_all(sent[start : start + piece])
        answers = b""
        while answers.count(b"HTTP/1.1 204") < 2:
            answers += await line.receive_some()
    for body in messages:
        assert b"".join(message["body"] for message in body) == b"abc" * 500
        assert len(body) < 10 or piece < 10_000
