"""HTTP/1.1 and nothing else, over raw sockets."""

import tracemalloc

import orjson
import pytest
import trio
from http_fakes import request_text, running_http
from hypothesis import given
from hypothesis import strategies as st

from pipeline.http.connection.http1 import origin_form
from pipeline.security.access import Access, keys_of
from pipeline.security.key_ring import make_key

SEGMENTS = st.text(st.sampled_from("ab/%:@.?=&#~"), max_size=12)


async def answer_to(http, sent):
    """Status, headers and body of what comes back until the server closes."""
    async with await http.connect() as stream:
        await stream.send_all(sent)
        answer = b""
        while part := await stream.receive_some():
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def get(target, *headers):
    lines = [b"GET %s HTTP/1.1" % target, b"host: x", b"connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


@pytest.mark.parametrize(
    "target",
    [
        b"http://example.org/readyz",
        b"HTTPS://[::1]:8001/readyz?x=/y",
        b"http:///readyz",
        b"/readyz",
    ],
)
async def test_a_target_may_name_the_whole_address(http, target):
    status, _, body = await answer_to(http, get(target))
    assert (status, orjson.loads(body)["ready"]) == (200, True)


@pytest.mark.parametrize("target", [b"http://x", b"http://x?a=b"])
async def test_an_address_without_a_path_is_the_root(http, target):
    assert (await answer_to(http, get(target)))[1]["content-type"].startswith("text/html")


@pytest.mark.parametrize("target", [b"ftp://x/health", b"x:80", b"*", b"health", b"http:/health"])
async def test_what_is_no_address_of_ours_is_404(http, target):
    assert (await answer_to(http, get(target)))[0] == 404


async def test_the_whole_address_opens_no_door(tmp_path):
    (tmp_path / "keys").write_text(make_key("team-a")[1])
    async with running_http(access=Access(keys_of(tmp_path / "keys"))) as http:
        assert (await answer_to(http, get(b"http://x/v1/models")))[0] == 401
        assert (await answer_to(http, get(b"http://x/health")))[0] == 200


@given(host=st.sampled_from(["x", "x:80", "u@[::1]:1"]), path=SEGMENTS, query=SEGMENTS)
def test_scheme_and_host_are_what_is_cut_off(host, path, query):
    rest = f"/{path}?{query}".encode()
    assert origin_form(b"http://" + host.encode() + rest) == rest
    assert origin_form(rest) == rest


@pytest.mark.parametrize("behind", [b"\r\n", b"no HTTP", b"x" * 100_000, get(b"/livez")])
async def test_what_comes_behind_the_last_request_is_thrown_away(http, behind):
    sent = request_text("/embed", b'{"inputs": "a"}', Connection="close")
    status, _, body = await answer_to(http, sent + behind)
    assert (status, len(orjson.loads(body))) == (200, 1)


async def test_it_is_not_kept_either(http):
    """While the answer is still to come."""
    http.frontend.hold = True
    async with await http.connect() as stream:
        await stream.send_all(request_text("/embed", b'{"inputs": "a"}', Connection="close"))
        while not http.frontend.held:
            await trio.lowlevel.checkpoint()
        tracemalloc.start()
        try:
            for _ in range(100):
                await stream.send_all(b"x" * 65536)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 1 << 20
        http.frontend.let_go()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n" * 100])
async def test_empty_lines_before_a_request_are_passed_over(http, empty):
    request = request_text("/embed", b'{"inputs": "a"}')
    last = request_text("/embed", b'{"inputs": "a"}', Connection="close")
    async with await http.connect() as stream:
        for part in (empty, request + empty, empty + last):
            await stream.send_all(part)
        answers = b""
        while part := await stream.receive_some():
            answers += part
    assert (answers.count(b"HTTP/1.1 "), answers.count(b"HTTP/1.1 200")) == (2, 2)


async def test_an_empty_line_behind_a_request_hides_no_hang_up(http):
    http.frontend.hold = True
    async with await http.connect() as stream:
        await stream.send_all(request_text("/embed", b'{"inputs": "a"}') + b"\r\n")
        while not http.frontend.held:
            await trio.lowlevel.checkpoint()
    with trio.fail_after(20):
        while http.server._concurrency.taken:
            await trio.lowlevel.checkpoint()


UPGRADES = [
    (b"upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: AAAAAAAAAAAAAAAA"),
    (b"upgrade: h2c", b"http2-settings: AAA"),
]


@pytest.mark.parametrize("upgrade", UPGRADES, ids=["websocket", "h2c"])
async def test_who_asks_for_another_protocol_is_answered_in_this_one(http, upgrade):
    sent = get(b"/health", *upgrade).replace(b"connection: close", b"connection: upgrade, close")
    status, headers, _ = await answer_to(http, sent)
    assert status == 200
    assert "upgrade" not in headers


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        (b"no HTTP\r\n\r\n", 400, "HTTP/1.1"),
        (b"\r\n " + get(b"/health"), 400, "HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "HTTP/1.1"),  # no host
        (get(b"/health", b"host: y"), 400, "HTTP/1.1"),
        (get(b"/health", b"x: " + b"y" * 70_000), 431, "bytes"),
        (request_text("/embed", b"{}", Transfer_Encoding="gzip"), 501, "chunked"),
        (request_text("/embed", b"{}", Content_Length="-1"), 400, "HTTP/1.1"),
        (request_text("/embed", b"0\r\n\r\n", Transfer_Encoding="chunked"), 400, "HTTP/1.1"),
    ],
)
async def test_what_is_no_http_is_told_so(http, sent, status, why):
    found, headers, body = await answer_to(http, sent)
    assert (found, headers["connection"]) == (status, "close")
    assert len(headers["x-request-id"]) == 32
    assert why in orjson.loads(body)["error"]
