"""What a device ran for nobody is counted, once."""

import pytest

from stages.errors import DeadlineExceeded


def wasted(metrics):
    return metrics.registry.get_sample_value("penstock_wasted_tokens_total")


def test_an_answered_request_wastes_nothing(metrics, journey):
    journey.whole(items=3)
    assert wasted(metrics) == 0


def test_a_request_that_ended_on_the_device_wastes_its_tokens(metrics, journey):
    gone, stays = journey.open(2), journey.open(3)
    chunks = [journey.to_planner(ticket, begin=0.0, step=1.0) for ticket in (gone, stays)]
    journey.tickets.abandon(gone, 4.5)
    journey.deliver(journey.run(chunks, begin=4.0, step=1.0), now=5.0)
    assert wasted(metrics) == 20


def test_a_deadline_that_passed_on_the_device_is_waste_before_anybody_has_noticed(metrics, journey):
    ticket = journey.open(2)
    chunk = journey.to_planner(ticket, begin=0.0, step=1.0)
    journey.run([chunk], begin=99.5, step=1.0)
    assert wasted(metrics) == 20
    assert not journey.tickets.alive(ticket, 100.5)
    assert wasted(metrics) == 20


@pytest.mark.parametrize("how", ["abandoned", "expired"])
def test_the_parts_that_ran_before_a_request_ended_are_waste_too(metrics, journey, how):
    ticket = journey.open(4)
    first, _ = journey.to_planner(ticket, begin=0.0, step=1.0).split(3)
    journey.deliver(journey.run([first], begin=4.0, step=1.0), now=5.0)
    assert wasted(metrics) == 0
    assert ticket.items_done == 3
    if how == "abandoned":
        journey.tickets.abandon(ticket, 6.0)
    else:
        journey.tickets.fail(ticket, DeadlineExceeded("late"), 6.0)
    assert wasted(metrics) == 30


def test_what_was_never_on_the_device_is_no_waste(metrics, journey):
    ticket = journey.open(4)
    journey.to_planner(ticket, begin=0.0, step=1.0)
    journey.tickets.abandon(ticket, 6.0)
    assert ticket.items_done == 0
    assert wasted(metrics) == 0


def test_a_batch_that_failed_ran_nothing(metrics, journey):
    ticket = journey.open(1)
    chunk = journey.to_planner(ticket, begin=0.0, step=1.0)
    journey.tickets.abandon(ticket, 3.0)
    journey.run([chunk], begin=4.0, step=1.0, error=RuntimeError("broken"))
    assert wasted(metrics) == 0
