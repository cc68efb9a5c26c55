"""The live page and its events, over a real loopback socket."""

import json
import re

from pipeline.http.live.feed import MAX_VIEWERS

WATCH = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_the_page_needs_nothing_from_anywhere_else(http):
    reply = await http.get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.search(r"(src|href)=\"(?!#|data:)|@import|url\(", reply.text)
    assert "/*style*/" not in reply.text
    assert "/*script*/" not in reply.text


async def test_a_viewer_is_sent_the_history_first(http):
    async with await http.connect() as stream:
        await stream.send_all(WATCH)
        heard = b""
        while b"\n\n" not in heard.partition(b"\r\n\r\n")[2]:
            heard += await stream.receive_some()
    assert b"text/event-stream" in heard
    hello = json.loads(re.search(rb"event: hello\ndata: (.*)", heard)[1])
    assert hello == {"seconds": []}


async def test_viewers_are_bounded_and_one_that_leaves_makes_room(http):
    watching = [await http.connect() for _ in range(MAX_VIEWERS)]
    for stream in watching:
        await stream.send_all(WATCH)
        assert b"200" in await stream.receive_some()
    refused = await http.get("/live")
    assert refused.status_code == 503
    assert str(MAX_VIEWERS) in refused.json()["error"]
    await watching.pop().aclose()
    while b"200" not in await _answer(http):  # pytest's timeout bounds the wait
        pass
    for stream in watching:
        await stream.aclose()


async def test_head_of_the_events_is_answered_and_watches_nothing(http):
    async with await http.connect() as stream:
        for _ in range(MAX_VIEWERS + 1):
            await stream.send_all(WATCH.replace(b"GET", b"HEAD"))
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 200")
            assert b"text/event-stream" in answer
            assert answer.endswith(b"\r\n\r\n")


async def _answer(http):
    stream = await http.connect()
    async with stream:
        await stream.send_all(WATCH)
        return await stream.receive_some()
