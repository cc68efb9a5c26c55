"""What viewers of the live page are sent."""

import json
from contextlib import ExitStack

import pytest
import trio
from attrs import define, evolve
from frontend_fakes import FakeBoard

from pipeline.http.live.feed import MAX_VIEWERS, Feed
from pipeline.interface.status import (
    NOTHING_KNOWN,
    LoadSnapshot,
    ModelInfo,
    Phase,
    RequestLimits,
    ServerStatus,
)
from pipeline.observability.metrics import Metrics
from stages.errors import Overloaded

SERVING = evolve(
    NOTHING_KNOWN, phase=Phase.SERVING, status=ServerStatus.HEALTHY, accepting_requests=True
)


@define
class Board:
    snapshot: LoadSnapshot = SERVING
    model: ModelInfo | None = None
    limits: RequestLimits | None = None


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def feed(board, metrics, nursery) -> Feed:
    feed = Feed(board, metrics)
    nursery.start_soon(feed.run)
    return feed


async def next_event(events: trio.MemoryReceiveChannel[bytes], name: str) -> dict:
    async for written in events:
        for event in written.decode().split("\n\n"):
            first, _, data = event.partition("\n")
            if first == f"event: {name}":
                return json.loads(data.removeprefix("data: "))
    raise AssertionError(f"no {name} came")


@pytest.fixture
def watch(feed):
    with ExitStack() as stack:
        yield lambda: stack.enter_context(feed.viewer())


async def test_a_viewer_first_hears_the_history(watch, autojump_clock):
    await trio.sleep(3.7)
    hello = await next_event(watch(), "hello")
    begun = hello["seconds"][0]["t"]
    assert [round(second["t"] - begun) for second in hello["seconds"]] == [0, 1, 2]


async def test_the_history_is_bounded(watch, autojump_clock):
    await trio.sleep(400)
    assert len((await next_event(watch(), "hello"))["seconds"]) == 300


async def test_frames_say_how_the_server_is(watch, metrics, autojump_clock):
    metrics.watch_waiting(lambda: [(16, 3, 40)])
    frame = await next_event(watch(), "frame")
    assert frame["status"] == "healthy"
    assert frame["buckets"] == [[16, 3, 40]]
    assert frame["channels"] == {}


async def test_who_watches_a_start_hears_of_the_model(watch, board, autojump_clock):
    events = watch()
    assert (await next_event(events, "frame"))["model"] is None
    board.model = FakeBoard().model
    assert (await next_event(events, "frame"))["model"]["dimension"] == board.model.dimension


async def test_a_second_counts_what_happened_in_it(watch, metrics, autojump_clock):
    events = watch()
    await next_event(events, "second")
    for _ in range(5):
        metrics.refused(Overloaded("full", reason="drain_time", retry_after_s=1.0))
    second = await next_event(events, "second")
    assert second["refused"] == {"drain_time": 5.0}
    assert second["answered"] == 0.0
    assert (await next_event(events, "second"))["refused"] == {}


async def test_a_slow_viewer_loses_frames_and_holds_up_nobody(watch, autojump_clock):
    slow, quick = watch(), watch()
    moments = []
    with trio.move_on_after(60.2):
        while True:
            moments.append((await next_event(quick, "second"))["t"])
    assert len(moments) == 60
    assert slow.statistics().current_buffer_used == 4


async def test_viewers_are_let_go_when_the_server_drains(watch, board, autojump_clock):
    events = watch()
    await next_event(events, "frame")
    board.snapshot = evolve(SERVING, phase=Phase.DRAINING, status=ServerStatus.DRAINING)
    heard = [event async for event in events]
    assert b'"status":"draining"' in heard[-1]
    assert len([event async for event in watch()]) == 1


async def test_a_viewer_that_leaves_makes_room(feed, autojump_clock):
    with ExitStack() as others:
        for _ in range(MAX_VIEWERS - 1):
            others.enter_context(feed.viewer())
        assert not feed.is_full
        with feed.viewer():
            assert feed.is_full
        assert not feed.is_full


async def test_what_all_viewers_see_is_written_once(watch, autojump_clock):
    viewers = [watch() for _ in range(10)]
    for viewer in viewers:
        await viewer.receive()  # its own hello
    written = [await viewer.receive() for viewer in viewers]
    assert all(event is written[0] for event in written)
    await trio.sleep(0.99)
    with pytest.raises(trio.WouldBlock):
        viewers[0].receive_nowait()  # one piece a second, and no more
