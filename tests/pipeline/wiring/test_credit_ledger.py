"""Which batches are where, and whose turn it is."""

import pytest
from core_builders import batch_of, chunk_of, open_ticket, result_of

from pipeline.wiring.credit_ledger import CreditLedger
from stages.messages.batch_credit import BatchCredit
from stages.requests.open_tickets import OpenTickets


@pytest.fixture
def batch():
    return batch_of(chunk_of(open_ticket(OpenTickets(), 1), [1]))


def ledger_with(*in_hand):
    """A ledger of as many devices, with so many batches in hand each."""
    ledger = CreditLedger([str(number) for number in range(len(in_hand))])
    ledger.in_hand.update((str(number), batches) for number, batches in enumerate(in_hand))
    return ledger


def test_it_counts_batches_from_their_sending_to_the_credit_for_them(batch):
    ledger = ledger_with(0)
    for _ in range(2):
        ledger.sent("batching", batch, 0.0)
    assert (ledger.on_the_way, ledger.in_hand["0"], ledger.in_use) == (2, 0, 2)
    for _ in range(2):
        ledger.received("0", batch, 0.0)
    ledger.sent("0", result_of(batch), 0.0)
    assert (ledger.on_the_way, ledger.in_hand["0"], ledger.in_use) == (0, 2, 2)
    ledger.sent("0", BatchCredit(), 0.0)
    assert (ledger.in_hand["0"], ledger.in_use) == (1, 1)


def test_a_stage_that_crashes_has_nothing_in_hand_any_more():
    ledger = ledger_with(2, 1)
    assert ledger.forget("0") == 2
    assert (ledger.in_hand["0"], ledger.in_use) == (0, 1)


@pytest.mark.parametrize(
    ("in_hand", "turns"),
    [
        ((0,), [True]),
        ((1,), [True]),
        ((0, 1), [True, False]),
        ((0, 0, 2), [True, True, False]),
        ((1, 1, 2), [True, True, False]),
    ],
)
def test_those_with_the_least_in_hand_may_take_a_batch(in_hand, turns):
    ledger = ledger_with(*in_hand)
    assert [ledger.may_take(stage) for stage in ledger.in_hand] == turns


@pytest.mark.parametrize(
    ("in_hand", "on_the_way", "idle"),
    [
        ((0,), 0, True),
        ((0,), 1, False),
        ((1, 0), 0, True),
        ((2, 0), 1, False),
        ((0, 0), 1, True),
        ((1, 2), 0, False),
    ],
)
def test_a_device_is_idle_when_nothing_is_even_on_its_way(in_hand, on_the_way, idle):
    ledger = ledger_with(*in_hand)
    ledger.on_the_way = on_the_way
    assert ledger.some_idle is idle
