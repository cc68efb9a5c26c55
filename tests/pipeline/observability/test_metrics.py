"""Metrics, as a scrape reads them."""

import re
import threading
from pathlib import Path

import pytest
import trio
from attrs import evolve
from series import FakeBoard, read

from pipeline.interface.status import NOTHING_KNOWN, Phase
from pipeline.observability.metrics import CHANNELS, STAGES, Metrics
from pipeline.observability.outcomes import CODES, REASONS
from stages.errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotServing,
    Overloaded,
    TooLarge,
)

ROOT = Path(__file__).parents[3]


def samples(metrics):
    return [sample for family in metrics.collect() for sample in family.samples]


def test_every_series_is_there_and_zero_at_the_start(metrics):
    zero = {sample.name for sample in samples(metrics) if sample.value == 0}
    nonzero = {(s.name, *s.labels.values()) for s in samples(metrics) if s.value != 0}
    assert nonzero == {("penstock_up",), ("penstock_status", "loading")}
    for code in CODES:
        assert read(metrics, "requests_total", code=code) == 0
    for reason in REASONS:
        assert read(metrics, "refusals_total", reason=reason) == 0
    for stage in STAGES:
        assert read(metrics, "stage_seconds_count", stage=stage) == 0
        assert read(metrics, "stage_restarts_total", stage=stage) == 0
    for stage in CHANNELS:
        assert read(metrics, "channel_depth_messages", stage=stage) == 0
        assert read(metrics, "channel_capacity_messages", stage=stage) == 0
    for layout in ("packed", "bucketed"):
        assert read(metrics, "batches_total", layout=layout) == 0
    assert {
        "penstock_items_total",
        "penstock_tokens_total",
        "penstock_padding_tokens_total",
        "penstock_wasted_tokens_total",
        "penstock_failed_batches_total",
        "penstock_device_busy_seconds_total",
        "penstock_request_duration_seconds_count",
        "penstock_batch_fill_ratio_count",
        "penstock_batch_items_count",
        "penstock_batch_tokens_count",
        "penstock_batch_seconds_count",
        "penstock_ready",
        "penstock_open_requests",
        "penstock_queued_tokens",
        "penstock_backlog_seconds",
        "penstock_service_rate_tokens_per_second",
        "penstock_device_queue_batches",
        "penstock_uptime_seconds",
    } <= zero


def test_work_adds_no_series(metrics, journey):
    before = {(sample.name, *sample.labels.items()) for sample in samples(metrics)}
    journey.whole()
    journey.tickets.abandon(journey.open(), 1.0)
    assert before == {(sample.name, *sample.labels.items()) for sample in samples(metrics)}


def test_an_answered_request_is_counted_once_with_its_time(metrics, journey):
    journey.whole(items=3, step=0.5)
    assert read(metrics, "requests_total", code="ok") == 1
    assert read(metrics, "request_duration_seconds_count") == 1
    assert read(metrics, "request_duration_seconds_sum") == 3.0
    assert read(metrics, "request_duration_seconds_bucket", le="2.5") == 0
    assert read(metrics, "request_duration_seconds_bucket", le="5.0") == 1
    assert read(metrics, "items_total", device="0") == 3
    assert read(metrics, "tokens_total", device="0") == 30


def test_the_time_in_each_stage_is_its_own(metrics, journey):
    journey.whole(step=0.25)
    journey.whole(step=0.25, begin=10.0)
    for stage in STAGES:
        assert read(metrics, "stage_seconds_count", stage=stage) == 2, stage
        assert read(metrics, "stage_seconds_sum", stage=stage) == pytest.approx(0.5), stage


