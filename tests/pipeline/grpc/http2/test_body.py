"""A request's body as it comes."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from pipeline.grpc.http2.body import Body


async def read_all(body, sizes):
    return [await body.read(size) for size in sizes]


@given(st.lists(st.binary(max_size=9), max_size=9), st.lists(st.integers(0, 12), max_size=12))
def test_what_is_read_is_what_came_however_it_was_cut(pieces, sizes):
    acknowledged = []

    async def talk():
        body = Body(acknowledged.append)
        reader = asyncio.create_task(read_all(body, sizes))
        for piece in pieces:
            body.add(piece, len(piece) + 1)  # padded
            await asyncio.sleep(0)
        body.eof()
        return await reader, body.unacked_size()

    found, left = asyncio.run(talk())
    whole = b"".join(pieces)
    at = 0
    for data, size in zip(found, sizes, strict=True):
        assert data == whole[at : at + size]
        at += len(data)
    assert sum(acknowledged) + left == len(whole) + len(pieces)


def test_nothing_is_acknowledged_before_it_is_read():
    acknowledged = []

    async def talk():
        body = Body(acknowledged.append)
        body.add(b"12345", 5)
        body.add(b"678", 3)
        assert acknowledged == []
        assert await body.read(2) == b"12"
        assert acknowledged == [5]
        assert await body.read(4) == b"3456"
        assert acknowledged == [5, 3]
        assert body.unacked_size() == 0

    asyncio.run(talk())


def test_what_is_looked_at_together_is_acknowledged_together():
    acknowledged = []
    body = Body(acknowledged.append)
    for piece in (b"ab", b"cd", b"ef"):
        body.add(piece, 9)
    for pair in (b"ab", b"cd", b"ef"):
        assert acknowledged == []
        assert body.peek(2) == pair
        body.skip(2)
    assert acknowledged == [27]
    assert body.peek(1) is None


def test_who_waits_for_more_keeps_nothing_unacknowledged():
    acknowledged = []

    async def talk():
        body = Body(acknowledged.append)
        body.add(b"abc", 3)
        assert body.peek(2) == b"ab"
        body.skip(2)
        assert acknowledged == []
        reader = asyncio.create_task(body.read(2))
        await asyncio.sleep(0)
        assert sum(acknowledged) == 3
        body.add(b"d", 1)
        assert await reader == b"cd"
        assert sum(acknowledged) == 4

    asyncio.run(talk())


def test_a_reader_that_is_cancelled_hurts_nobody():
    async def talk():
        body = Body(lambda _: None)
        reader = asyncio.create_task(body.read(3))
        await asyncio.sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        body.add(b"abc", 3)
        assert await body.read(3) == b"abc"

    asyncio.run(talk())
