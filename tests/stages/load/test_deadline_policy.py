"""Who would be answered too late is not let in."""

import pytest
from load_views import demand, texts, texts_waiting, view

from stages.errors import TooLate
from stages.load.cost_model import Work
from stages.load.fair_share import FairShare
from stages.load.policies.deadline_policy import SPREADS, SURE, DeadlinePolicy
from stages.requests.lane import Lane

DEADLINE = DeadlinePolicy()


def in_time(load, time_left_s, tokens=100, **options):
    """Whether a request is admitted that has so much time beside the margin."""
    given = demand(tokens, time_left_s=time_left_s / SURE, **options)
    refused = DEADLINE.refusal(load, given, draw=0.0)
    assert refused is None or isinstance(refused, TooLate)
    return refused is None


def test_who_would_be_answered_too_late_is_told_so_and_when_it_would_not_be():
    # 1 s in flight, 6 s for the queue and itself, 1 s for what runs together with it
    load = view(500, 100.0, starts_in_s=1.0)
    assert in_time(load, 8.01)
    assert not in_time(load, 7.9)
    refused = DEADLINE.refusal(load, demand(100, time_left_s=7.5 / SURE), draw=0.0)
    assert refused.code == "DEADLINE_EXCEEDED"
    assert refused.retry_after_s == pytest.approx(0.5)


def test_a_prediction_that_just_fits_is_not_trusted():
    load = view(500, 100.0, starts_in_s=1.0)
    assert DEADLINE.refusal(load, demand(100, time_left_s=8.01), draw=0.0) is not None


def test_predictions_that_have_been_off_are_trusted_less():
    steady, shaky = view(500, 100.0), view(500, 100.0, uncertainty=0.4)
    assert in_time(steady, 8.0)
    assert not in_time(shaky, 8.0)
    assert in_time(shaky, (1 + 0.4 * SPREADS) * 7.01)
    assert in_time(view(0, 100.0, uncertainty=9.0), 0.1)  # or it would never show that it is not


def test_an_idle_device_is_tried_whatever_is_believed_of_its_speed():
    assert in_time(view(0, 0.001), 1.0)
    assert not in_time(view(0, 100.0, starts_in_s=1.0), 1.0)
    assert in_time(view(500, 0.0, starts_in_s=0.0), 0.1)  # unknown


def test_interactive_work_does_not_wait_for_bulk():
    load = view(500, 100.0, bulk=Work(400, 400))
    assert in_time(load, 3.1)  # 100 + 100 tokens, and a batch
    assert not in_time(load, 3.1, lane=Lane.BULK)


def test_only_what_is_due_earlier_goes_first():
    load = view(500, 100.0, due_in=lambda left_s: 100 if left_s < 10.0 else 500)
    assert in_time(load, 3.1)
    assert not in_time(view(500, 100.0), 3.1)


def test_each_tenant_waits_for_its_own_queue():
    load = view(500, 100.0, share=FairShare({"much": 450, "little": 50}))
    assert in_time(load, 4.1, tenant="little")  # a quarter of 6 s, at half the device
    assert not in_time(load, 2.0, tenant="little")
    assert not in_time(load, 10.0, tenant="much")


@pytest.mark.parametrize("rate", [0.0, 1e6])
def test_texts_that_would_be_tokenized_too_late_are_told_so(rate):
    tokenizer = texts_waiting(3_000_000).tokenizer
    load = view(10, rate, tokenizer=tokenizer)
    assert DEADLINE.refusal(load, texts(100_000, time_left_s=2.0), 0.0) is None
    refused = DEADLINE.refusal(load, texts(100_000, time_left_s=1.0), 0.0)
    assert isinstance(refused, TooLate)
    assert refused.retry_after_s == pytest.approx(1.55 - SURE, abs=0.01)