def test_a_request_in_parts_counts_its_last_part_at_notification(metrics, journey):
    ticket = journey.open(4)
    first, rest = journey.to_planner(ticket, begin=0.0, step=1.0).split(1)
    journey.deliver(journey.run([first], begin=4.0, step=1.0), now=5.5)
    journey.deliver(journey.run([rest], begin=8.0, step=1.0), now=9.25)
    assert read(metrics, "stage_seconds_count", stage="notification") == 1
    assert read(metrics, "stage_seconds_sum", stage="notification") == 0.25
    assert read(metrics, "stage_seconds_count", stage="batching") == 2
    assert read(metrics, "stage_seconds_sum", stage="batching") == 1.0 + 5.0
    assert read(metrics, "requests_total", code="ok") == 1


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidInput("no items"), "invalid_argument", None),
        (TooLarge("too many items"), "resource_exhausted", "too_large"),
        (Overloaded("later", reason="latency", retry_after_s=1.0), "unavailable", "latency"),
        (NotServing("draining"), "unavailable", "not_serving"),
        (DeadlineExceeded("too late"), "deadline_exceeded", None),
        (Internal("oh"), "internal", None),
    ],
)
@pytest.mark.parametrize("at_the_door", [True, False])
def test_an_error_is_counted_by_code_and_reason(metrics, journey, error, code, reason, at_the_door):
    if at_the_door:
        metrics.refused(error)
    else:
        journey.tickets.fail(journey.open(), error, 2.0)
    assert read(metrics, "requests_total", code=code) == 1
    assert read(metrics, "requests_total", code="ok") == 0
    refusals = {r: read(metrics, "refusals_total", reason=r) for r in REASONS}
    assert refusals == {r: int(r == reason) for r in REASONS}
    assert read(metrics, "request_duration_seconds_count") == (0 if at_the_door else 1)


def test_requests_that_travel_together_are_all_counted(metrics, journey):
    ticket = journey.tickets.open("r", 4, deadline=9.0, reply=lambda _: None, now=1.0, requests=3)
    journey.tickets.fail(ticket, Overloaded("later", reason="latency", retry_after_s=1.0), 1.5)
    assert read(metrics, "requests_total", code="unavailable") == 3
    assert read(metrics, "refusals_total", reason="latency") == 3
    assert read(metrics, "request_duration_seconds_count") == 3
    assert read(metrics, "request_duration_seconds_sum") == 1.5


def test_every_reason_that_the_server_refuses_for_is_a_series_from_the_start():
    files = [path for folder in ("pipeline", "stages") for path in (ROOT / folder).rglob("*.py")]
    found = {r for path in files for r in re.findall(r'reason="(\w+)"', path.read_text())}
    assert found
    assert found <= set(REASONS)


def test_a_caller_who_went_away_is_cancelled(metrics, journey):
    ticket = journey.open()
    journey.to_planner(ticket, begin=0.0, step=1.0)
    journey.tickets.abandon(ticket, 7.0)
    assert read(metrics, "requests_total", code="cancelled") == 1
    assert read(metrics, "stage_seconds_count", stage="batching") == 0


def test_restarts_by_stage(metrics):
    metrics.restarted("bucketing")
    metrics.restarted("bucketing")
    metrics.restarted("grpc")
    assert read(metrics, "stage_restarts_total", stage="bucketing") == 2
    assert read(metrics, "stage_restarts_total", stage="grpc") == 1


async def test_channels_are_read_at_the_scrape(metrics):
    send, receive = trio.open_memory_channel(8)
    metrics.watch_channel("batching", receive.statistics, 8)
    assert read(metrics, "channel_depth_messages", stage="batching") == 0
    assert read(metrics, "channel_capacity_messages", stage="batching") == 8
    for _ in range(3):
        send.send_nowait(None)
    assert read(metrics, "channel_depth_messages", stage="batching") == 3


def test_the_board_is_read_at_the_scrape(metrics):
    board = FakeBoard(
        evolve(
            NOTHING_KNOWN,
            phase=Phase.SERVING,
            status="overloaded",
            queued_tokens=900,
            service_rate_tokens_per_s=450.0,
            estimated_drain_s=2.0,
            gpu_queue_depth=2,
            uptime_s=12.5,
            open_requests=7,
        )
    )
    metrics.watch_board(board)
    seen = {
        name: read(metrics, name)
        for name in (
            "up",
            "ready",
            "queued_tokens",
            "service_rate_tokens_per_second",
            "backlog_seconds",
            "device_queue_batches",
            "uptime_seconds",
            "open_requests",
        )
    }
    assert list(seen.values()) == [1, 0, 900, 450.0, 2.0, 2, 12.5, 7]
    assert read(metrics, "status", status="overloaded") == 1
    assert read(metrics, "status", status="healthy") == 0
    board.snapshot = evolve(board.snapshot, phase=Phase.FAILED, accepting_requests=True)
    assert (read(metrics, "up"), read(metrics, "ready")) == (0, 1)


def test_refusals_from_many_threads_are_all_counted(metrics):
    def refuse():
        for _ in range(2000):
            metrics.refused(Internal("x"))

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(metrics, "requests_total", code="internal") == 8000


def test_two_metrics_share_nothing(metrics, journey):
    journey.whole()
    assert read(Metrics(), "requests_total", code="ok") == 0
