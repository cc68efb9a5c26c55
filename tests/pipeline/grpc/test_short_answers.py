"""Answers and refusals by the fast path are those of h2's own way."""

import pytest
from h2.settings import SettingCodes
from h2_pair import OPENING, TRAILERS, Pair, facts, opened
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grpc.trailers import hpack_block, plain_block


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=8))
def test_a_short_answer_is_the_answer(sizes):
    pair = Pair()
    for size in sizes:
        number = opened(pair)
        pair.client.send_data(number, b"request", end_stream=True)
        pair.hear()
        seen = pair.answer(number, bytes(size))
        kinds = [kind.__name__ for kind, _ in seen]
        assert kinds == ["ResponseReceived", "DataReceived", "TrailersReceived", "StreamEnded"]
    assert facts(pair.short) == facts(pair.plain)


@given(st.lists(st.one_of(st.integers(120, 260), st.integers(0, 16_000)), min_size=1, max_size=8))
def test_a_short_refusal_is_the_refusal(sizes):
    pair = Pair()
    for size in sizes:
        number = opened(pair)
        pair.client.send_data(number, b"request", end_stream=True)
        pair.hear()
        trailers = [(":status", "200"), ("grpc-status", "14"), ("grpc-message", "~" * size)]
        response, ended = pair.refuse(number, trailers)
        assert [(name.decode(), text.decode()) for name, text in response.headers] == trailers
        assert type(ended).__name__ == "StreamEnded"


def halves(pair):
    number = opened(pair)
    pair.hear()
    return number


def over_the_frame(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.max_outbound_frame_size = 3
    return number


def over_the_window(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.streams[number].outbound_flow_control_window = 3
    return number


def over_the_connection(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.outbound_flow_control_window = 3
    return number


def before_a_resize(pair):
    number = opened(pair, end_stream=True)
    pair.client.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0})
    pair.hear()
    return number


def after_the_opening(pair):
    number = opened(pair, end_stream=True)
    pair.hear()
    pair.short.send_headers(number, OPENING)
    pair.short.data_to_send()
    return number


@pytest.mark.parametrize(
    "prepare",
    [
        halves,
        over_the_frame,
        over_the_window,
        over_the_connection,
        before_a_resize,
        after_the_opening,
        lambda pair: 99,
    ],
)
def test_an_answer_that_is_not_plain_is_left_to_h2(prepare):
    pair = Pair()
    first = opened(pair)  # only then is h2's connection open
    pair.client.reset_stream(first)
    pair.hear()
    number = prepare(pair)
    before = facts(pair.short)
    assert not pair.short.answer(number, hpack_block(OPENING), b"data", hpack_block(TRAILERS))
    assert facts(pair.short) == before
    assert pair.short.data_to_send() == b""


@pytest.mark.parametrize(
    "prepare",
    [halves, over_the_frame, before_a_resize, after_the_opening, lambda pair: 99],
)
def test_a_refusal_that_is_not_plain_is_left_to_h2(prepare):
    pair = Pair()
    first = opened(pair)
    pair.client.reset_stream(first)
    pair.hear()
    number = prepare(pair)
    before = facts(pair.short)
    assert not pair.short.refuse(number, plain_block(TRAILERS))
    assert facts(pair.short) == before
    assert pair.short.data_to_send() == b""
