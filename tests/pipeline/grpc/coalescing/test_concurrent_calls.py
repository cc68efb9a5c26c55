"""Calls of Embed that arrive at once: they go in together, and each has its own end."""

import pytest
from attrs import evolve
from edge_fakes import LIMITS, FakeBoard, FakeFrontend, answer_to, items, running_edge
from penstock.v1.embedding_pb2 import EmbedResponse
from raw_client import framed, raw_client
from stream_talk import first_values, texts, unframed

from pipeline.grpc.coalescing import coalesced_embed
from stages.errors import Internal, InvalidInput

OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL = 0, 3, 8, 13
CALLS = 12


@pytest.fixture
def raw():
    """An edge that keeps what it is asked, and a client of it."""
    with running_edge(FakeFrontend(hold=True)) as edge, raw_client(edge.port) as client:
        yield edge, client


def ask(client, number, **options):
    """Queue a call whose text has so many letters."""
    return client.open(body=framed(texts(f"r{number}", "x" * number)), **options)


def held(edge, calls):
    """What the frontend has of so many calls."""
    edge.frontend.wait_for(lambda frontend: items(frontend.held) == calls)
    return [request for request, _ in edge.frontend.held]


def answered(client, stream) -> EmbedResponse:
    assert client.result(stream) == OK
    (answer,) = unframed(client.data[stream])
    return answer


def test_calls_that_come_at_once_go_in_as_one_and_each_gets_its_own(raw):
    edge, client = raw
    streams = {number: ask(client, number) for number in range(1, CALLS)}
    client.flush()
    (request,) = held(edge, CALLS - 1)
    assert (request.requests, request.request_id) == (CALLS - 1, "r1")
    edge.in_trio(edge.frontend.let_go)
    for number, stream in streams.items():
        answer = answered(client, stream)
        assert (answer.request_id, answer.count) == (f"r{number}", 1)
        assert first_values(answer) == [number + 1.0]


def test_a_call_waits_for_no_other(raw):
    edge, client = raw
    for number in range(1, 4):
        ask(client, number)
        client.flush()
        assert held(edge, number)[-1].requests == 1


def test_who_has_less_time_or_another_place_in_a_trace_goes_apart(raw):
    edge, client = raw
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    for extra in ((), [("grpc-timeout", "5S")], [("traceparent", trace)]):
        ask(client, 1, extra=extra)
        ask(client, 2, extra=extra)
    client.flush()
    assert [request.requests for request in held(edge, 6)] == [2, 2, 2]
    assert {request.traceparent for request in held(edge, 6)} == {"", trace}
    times = sorted(timeout_s for _, timeout_s in edge.frontend.submitted)
    assert times[0] <= 5.0 < times[1]


def test_one_call_that_is_over_leaves_the_others_waiting(raw):
    edge, client = raw
    gone, stays = ask(client, 1), ask(client, 2)
    client.flush()
    (request,) = held(edge, 2)
    assert request.requests == 2
    client.h2.reset_stream(gone)
    client.barrier()
    assert edge.frontend.abandoned == []
    edge.in_trio(edge.frontend.let_go)
    assert first_values(answered(client, stays)) == [3.0]


def test_when_the_last_has_gone_the_request_is_abandoned(raw):
    edge, client = raw
    streams = [ask(client, number) for number in range(1, 4)]
    client.flush()
    held(edge, 3)
    for stream in streams[:2]:
        client.h2.reset_stream(stream)
    client.barrier()
    assert edge.frontend.abandoned == []
    client.h2.reset_stream(streams[2])
    client.flush()
    edge.frontend.wait_for(lambda frontend: len(frontend.abandoned) == 1)


def test_what_is_wrong_with_one_call_is_told_to_it_alone():
    def answer(request):
        if "bad" in request.texts:
            return InvalidInput("it cannot be pooled", item=request.texts.index("bad"))
        return answer_to(request)

    board = FakeBoard(limits=evolve(LIMITS, max_items=4))
    with (
        running_edge(FakeFrontend(answer=answer), board) as edge,
        raw_client(edge.port) as client,
    ):
        good = [ask(client, number) for number in range(1, 4)]
        bad = client.open(body=framed(texts("bad", "bad")))
        many = client.open(body=framed(texts("many", *"abcde")))
        client.flush()
        for number, stream in enumerate(good, 1):
            assert first_values(answered(client, stream)) == [number + 1.0]
        assert client.result(bad) == INVALID_ARGUMENT
        assert client.result(many) == RESOURCE_EXHAUSTED


def test_what_goes_wrong_when_they_are_handed_in_is_told_to_all(monkeypatch):
    def broken(_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(coalesced_embed.grouping, "coalesced", broken)
    with running_edge() as edge, raw_client(edge.port) as client:
        streams = [ask(client, number) for number in range(1, 4)]
        client.flush()
        assert [client.result(stream) for stream in streams] == [INTERNAL] * 3


def test_a_failure_of_the_server_is_counted_once_by_those_behind_it():
    refused = []
    frontend = FakeFrontend(answer=lambda _: Internal("the server failed"))
    with (
        running_edge(frontend, on_refused=refused.append) as edge,
        raw_client(edge.port) as client,
    ):
        streams = [ask(client, number) for number in range(1, 4)]
        client.flush()
        assert [client.result(stream) for stream in streams] == [INTERNAL] * 3
    assert refused == []
