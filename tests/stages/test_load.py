"""What the pipeline knows of its own load."""

import numpy as np
import pytest
from attrs import evolve
from core_builders import batch_of, chunk_of, open_ticket
from hypothesis import given
from hypothesis import strategies as st

from stages.load import LatencyWindow, LoadMeter, LoadView, ServiceRate
from stages.messages import Layout
from stages.ticket import OpenTickets


def test_the_first_batch_sets_the_rate_and_later_ones_move_it():
    rate = ServiceRate(alpha=0.5)
    rate.observe(100, busy_s=1.0, full_s=1.0)
    assert rate.tokens_per_s == 100.0
    rate.observe(300, busy_s=1.0, full_s=1.0)
    assert rate.tokens_per_s == 200.0


def test_a_short_batch_moves_the_rate_by_its_share_of_a_full_one():
    rate = ServiceRate(alpha=0.5, tokens_per_s=100.0)
    rate.observe(30, busy_s=0.1, full_s=1.0)
    assert rate.tokens_per_s == pytest.approx(100.0 + 0.05 * 200.0)


@pytest.mark.parametrize(("tokens", "busy_s"), [(0, 1.0), (10, 0.0), (10, -1.0)])
def test_a_batch_that_says_nothing_changes_nothing(tokens, busy_s):
    rate = ServiceRate(alpha=0.5, tokens_per_s=100.0)
    rate.observe(tokens, busy_s, full_s=1.0)
    assert rate.tokens_per_s == 100.0


@given(
    batches=st.lists(st.tuples(st.integers(1, 5000), st.floats(1e-3, 2.0)), min_size=1),
    alpha=st.floats(0.01, 1.0),
)
def test_the_rate_stays_between_the_slowest_and_the_fastest_batch(batches, alpha):
    rate = ServiceRate(alpha)
    for tokens, busy_s in batches:
        rate.observe(tokens, busy_s, full_s=0.25)
    rates = [tokens / busy_s for tokens, busy_s in batches]
    assert min(rates) * 0.999 <= rate.tokens_per_s <= max(rates) * 1.001


@given(
    samples=st.lists(st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 10.0)), max_size=80),
    window_s=st.floats(0.1, 3.0),
)
def test_p95_is_numpys_over_the_samples_in_the_window(samples, window_s):
    window, now, kept = LatencyWindow(window_s), 0.0, []
    for wait_s, latency_s in samples:
        now += wait_s
        window.add(latency_s, now)
        kept.append((now, latency_s))
    inside = [latency_s for at, latency_s in kept if at >= now - window_s]
    expected = np.percentile(inside, 95, method="higher") if inside else None
    assert window.p95_s(now) == expected
    assert window.p95_s(now, min_samples=len(inside) + 1) is None
    assert window.p95_s(now + window_s + 1.0) is None


@pytest.fixture
def meter():
    rates = ServiceRate(1.0), ServiceRate(1.0)
    return LoadMeter(OpenTickets(), *rates, LatencyWindow(1.0), 1, full_batch_s=0.25)


def test_idle_time_does_not_lower_the_rate(meter):
    ticket = open_ticket(meter.tickets, 8)
    for number, start in enumerate((0.0, 1000.0)):
        batch = batch_of(chunk_of(ticket, [4] * 4), number=number)
        meter.launched(batch, start)
        meter.finished(batch, busy_s=0.5, now=start + 0.5)
        assert meter.rate.tokens_per_s == 32.0
    assert meter.view(1e6).tokens_per_s == 32.0


def test_padding_counts_as_computed_and_not_as_served(meter):
    batch = evolve(
        batch_of(chunk_of(open_ticket(meter.tickets, 2), [4, 4])),
        layout=Layout.PADDED,
        rows=8,
        width=16,
    )
    meter.launched(batch, 0.0)
    meter.finished(batch, busy_s=0.5, now=0.5)
    assert (meter.rate.tokens_per_s, meter.computed_rate.tokens_per_s) == (16.0, 256.0)


def test_queued_tokens_are_those_reserved_and_not_on_the_device(meter):
    ticket = open_ticket(meter.tickets, 8)
    meter.tickets.reserve(ticket, 50)
    batch = batch_of(chunk_of(ticket, [4] * 4))
    assert meter.queued_tokens == 50
    meter.launched(batch, 0.0)
    assert meter.view(0.0).queued_tokens == 34
    meter.tickets.abandon(ticket, 0.0)
    assert meter.queued_tokens == 0
    meter.finished(batch, None, 0.0)
    assert (meter.batches_on_device, meter.tokens_on_device) == (0, 0)


def test_a_failed_batch_teaches_no_rate(meter):
    batch = batch_of(chunk_of(open_ticket(meter.tickets, 1), [4]))
    meter.launched(batch, 0.0)
    meter.finished(batch, None, 9.0)
    assert meter.rate.tokens_per_s == 0.0


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


def test_drain_time_is_the_queue_over_the_rate_and_zero_while_that_is_unknown():
    assert LoadView(100, 50.0, None).drain_s == 2.0
    assert LoadView(100, 0.0, None).drain_s == 0.0
