"""What the pipeline knows of its own load."""

import pytest
from attrs import evolve
from core_builders import batch_of, chunk_of, open_ticket

from stages.load.cost_model import NO_WORK, CostModel, Work
from stages.load.latency_window import LatencyWindow
from stages.load.load_meter import LoadMeter
from stages.load.load_view import LoadView
from stages.messages.batch import Layout
from stages.requests.lane import Lane
from stages.requests.open_tickets import OpenTickets


def meter_of(cost=None):
    return LoadMeter(OpenTickets(), cost, 1.0, LatencyWindow(1.0), 1, full_tokens=1000, full_s=0.25)


@pytest.fixture
def meter():
    return meter_of()


def test_idle_time_does_not_lower_the_rate(meter):
    ticket = open_ticket(meter.tickets, 8)
    for number, start in enumerate((0.0, 1000.0)):
        batch = batch_of(chunk_of(ticket, [4] * 4), number=number)
        meter.launched(batch, start)
        meter.finished(batch, busy_s=0.5, now=start + 0.5)
        assert meter.rate.tokens_per_s == 32.0
    assert meter.view(1e6).cost == CostModel(0.0, 1 / 32, 0.0)


def test_padding_counts_as_computed_and_not_as_served(meter):
    batch = evolve(
        batch_of(chunk_of(open_ticket(meter.tickets, 2), [4, 4])),
        layout=Layout.PADDED,
        rows=8,
        width=16,
    )
    meter.launched(batch, 0.0)
    meter.finished(batch, busy_s=0.5, now=0.5)
    assert meter.rate.tokens_per_s == 16.0
    assert meter.view(0.5).cost == CostModel(0.0, 1 / 16, 0.0)
    assert meter.computed_cost == CostModel(0.0, 1 / 256, 0.0)


def test_queued_tokens_are_those_reserved_and_not_on_the_device(meter):
    ticket = open_ticket(meter.tickets, 8)
    meter.tickets.reserve(ticket, Work.of([5] * 10))
    batch = batch_of(chunk_of(ticket, [4] * 4))
    assert meter.queued == Work(50, 250)
    meter.launched(batch, 0.0)
    assert meter.view(0.0).queued == Work(50 - 16, 250 - 64)
    meter.tickets.abandon(ticket, 0.0)
    assert meter.queued == NO_WORK
    meter.finished(batch, None, 0.0)
    assert (meter.batches_on_device, meter.tokens_on_device) == (0, 0)


def test_a_failed_batch_teaches_no_rate(meter):
    batch = batch_of(chunk_of(open_ticket(meter.tickets, 1), [4]))
    meter.launched(batch, 0.0)
    meter.finished(batch, None, 9.0)
    assert meter.rate.tokens_per_s == 0.0
    assert meter.view(0.0).cost is None


def run(meter, lengths, busy_s):
    batch = batch_of(chunk_of(open_ticket(meter.tickets, len(lengths)), lengths, bucket=16))
    meter.launched(batch, 0.0)
    meter.finished(batch, busy_s, busy_s)


def test_a_device_that_is_slower_than_measured_drifts():
    cost = CostModel(0.1, 0.01, 0.001)
    meter = meter_of(cost)
    assert meter.view(0.0).cost == meter.computed_cost == cost
    assert meter.rate.tokens_per_s == pytest.approx(1 / (0.01 + 64 * 0.001))
    lengths = [16] * 4
    run(meter, lengths, busy_s=3 * cost.seconds(Work.of(lengths)))
    assert meter.drift.ratio == pytest.approx(3.0)
    assert meter.view(0.0).cost.square_s == pytest.approx(0.003)


def test_a_device_that_is_as_fast_as_measured_does_not_drift_whatever_it_runs():
    cost = CostModel(0.1, 0.01, 0.001)
    meter = meter_of(cost)
    for lengths in ([1], [16] * 8, [2] * 30):
        run(meter, lengths, busy_s=cost.seconds(Work.of(lengths)))
        assert meter.drift.ratio == pytest.approx(1.0)


def test_progress_is_the_last_end_of_a_batch_or_the_first_launch_after_idle(meter):
    ticket = open_ticket(meter.tickets, 4)
    first, second = batch_of(chunk_of(ticket, [4])), batch_of(chunk_of(ticket, [4]))
    meter.launched(first, 5.0)
    meter.launched(second, 7.0)
    assert meter.devices[0].progress_at == 5.0
    meter.finished(first, 1.0, 8.0)
    assert meter.devices[0].progress_at == 8.0
    meter.finished(second, 1.0, 9.0)
    meter.launched(first, 50.0)
    assert meter.devices[0].progress_at == 50.0


def test_drain_time_is_what_the_queue_costs_and_zero_while_that_is_unknown():
    def drain_s(queued, cost, more=NO_WORK):
        return LoadView(queued, cost, None, full_tokens=100, full_s=10.0).drain_with_s(more)

    work = Work(200, 1000)
    assert drain_s(work, None) == 0.0
    assert drain_s(NO_WORK, CostModel(1.0, 1.0, 1.0)) == 0.0
    assert drain_s(work, CostModel(0.0, 0.01, 0.0)) == pytest.approx(2.0)
    assert drain_s(work, CostModel(0.0, 0.01, 0.001)) == pytest.approx(3.0)
    assert drain_s(work, CostModel(0.5, 0.01, 0.0)) == pytest.approx(2.0 + 2 * 0.5)  # by tokens
    assert drain_s(work, CostModel(0.5, 0.2, 0.0)) == pytest.approx(40.0 + 4 * 0.5)  # by time
    assert drain_s(Work(1, 1), CostModel(0.5, 0.01, 0.0)) == pytest.approx(0.51)
    assert drain_s(work, CostModel(0.0, 0.01, 0.0), Work(100, 0)) == pytest.approx(3.0)


def test_devices_drain_the_queue_together():
    view = LoadView(Work(200, 0), CostModel(0.0, 0.01, 0.0), None, 100, 10.0, devices=2)
    assert view.drain_s == pytest.approx(1.0)


def test_the_next_batch_starts_when_a_device_has_done_what_it_has_in_hand():
    meter = meter_of(CostModel(0.5, 0.25, 0.0))
    assert meter.starts_in_s(7.0) == 0.0
    batches = [batch_of(chunk_of(open_ticket(meter.tickets, 1), [4])) for _ in range(2)]
    for batch in batches:
        meter.launched(batch, 7.0)
    assert meter.starts_in_s(7.0) == pytest.approx(3.0)
    assert meter.starts_in_s(8.0) == pytest.approx(2.0)
    meter.finished(batches[0], 1.5, 8.5)
    assert meter.starts_in_s(8.5) == pytest.approx(1.5)
    assert meter.starts_in_s(99.0) == 0.0  # late, but any moment now


def test_a_view_knows_lanes_tenants_and_deadlines():
    meter = meter_of(CostModel(0.0, 0.01, 0.0))
    for lane, tenant, timeout_s in (
        (Lane.BULK, "a", 9.0),
        (Lane.INTERACTIVE, "a", 1.0),
        (Lane.INTERACTIVE, "b", 5.0),
    ):
        ticket = open_ticket(meter.tickets, 1, timeout_s=timeout_s, lane=lane, tenant=tenant)
        meter.tickets.reserve(ticket, Work(100, 100))
    view = meter.view(0.0)
    assert view.bulk == Work(100, 100)
    assert view.share.tokens == {"a": 200, "b": 100}
    assert [view.due_in(left_s) for left_s in (0.5, 2.0, 6.0)] == [0, 100, 200]
