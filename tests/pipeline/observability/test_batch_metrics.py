"""Metrics of batches and of the devices that ran them, as a scrape reads them."""

from attrs import evolve
from core_builders import batch_of, chunk_of, open_ticket, result_of
from series import FakeBoard, read

from pipeline.interface.status import NOTHING_KNOWN, DeviceState
from pipeline.observability.metrics import Metrics
from stages.device.spec import DeviceFigures
from stages.messages.batch import Layout
from stages.requests.open_tickets import OpenTickets

STUCK = DeviceState(batches=2, silent_s=9.5)


def test_padding_fill_and_layout_of_batches(metrics, journey):
    chunk = journey.to_planner(journey.open(3), begin=0.0, step=1.0)  # 30 tokens
    journey.run([chunk], begin=4.0, step=2.0, layout=Layout.PADDED, rows=8, width=16)
    assert read(metrics, "batches_total", layout="bucketed") == 1
    assert read(metrics, "batches_total", layout="packed") == 0
    assert read(metrics, "padding_tokens_total", device="0") == 8 * 16 - 30
    assert read(metrics, "batch_fill_ratio_sum") == 30 / 128
    assert read(metrics, "batch_items_sum") == 3
    assert read(metrics, "batch_tokens_sum") == 30
    assert read(metrics, "batch_seconds_sum") == 2.0
    assert read(metrics, "device_busy_seconds_total", device="0") == 2.0


def test_padding_is_what_the_device_ran_and_not_what_was_planned(metrics, journey):
    chunk = journey.to_planner(journey.open(3), begin=0.0, step=1.0)  # 30 tokens
    batch = evolve(batch_of(chunk), layout=Layout.PADDED, rows=8, width=16)
    metrics.ran(result_of(batch, finished_at=1.0, computed_tokens=40))
    assert read(metrics, "padding_tokens_total", device="0") == 10
    assert read(metrics, "batch_fill_ratio_sum") == 0.75


def test_a_failed_batch_counts_as_time_and_not_as_work(metrics, journey):
    chunk = journey.to_planner(journey.open(3), begin=0.0, step=1.0)
    journey.run([chunk], begin=4.0, step=2.0, error=RuntimeError("device"))
    assert read(metrics, "failed_batches_total", device="0") == 1
    assert read(metrics, "device_busy_seconds_total", device="0") == 2.0
    assert read(metrics, "tokens_total", device="0") == 0
    assert read(metrics, "batch_items_count") == 0


def test_each_device_has_series_of_its_own():
    metrics = Metrics(devices=2)
    ticket = open_ticket(OpenTickets(), 2)
    metrics.ran(result_of(batch_of(chunk_of(ticket, [4])), finished_at=1.0))
    metrics.ran(result_of(batch_of(chunk_of(ticket, [8])), finished_at=3.0, device=1))
    for device, tokens, busy_s in (("0", 4, 1.0), ("1", 8, 3.0)):
        assert read(metrics, "tokens_total", device=device) == tokens
        assert read(metrics, "device_busy_seconds_total", device=device) == busy_s
    metrics.watch_board(FakeBoard(evolve(NOTHING_KNOWN, devices=(DeviceState(), STUCK))))
    assert read(metrics, "device_batches", device="1") == 2
    assert read(metrics, "device_silent_seconds", device="0") == 0
    assert read(metrics, "device_silent_seconds", device="1") == 9.5


def test_what_a_device_says_of_itself_is_asked_at_the_scrape():
    metrics = Metrics(devices=2)
    assert read(metrics, "graph_hits_total", device="1") == 0
    small = DeviceFigures(
        4096, out_of_memory=1, graph_hits=5, graph_misses=3, graphs=9, graph_bytes=1 << 20
    )
    metrics.watch_devices([lambda: DeviceFigures(32768), lambda: small])
    assert read(metrics, "device_max_batch_tokens", device="0") == 32768
    assert read(metrics, "device_max_batch_tokens", device="1") == 4096
    assert read(metrics, "out_of_memory_total", device="1") == 1
    assert read(metrics, "graph_hits_total", device="1") == 5
    assert read(metrics, "graph_misses_total", device="1") == 3
    assert read(metrics, "graphs", device="1") == 9
    assert read(metrics, "graph_bytes", device="1") == 1 << 20
