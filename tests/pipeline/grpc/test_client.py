import asyncio
import threading

import numpy as np
import pytest
from attrs import evolve
from edge_fakes import SNAPSHOT, FakeBoard, FakeDesk, answer_to, running_edge

from pipeline.grpc import client
from stages.answer import ItemError
from stages.errors import Overloaded


def texts(count):
    return ["x" * (index % 50) for index in range(count)]


def norm(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def expected(wanted):
    base = np.arange(8, dtype=np.float64)
    return norm(np.stack([base + len(text) + 1 for text in wanted]))


def test_vectors_come_in_the_order_of_the_texts():
    wanted, told = texts(500), []
    with running_edge() as edge:
        vectors = client.embed_texts(edge.target, iter(wanted), on_progress=told.append)
    np.testing.assert_allclose(vectors, expected(wanted), atol=1e-6)
    assert sum(told) == 500
    assert len(edge.desk.submitted) == 8


def test_calls_are_bounded_in_bytes():
    with running_edge(board=FakeBoard()) as edge:
        client.embed_texts(edge.target, ["y" * 4096] * 100)
        sizes = [sum(map(len, request.texts)) for request, _ in edge.desk.submitted]
    assert max(sizes) <= client.CALL_BYTES
    assert sum(sizes) == 100 * 4096


def test_rows_go_where_they_are_wanted():
    out = np.zeros((100, 8), np.float32)
    with running_edge() as edge:
        assert client.embed_texts(edge.target, texts(100), out=out) is out
    np.testing.assert_allclose(out, expected(texts(100)), atol=1e-6)


def test_an_overloaded_server_is_tried_again_when_it_says():
    refusals = iter([0.01, 0.02])

    def answer(request):
        for after_s in refusals:
            return Overloaded("full", reason="latency", retry_after_s=after_s)
        return answer_to(request)

    with running_edge(FakeDesk(answer=answer)) as edge:
        assert client.embed_texts(edge.target, ["a"]).shape == (1, 8)
        assert len(edge.desk.submitted) == 3


class PausesTakeNoTime:
    """asyncio as the client sees it, with a clock that only its pauses move."""

    def __init__(self):
        self.now = 0.0

    def __getattr__(self, name):
        return getattr(asyncio, name)

    def get_running_loop(self):
        return self

    def time(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch):
    clock = PausesTakeNoTime()
    monkeypatch.setattr(client, "asyncio", clock)
    return clock


class UnluckyDesk(FakeDesk):
    """Refuses the one call again and again, each time when it has just answered another."""

    def __init__(self, unlucky, others):
        super().__init__(hold=True)
        self.unlucky, self.others = unlucky, others
        self.refused = 0

    def submit(self, request, **options):
        ticket = super().submit(request, **options)
        losers = [call for call in self.held if call[0].texts[0] == self.unlucky]
        winners = [call for call in self.held if call not in losers]
        if losers and not self.others:
            self.let_go()
        elif losers and winners:
            (_, refuse), (request, reply) = losers[0], winners[0]
            self.held = winners[1:]
            self.others -= 1
            self.refused += 1
            reply(self.answer(request))
            refuse(Overloaded("full", reason="latency", retry_after_s=10.0))
        return ticket


def test_a_call_that_keeps_losing_waits_on_while_others_get_through(clock, monkeypatch):
    monkeypatch.setattr(client, "PATIENCE_S", 60.0)  # answers may be read out of order a little
    wanted = ["unlucky"] + ["z"] * (20 * client.CALL_ITEMS - 1)
    desk = UnluckyDesk("unlucky", others=19)
    with running_edge(desk) as edge:
        vectors = client.embed_texts(edge.target, wanted)
    np.testing.assert_allclose(vectors, expected(wanted), atol=1e-6)
    assert desk.refused == 19
    assert clock.now > 3 * client.PATIENCE_S


def test_a_run_in_which_nothing_succeeds_gives_up(clock):
    full = Overloaded("full", reason="latency", retry_after_s=9.0)
    with running_edge(FakeDesk(answer=lambda _: full)) as edge:
        with pytest.raises(client.ClientError, match="the server refused: full"):
            client.embed_texts(edge.target, ["a"])
        assert len(edge.desk.submitted) == 1 + client.PATIENCE_S // 9
    assert clock.now <= client.PATIENCE_S


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(client, "PATIENCE_S", 0.2)
    board = FakeBoard(snapshot=evolve(SNAPSHOT, accepting_requests=False, retry_after_s=9))
    with (
        running_edge(board=board) as edge,
        pytest.raises(client.ClientError, match="refused: overloaded"),
    ):
        client.embed_texts(edge.target, ["a"])


def test_what_cannot_succeed_is_not_tried_again():
    with running_edge() as edge:
        with pytest.raises(client.ClientError, match="no such prompt; this model has: passage"):
            client.embed_texts(edge.target, ["a"], prompt_name="nothing")
        assert edge.desk.submitted == []


def test_a_failed_item_is_named_by_its_place_in_the_whole():
    def answer(request):
        if "bad" in request.texts:
            place = request.texts.index("bad")
            return answer_to(request, errors=(ItemError(place, "INTERNAL", "not finite"),))
        return answer_to(request)

    with (
        running_edge(FakeDesk(answer=answer)) as edge,
        pytest.raises(client.ClientError, match="text 77: not finite"),
    ):
        client.embed_texts(edge.target, ["good"] * 77 + ["bad"])


def test_a_server_that_goes_away_is_said(monkeypatch):
    monkeypatch.setattr(client, "PATIENCE_S", 0.1)
    desk = FakeDesk(hold=True)
    with running_edge(desk) as edge:

        def stop():
            desk.wait_for(lambda desk: desk.held)
            edge.stop()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(client.ClientError, match=r"refused|lost|cannot reach"):
            client.embed_texts(edge.target, ["a"])
        thread.join()


def test_no_server_is_said_in_words():
    with running_edge() as edge:
        target = edge.target
    for call in (client.info, lambda target: client.embed_texts(target, ["a"])):
        with pytest.raises(client.ClientError, match=f"at {target}: Connection refused"):
            call(target)


@pytest.mark.parametrize("target", ["", "x:y", ":5", "host:0", "host:70000"])
def test_what_is_no_address_is_said(target):
    with pytest.raises(client.ClientError, match="give host:port"):
        client.info(target)


def test_no_texts_are_an_error():
    with running_edge() as edge, pytest.raises(client.ClientError, match="no texts"):
        client.embed_texts(edge.target, [])


def test_info_is_flat_and_plain():
    with running_edge() as edge:
        facts = client.info(edge.target)
    assert facts["model_id"] == "fake"
    assert facts["prompt_names"] == ["passage", "query"]
    assert facts["max_items"] == 64
    assert {type(value) for value in facts.values()} <= {str, int, bool, float, list}
