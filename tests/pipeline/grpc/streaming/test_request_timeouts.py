"""What becomes of a stream's requests when their time is up."""

import asyncio
from math import inf

import pytest

from pipeline.grpc.streaming.request_timeouts import RequestTimeouts
from pipeline.grpc.streaming.stream_request import StreamRequest
from stages.errors import DeadlineExceeded

WAIT_S = 0.01


class Stream:
    """Where answers arrive."""

    def __init__(self):
        self.errors, self.over = [], asyncio.Event()

    def failed(self, entry, error):
        entry.answer = b""
        self.timeouts.remove(entry)
        self.errors.append(error)
        self.over.set()


async def waiting(stream_ends_in_s):
    """A stream that ends then, with one request that waits for ``WAIT_S`` at most."""
    now, stream = asyncio.get_running_loop().time(), Stream()
    ends_at = now + stream_ends_in_s
    stream.timeouts = RequestTimeouts(WAIT_S, ends_at)
    stream.timeouts.add(StreamRequest(stream, None, min(now + WAIT_S, ends_at)))
    stream.timeouts.watch()
    return stream


@pytest.mark.parametrize("stream_ends_in_s", [60.0, inf])
def test_a_request_fails_when_its_time_is_up(stream_ends_in_s):
    async def run():
        stream = await waiting(stream_ends_in_s)
        await asyncio.wait_for(stream.over.wait(), 20)
        assert [type(error) for error in stream.errors] == [DeadlineExceeded]

    asyncio.run(run())


@pytest.mark.parametrize("stream_ends_in_s", [WAIT_S / 2, WAIT_S])
def test_one_that_waits_as_long_as_its_stream_ends_with_that(stream_ends_in_s):
    async def run():
        stream = await waiting(stream_ends_in_s)
        later = await waiting(inf)  # fails after the other would have
        await asyncio.wait_for(later.over.wait(), 20)
        assert not stream.errors
        assert len(stream.timeouts) == 1

    asyncio.run(run())
