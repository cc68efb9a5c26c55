"""What Embed refuses, and with which words and status."""

import numpy as np
import pytest
from attrs import evolve
from edge_fakes import (
    LIMITS,
    SNAPSHOT,
    FakeBoard,
    FakeFrontend,
)
from edge_fakes import running_edge as running
from grpc import StatusCode, insecure_channel
from penstock.v1 import embedding_pb2 as pb
from rpc import EMBED, fields_at_fault, method, refused, trailer

from pipeline.interface.status import Phase
from stages.errors import DeadlineExceeded, Internal, NotServing, Overloaded, TooLarge


def i32(*values):
    return np.asarray(values, "<i4").tobytes()


MANY = ["a"] * (LIMITS.max_items + 1)


BAD = {
    "no items": (pb.EmbedRequest(), "no items", "texts"),
    "both": (
        pb.EmbedRequest(texts=["a"], token_ids=i32(1), lengths=i32(1)),
        "both texts and token_ids",
        "texts",
    ),
    "ids without lengths": (pb.EmbedRequest(token_ids=i32(1)), "lengths: no items", "lengths"),
    "lengths without ids": (pb.EmbedRequest(lengths=i32(1)), "add up to 1", "lengths"),
    "odd bytes": (
        pb.EmbedRequest(token_ids=b"12345", lengths=i32(1)),
        "token_ids: 5 bytes",
        "token_ids",
    ),
    "odd lengths": (
        pb.EmbedRequest(token_ids=i32(1), lengths=b"12345"),
        "lengths: 5 bytes",
        "lengths",
    ),
    "lengths that do not add up": (
        pb.EmbedRequest(token_ids=i32(1, 2), lengths=i32(1)),
        "add up to 1 ids",
        "lengths",
    ),
    "zero length": (
        pb.EmbedRequest(token_ids=i32(1), lengths=i32(1, 0)),
        "item 1 has length 0",
        "lengths[1]",
    ),
    "negative length": (
        pb.EmbedRequest(token_ids=i32(1), lengths=i32(-1, 2)),
        "item 0 has length -1",
        "lengths[0]",
    ),
    "unknown id": (
        pb.EmbedRequest(token_ids=i32(1, 1000), lengths=i32(1, 1)),
        "item 1 has an id outside the vocabulary 0 ... 999",
        "token_ids[1]",
    ),
    "negative id": (
        pb.EmbedRequest(token_ids=i32(-1), lengths=i32(1)),
        "item 0 has an id outside",
        "token_ids[0]",
    ),
    "encoding": (
        pb.EmbedRequest(texts=["a"], encoding=9),
        "encoding: 9 is not one of FLOAT32",
        "encoding",
    ),
    "priority": (
        pb.EmbedRequest(texts=["a"], priority=-1),
        "priority: -1 is not one of",
        "priority",
    ),
    "truncation direction": (
        pb.EmbedRequest(texts=["a"], truncation_direction=2),
        "truncation_direction: 2 is not one of RIGHT (0), LEFT (1)",
        "truncation_direction",
    ),
    "prompt": (
        pb.EmbedRequest(texts=["a"], prompt_name="secret"),
        "no such prompt; this model has: passage, query",
        "prompt_name",
    ),
    "no dimensions": (
        pb.EmbedRequest(texts=["a"], dimensions=0),
        "0 is not in 1 ... 8",
        "dimensions",
    ),
    "too many dimensions": (
        pb.EmbedRequest(texts=["a"], dimensions=9),
        "9 is not in 1 ... 8",
        "dimensions",
    ),
}


TOO_LARGE = {
    "items": (pb.EmbedRequest(texts=MANY), "65 items; at most 64"),
    "ids": (pb.EmbedRequest(token_ids=i32(*[1] * 65), lengths=i32(*[1] * 65)), "65 items"),
    "a text": (pb.EmbedRequest(texts=["a", "b" * 4097]), "item 1 has 4097 bytes; at most 4096"),
    "an item's ids": (
        pb.EmbedRequest(token_ids=i32(*[1] * 1025), lengths=i32(1025)),
        "item 0 has 4100 bytes",
    ),
    "bytes": (pb.EmbedRequest(request_id="r" * (1 << 20)), "at most 1048576 are allowed"),
}


@pytest.fixture
def neighbour():
    """A call in flight on the same connection, which must not be harmed."""
    with running(FakeFrontend(hold=True)) as edge, insecure_channel(edge.target) as channel:
        embed = method(channel, EMBED, pb.EmbedResponse)
        future = embed.future(pb.EmbedRequest(texts=["neighbour"]))
        edge.frontend.wait_for(lambda frontend: frontend.held)
        yield embed
        assert len(edge.frontend.submitted) == 1  # nothing bad was handed in
        edge.in_trio(edge.frontend.let_go)
        assert future.result(timeout=10).count == 1


def test_every_bad_input_is_refused_with_its_place(neighbour):
    for name, (request, message, place) in BAD.items():
        error = refused(neighbour, request)
        assert error.code() is StatusCode.INVALID_ARGUMENT, name
        assert message in error.details(), name
        assert fields_at_fault(error) == [place], name
        assert "secret" not in error.details(), name


def test_every_excess_is_told_from_a_fault(neighbour):
    for name, (request, message) in TOO_LARGE.items():
        error = refused(neighbour, request)
        assert error.code() is StatusCode.RESOURCE_EXHAUSTED, name
        assert message in error.details(), name
        assert trailer(error, "grpc-retry-pushback-ms") is None, name


@pytest.mark.parametrize(
    ("error", "code", "pushback"),
    [
        (Overloaded("full", reason="latency", retry_after_s=0.25), StatusCode.UNAVAILABLE, "250"),
        (NotServing("restarted", retry_after_s=2), StatusCode.UNAVAILABLE, "2000"),
        (DeadlineExceeded("late"), StatusCode.DEADLINE_EXCEEDED, None),
        (TooLarge("large"), StatusCode.RESOURCE_EXHAUSTED, None),
        (Internal("broken"), StatusCode.INTERNAL, None),
    ],
)
def test_each_outcome_has_its_status(error, code, pushback):
    frontend = FakeFrontend(answer=lambda _: error)
    with running(frontend) as edge, insecure_channel(edge.target) as channel:
        call = method(channel, EMBED, pb.EmbedResponse)
        got = refused(call, pb.EmbedRequest(texts=["a"]))
    assert (got.code(), got.details()) == (code, error.message)
    assert trailer(got, "grpc-retry-pushback-ms") == pushback


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        (Phase.LOADING, "loading"),
        (Phase.DRAINING, "shutting down"),
        (Phase.FAILED, "failed"),
        (Phase.SERVING, "overloaded"),
    ],
)
def test_work_is_refused_early_with_the_reason(phase, message):
    snapshot = evolve(SNAPSHOT, phase=phase, accepting_requests=False, retry_after_s=0.5)
    with (
        running(board=FakeBoard(snapshot=snapshot)) as edge,
        insecure_channel(edge.target) as channel,
    ):
        got = refused(method(channel, EMBED, pb.EmbedResponse), pb.EmbedRequest(texts=["a"]))
        assert got.code() is StatusCode.UNAVAILABLE
        assert message in got.details()
        assert trailer(got, "grpc-retry-pushback-ms") == "500"
        assert edge.frontend.submitted == []
